"""Wrappers of PyTorch that spread a module over several GPUs; on one CPU they call it."""

from __future__ import annotations

from typing import Any

from rushlight.nn.modules.module import Module


class DataParallel(Module):
    """Calls `module`, which is all that there is to do on one device; for code that was written for several.

    Args:
        module: the module; its state's keys begin with "module.", as in PyTorch.
        device_ids, output_device, dim: accepted.

    Example:
        >>> nn.DataParallel(nn.Linear(2, 3))(torch.zeros(1, 2)).size()
        torch.Size([1, 3])
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[Any] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)

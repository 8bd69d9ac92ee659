"""Wrappers of PyTorch that spread a module over several GPUs; on one CPU they call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rushlight.nn.modules.batchnorm import _BatchNorm
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


class DistributedDataParallel(DataParallel):
    """Calls `module`: the gradients of the only process are those of all.

    Args:
        module: the module; its state's keys begin with "module.", as in PyTorch.
        device_ids, output_device, dim, options: accepted.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0, **options: Any
    ) -> None:
        super().__init__(module, device_ids, output_device, dim)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within it gradients are accumulated, as they are anyway."""
        yield


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over several processes; in the one process that there is, that of its batch.

    Args:
        num_features, eps, momentum, affine, track_running_stats: as those of BatchNorm2d.
        process_group: accepted.

    Example:
        >>> nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))[0].num_features
        3
    """

    allowed_dims = (2, 3, 4, 5)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.process_group = process_group

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """`module` with each BatchNorm in it replaced by a SyncBatchNorm of the same parameters."""
        result = module
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            result = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
            result._parameters.update(module._parameters)
            result._buffers.update(module._buffers)
            result.training = module.training
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child))
        return result

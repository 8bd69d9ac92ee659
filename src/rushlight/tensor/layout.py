"""Names for how elements lie in memory, which PyTorch's functions take as options."""

from __future__ import annotations


class _Layout:
    def __repr__(self) -> str:
        return "torch.strided"


strided = _Layout()


class _MemoryFormat:
    """How elements lie in memory. Asking for one is accepted; tensors here are row-major."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = _MemoryFormat("contiguous_format")
preserve_format = _MemoryFormat("preserve_format")
channels_last = _MemoryFormat("channels_last")
channels_last_3d = _MemoryFormat("channels_last_3d")

"""Devices: tensors live on the CPU; asking for another device says what can be done instead."""

from __future__ import annotations

import builtins
from types import TracebackType
from typing import Any

from rushlight.errors import DeviceError

_TYPES = ("cpu", "cuda", "mps", "xpu", "xla", "meta", "hpu", "mtia", "ipu", "vulkan", "hip", "ve", "fpga", "maia")


class device:
    """A place for tensors, such as `device("cpu")`. Others can be named and compared, but hold no tensors here.

    Raises DeviceError for a type of device that isn't known at all.
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: str | int | device = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int):
            self.type, self.index = "cuda", type
            return
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if name not in _TYPES:
            raise DeviceError(f"Expected one of {', '.join(_TYPES)} device type at start of device string: {type}")
        if colon:
            if not number.isdigit() or index is not None:
                raise DeviceError(f"Invalid device string: '{type}'")
            index = int(number)
        self.type, self.index = name, index

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        check_device(self)
        return self

    def __exit__(
        self, kind: builtins.type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


cpu = device("cpu")


def check_device(wanted: Any) -> None:
    """Raises DeviceError unless `wanted` (a device, a string, an index or None) is the CPU."""
    if wanted is None or wanted is cpu or wanted == "cpu":
        return
    found = device(wanted)
    if found.type != "cpu" or found.index not in (None, 0):
        raise DeviceError(
            f"device '{found}' isn't here: this build computes on the CPU only. Choose the device by what there is, "
            'device = "cuda" if torch.cuda.is_available() else "cpu", or use device("cpu")'
        )


def set_default_device(device: Any) -> None:
    """Accepts the CPU; raises DeviceError for another device."""
    check_device(device)


def get_default_device() -> device:
    """The device of new tensors: the CPU."""
    return cpu

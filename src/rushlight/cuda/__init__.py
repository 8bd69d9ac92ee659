"""`rushlight.cuda`: says that there is no GPU, so that code which asks first runs on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from rushlight.errors import DeviceError
from rushlight.tensor.device import check_device


def is_available() -> bool:
    """Whether tensors can be on a GPU: never in this build."""
    return False


def is_initialized() -> bool:
    """Whether a GPU is in use: never in this build."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a GPU computes in bfloat16: there is none."""
    return False


def device_count() -> int:
    """The number of GPUs: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted: there is no GPU to seed."""


def manual_seed_all(seed: int) -> None:
    """Accepted: there is no GPU to seed."""


def seed_all() -> None:
    """Accepted: there is no GPU to seed."""


def empty_cache() -> None:
    """Accepted: there is no GPU memory to free."""


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use: 0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated
memory_cached = max_memory_cached = memory_allocated


def memory_stats(device: Any = None) -> dict[str, Any]:
    """What is known of the GPU's memory: nothing."""
    return {}


def reset_peak_memory_stats(device: Any = None) -> None:
    """Accepted: there is nothing to reset."""


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def get_rng_state_all() -> list[Any]:
    """The states of the GPUs' generators: none."""
    return []


def set_rng_state_all(new_states: Sequence[Any]) -> None:
    """Accepted, where it is empty: there is no GPU whose generator could have a state."""
    for state in new_states:
        set_rng_state(state)


def get_arch_list() -> list[str]:
    """The kinds of GPU that this build runs on: none."""
    return []


def _absent(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        check_device("cuda")
        raise DeviceError(f"cuda.{name}: there is no GPU in this build")

    function.__name__ = name
    function.__doc__ = "Raises DeviceError: there is no GPU."
    return function


synchronize = _absent("synchronize")
current_device = _absent("current_device")
set_device = _absent("set_device")
get_device_name = _absent("get_device_name")
get_device_properties = _absent("get_device_properties")
get_device_capability = _absent("get_device_capability")
get_rng_state = _absent("get_rng_state")
set_rng_state = _absent("set_rng_state")
initial_seed = _absent("initial_seed")
mem_get_info = _absent("mem_get_info")
memory_summary = _absent("memory_summary")
ipc_collect = _absent("ipc_collect")
init = _absent("init")
current_stream = _absent("current_stream")
default_stream = _absent("default_stream")
stream = _absent("stream")
set_stream = _absent("set_stream")
Stream = _absent("Stream")
Event = _absent("Event")


def __getattr__(name: str) -> Any:
    if name == "amp":
        return importlib.import_module("rushlight.cuda.amp")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

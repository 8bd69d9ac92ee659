"""Mixed precision as PyTorch's programs ask for it. On this CPU everything is computed in its own, full precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any


class autocast:
    """Accepted as a context and as a decorator; operations keep the precision of their inputs, whatever `dtype` says.

    On a GPU, products in bfloat16 or float16 take less time and memory. On the CPUs that this library is for, float32
    is faster, and more precise: PyTorch's `autocast("cpu", dtype=torch.bfloat16)` returns bfloat16 from a Linear, this
    one the float32 that the layer computes without it. A model that is to be bfloat16 is made so by
    `model.bfloat16()`.
    """

    def __init__(
        self, device_type: str = "cpu", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device_type = device_type
        self.dtype = dtype
        self.enabled = enabled

    def __enter__(self) -> autocast:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


class GradScaler:
    """Scales nothing: full precision doesn't underflow. Its methods do what a training loop expects of them."""

    def __init__(self, device: str = "cuda", *args: Any, enabled: bool = True, **kwargs: Any) -> None:
        self._enabled = False

    def scale(self, outputs: Any) -> Any:
        """`outputs` themselves."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing is scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()`."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """There is no scale to update."""

    def get_scale(self) -> float:
        """1.0."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accepts any state."""


def custom_fwd(fwd: Any = None, *, device_type: str = "cpu", cast_inputs: Any = None) -> Any:
    """Decorates the forward of an autograd.Function, which is left as it is: there is one precision."""
    return fwd if fwd is not None else lambda function: function


def custom_bwd(bwd: Any = None, *, device_type: str = "cpu") -> Any:
    """Decorates the backward of an autograd.Function, which is left as it is."""
    return bwd if bwd is not None else lambda function: function


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """False: `autocast` changes no precision here."""
    return False


def get_autocast_dtype(device_type: str) -> Any:
    """The dtype that operations within `autocast` compute in: that of their inputs, by default float32."""
    from rushlight.dtypes import get_default_dtype

    return get_default_dtype()


def clear_autocast_cache() -> None:
    """Nothing is cached."""


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` is accepted for this device: for "cpu"."""
    return device_type == "cpu"

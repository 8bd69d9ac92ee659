"""How tensors print: aligned columns, four digits, the middle of large tensors left out, as PyTorch prints them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rushlight import dtypes
from rushlight.tensor.unread import values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor


class Options(NamedTuple):
    """The settings of `set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Changes how tensors print; what isn't given stays. `profile` is "default", "short" or "full"."""
    global _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"profile must be one of {', '.join(_PROFILES)}, not {profile!r}")
        _options = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options = _options._replace(**{k: v for k, v in given.items() if v is not None}, sci_mode=sci_mode)  # type: ignore[arg-type]


def get_printoptions() -> dict[str, Any]:
    """The settings of `set_printoptions`."""
    return _options._asdict()


class _Column:
    """How the numbers of one tensor are written: all in the same way, and in the same width."""

    def __init__(self, values: np.ndarray[Any, Any], options: Options) -> None:
        self.floating = values.dtype.kind not in "iub"
        self.precision = options.precision
        self.style = ".0f"
        self.width = 1
        if not self.floating:
            self.width = max((len(str(v)) for v in values.reshape(-1).tolist()), default=1)
            return
        wide = values.reshape(-1).astype(np.float64)
        wide = wide[np.isfinite(wide) & (wide != 0)]
        if wide.size:
            whole = bool((wide == np.ceil(wide)).all())
            size = np.abs(wide)
            smallest, largest = float(size.min()), float(size.max())
            scientific = largest / smallest > 1000.0 or largest > 1e8 or (not whole and smallest < 1e-4)
            if options.sci_mode is not None:
                scientific = options.sci_mode
            if scientific:
                self.style = f".{options.precision}e"
            elif not whole:
                self.style = f".{options.precision}f"
            extra = 1 if whole and not scientific else 0  # for the point that marks a floating number
            self.width = max(len(format(v, self.style)) for v in wide.tolist()) + extra

    def write(self, value: Any) -> str:
        if not self.floating:
            return str(value).rjust(self.width)
        text = format(value, self.style)
        if self.style == ".0f" and math.isfinite(value):
            text += "."
        return text.rjust(self.width)


def _edges(values: np.ndarray[Any, Any], keep: int) -> np.ndarray[Any, Any]:
    """What of `values` is printed when the middle is left out."""
    for axis, n in enumerate(values.shape):
        if n > 2 * keep:
            front = (slice(None),) * axis
            tail = values[(*front, slice(n - keep, n))]
            values = np.concatenate([values[(*front, slice(keep))], tail], axis) if keep else tail
    return values


def _body(values: np.ndarray[Any, Any], indent: int, column: _Column, summarize: bool, options: Options) -> str:
    keep = options.edgeitems
    if values.ndim == 0:
        return column.write(values.item() if values.dtype.kind != "V" else float(values))
    count = values.shape[0]
    leaves_out = summarize and count > 2 * keep
    if values.ndim == 1:
        per_line = max(1, (options.linewidth - indent) // (column.width + 2))
        if leaves_out:
            words = [column.write(v) for v in values[:keep].tolist()]
            words += [" ...", *(column.write(v) for v in (values[-keep:] if keep else values[:0]).tolist())]
        else:
            words = [column.write(v) for v in values.tolist()]
        lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    chosen = [*range(keep), None, *range(count - keep, count)] if leaves_out else range(count)
    parts = ["..." if i is None else _body(values[i], indent + 1, column, summarize, options) for i in chosen]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def to_string(self: Tensor, *, prefix: str = "tensor(") -> str:
    """The tensor as `repr` shows it."""
    options = _options
    values = values_of(self, "print")
    dtype = self.dtype
    if dtype is dtypes.bfloat16:
        values = values.astype(np.float32)
    suffixes = []
    indent = len(prefix)
    if not values.size:
        body = "[]"
        if values.ndim != 1:
            suffixes.append(f"size={tuple(values.shape)}")
        if dtype is not dtypes.get_default_dtype():
            suffixes.append(f"dtype={dtype}")
    else:
        if dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
            suffixes.append(f"dtype={dtype}")
        summarize = values.size > options.threshold
        column = _Column(_edges(values, options.edgeitems) if summarize else values, options)
        body = _body(values, indent, column, summarize, options)
    grad_fn = self.grad_fn
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn.name_of(self._index)}>")
    elif self.requires_grad:
        suffixes.append("requires_grad=True")
    text = prefix + body
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def represent(self: Tensor) -> str:
    """`repr(tensor)`."""
    return to_string(self)


def format_tensor(self: Tensor, spec: str) -> str:
    """A 0-d tensor formats as its number; others only without a format, as their `repr`."""
    if not self.array.ndim:
        return format(self.item(), spec)
    return object.__format__(self, spec)

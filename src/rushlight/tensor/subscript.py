"""`x[...]` and `x[...] = value`, as PyTorch reads subscripts.

Ints, slices, None and Ellipsis make a view; integer tensors, lists and masks then choose among what is left.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import core, dtypes
from rushlight.errors import DimensionError, DtypeError, InputError, ShapeError
from rushlight.ops import indexing, movement
from rushlight.ops.declare import routing
from rushlight.tensor import data
from rushlight.tensor import tensor as tensors
from rushlight.tensor.unread import has_values, values_of

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

newaxis = None  # x[newaxis], as in NumPy

_BASIC = (int, slice, type(None), type(Ellipsis))


def getitem(self: Tensor, subscript: Any) -> Tensor:
    """`self[subscript]`: a view for ints, slices, None and Ellipsis, a copy where tensors, lists or masks choose."""
    if type(subscript) is int or (type(subscript) is slice and subscript.step is None):
        return _basic(self, (subscript,))
    items = subscript if type(subscript) is tuple else _items(subscript)
    for item in items:
        kind = type(item)
        if kind not in _BASIC or (kind is slice and item.step is not None):
            view, indices, dims = resolve(self, items)
            return indexing.index(view, *indices, dims=dims) if indices else view
    return _basic(self, items)


def setitem(self: Tensor, subscript: Any, value: Any) -> None:
    """`self[subscript] = value`, where `value` is a tensor, an array or a number, broadcast and cast to fit."""
    if not isinstance(value, (tensors.Tensor, int, float)):
        if value is None:
            raise TypeError(f"can't assign a NoneType to a {self.type()}")
        value = data.tensor(value)
    items = subscript if type(subscript) is tuple else _items(subscript)
    if _set_at_once(self, items, value):
        return
    # The places of a mask need not be known, and while tracing they aren't. What eager code records is an index_put.
    recorded = self._requires_grad or getattr(value, "_requires_grad", False)
    if (routing.tracing is not None or not recorded) and len(items) == 1 and _fills_masked(self, items[0], value):
        mask, missing = items[0], self.array.ndim - items[0].array.ndim
        if missing:
            mask = mask.reshape(mask.shape + (1,) * missing)
        indexing.masked_fill(self, mask, value, out=self)
        return
    view, indices, dims = resolve(self, items)
    if not indices:
        movement.assign(view, value, out=view)
        return
    if isinstance(value, tensors.Tensor) and value.array.dtype != self.array.dtype:
        if value.array.ndim and not (value.array.size == 1 and any(_is_mask(item) for item in items)):
            raise DtypeError(
                f"Index put requires the source and destination dtypes match, got {self.dtype} for the destination "
                f"and {value.dtype} for the source."
            )
        value = value.to(self.dtype)
    indexing.index_put(view, value, *indices, dims=dims, out=view)


def _set_at_once(tensor: Tensor, items: tuple[Any, ...], value: Any) -> bool:
    """Does `tensor[items] = value` where nothing is to be recorded, checked or cast: loops over elements do this."""
    array = tensor.array
    if tensor._base is not None or tensor._requires_grad or routing.tracing is not None:
        return False
    kind = array.dtype.kind
    if type(value) is int and kind in "iu":
        fits = 0 <= value < 128
    elif type(value) in (int, float):
        fits = kind == "f" and -65504 <= value <= 65504
    else:
        fits = isinstance(value, tensors.Tensor) and not value._requires_grad and not value.array.ndim
        fits = fits and value.array.dtype == array.dtype
        value = value.array if fits else value
    if not fits or not array.flags.writeable:
        return False
    for item in items:
        if type(item) is not int and (type(item) is not slice or item.step is not None):
            return False
    try:
        array[items] = value
    except IndexError:  # explained elsewhere
        return False
    tensors.bump_version(tensor)
    return True


def places_of(array: np.ndarray[Any, Any], as_rows: bool = False) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where `array` isn't zero: (ndim, count), or (count, ndim) as rows, which also takes an array of no dimensions."""
    if core.native is not None:
        found = core.native.nonzero(array if array.dtype == np.bool_ else np.asarray(array != 0), as_rows=as_rows)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
    return np.ascontiguousarray(np.argwhere(array)) if as_rows else np.stack(np.nonzero(array))


def _fills_masked(tensor: Tensor, mask: Any, value: Any) -> bool:
    """Whether `tensor[mask] = value` puts one number where a mask of the first dimensions holds."""
    if not isinstance(mask, tensors.Tensor) or mask.array.dtype.kind != "b":
        return False
    number = not isinstance(value, tensors.Tensor) or not value.array.ndim
    return number and tensor.array.shape[: mask.array.ndim] == mask.array.shape


def _items(subscript: Any) -> tuple[Any, ...]:
    """A subscript that isn't a tuple as the items of one; a short list of more than numbers counts as a tuple."""
    if isinstance(subscript, list) and len(subscript) < 32:
        for item in subscript:
            if item is None or item is Ellipsis or isinstance(item, (slice, list, tuple, tensors.Tensor)):
                return tuple(subscript)
    return (subscript,)


def _basic(tensor: Tensor, items: tuple[Any, ...]) -> Tensor:
    """A view by ints, slices, None and Ellipsis; raises IndexError in PyTorch's words."""
    if items.count(Ellipsis) > 1:
        first = items.index(Ellipsis)
        items = (*items[: first + 1], *(i for i in items[first + 1 :] if i is not Ellipsis))
    try:
        return movement.slice_(tensor, index=items)  # type: ignore[no-any-return]
    except (IndexError, ValueError, InputError):
        _explain(tensor, items)
        raise


def _explain(tensor: Tensor, items: tuple[Any, ...]) -> None:
    shape = tensor.array.shape
    used = [i for i in items if i is not None and i is not Ellipsis]
    if len(used) > len(shape):
        if not shape:
            raise DimensionError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim tensor to a number"
            ) from None
        raise DimensionError(f"too many indices for tensor of dimension {len(shape)}") from None
    dim = 0
    for item in items:
        if item is None:
            continue
        if item is Ellipsis:
            dim = len(shape) - (len(used) - dim)
            continue
        if isinstance(item, slice) and item.step is not None and item.step <= 0:
            raise ShapeError("slice step must be positive (flip() reverses a dimension)") from None
        if isinstance(item, int) and not -shape[dim] <= item < shape[dim]:
            raise DimensionError(f"index {item} is out of bounds for dimension {dim} with size {shape[dim]}") from None
        dim += 1


def resolve(tensor: Tensor, items: tuple[Any, ...]) -> tuple[Tensor, list[Tensor], tuple[int, ...]]:
    """The view that the basic items take, and the index tensors with their dimensions in it."""
    shape = tensor.array.shape
    if len(items) == 1 and _is_plain_index(items[0]) and tensor.array.size and shape:
        return tensor, [items[0]], (0,)
    items = tuple([_plain(item) for item in items])
    used = 0
    for item in items:
        if isinstance(item, tensors.Tensor):
            used += item.array.ndim if item.array.dtype.kind == "b" else 1
        elif item is not None and item is not Ellipsis and not isinstance(item, bool):
            used += 1
    if used > len(shape):
        _explain(tensor, tuple(i for i in items if not isinstance(i, (bool, tensors.Tensor))) + (0,) * used)
    basic: list[Any] = []
    indices: list[Tensor] = []
    dims: list[int] = []
    at = 0  # the dimension of the view that the next item makes
    source = 0  # the dimension of `tensor` that it takes
    seen_ellipsis = False
    for item in items:
        if item is Ellipsis:
            if seen_ellipsis:
                continue
            seen_ellipsis = True
            skipped = len(shape) - used
            basic.extend([slice(None)] * skipped)
            at += skipped
            source += skipped
        elif item is None:
            basic.append(None)
            at += 1
        elif isinstance(item, bool):
            basic.append(None)
            indices.append(tensors.wrap(np.zeros(int(item), np.int64)))
            dims.append(at)
            at += 1
        elif isinstance(item, slice):
            basic.append(item)
            at += 1
            source += 1
        elif isinstance(item, int):
            basic.append(item)
            source += 1
        elif item.array.dtype.kind == "b":
            mask = values_of(item, "indexing with a mask")
            for offset, size in enumerate(mask.shape):
                if source + offset < len(shape) and size != shape[source + offset]:
                    raise DimensionError(
                        f"The shape of the mask {list(mask.shape)} at index {offset} does not match the shape of the "
                        f"indexed tensor {list(shape)} at index {source + offset}"
                    )
            if not mask.ndim:
                basic.append(None)
                indices.append(tensors.wrap(np.zeros(int(mask), np.int64)))
                dims.append(at)
                at += 1
            elif len(items) == 1 and mask.ndim > 1 and tensor.array.size and tensor.array.flags.c_contiguous:
                flat = movement.reshape(tensor, shape=(mask.size, *shape[mask.ndim :]))
                return flat, [tensors.wrap(places_of(mask.reshape(-1))[0])], (0,)
            for place in places_of(mask) if mask.ndim else ():
                basic.append(slice(None))
                indices.append(tensors.wrap(place))
                dims.append(at)
                at += 1
            source += mask.ndim
        else:
            basic.append(slice(None))
            indices.append(item)
            dims.append(at)
            at += 1
            source += 1
    whole = all(b == slice(None) for b in basic)
    view = tensor if whole and indices else _basic(tensor, tuple(basic))
    if indices and 0 in [n for d, n in enumerate(view.array.shape) if d not in dims]:
        # Nothing is taken, and so PyTorch doesn't look at what the indices are.
        indices = [tensors.wrap(np.zeros(i.array.shape, np.int64)) for i in indices]
    return view, indices, tuple(dims)


def _is_mask(item: Any) -> bool:
    if isinstance(item, list):
        return bool(item) and isinstance(item[0], bool)
    return isinstance(item, bool) or getattr(item, "dtype", None) in (np.bool_, dtypes.bool_)


def _is_plain_index(item: Any) -> bool:
    return isinstance(item, tensors.Tensor) and item.array.dtype.kind == "i" and item.array.ndim > 0


def _plain(item: Any) -> Any:
    """One item as an int, a bool, a slice of ints, None, Ellipsis, or a tensor of integers or bools."""
    kind = type(item)
    if kind in (int, bool, type(None), type(Ellipsis)):
        return item
    if kind is slice:
        if item.step is not None and operator.index(item.step) <= 0:
            raise ShapeError("slice step must be positive (flip() reverses a dimension)")
        try:
            return slice(
                *(None if part is None else operator.index(part) for part in (item.start, item.stop, item.step))
            )
        except TypeError:
            raise TypeError("slice indices must be integers or None or have an __index__ method") from None
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    if isinstance(item, (np.generic, np.ndarray, list, tuple, range)):
        if isinstance(item, np.integer):
            return int(item)
        array = data.array_of(list(item) if isinstance(item, (tuple, range)) else item)
        item = tensors.wrap(array.astype(np.int64) if array.size == 0 and array.dtype.kind == "f" else array)
    if isinstance(item, tensors.Tensor):
        if item.array.dtype.kind not in "iub":
            raise DimensionError("tensors used as indices must be long, int, byte or bool tensors")
        if item.array.ndim == 0 and item.array.dtype.kind != "b":
            if not has_values(item):
                return item  # an index like any other: the result is a copy then
            return int(item.array)
        return item if item.array.dtype.kind != "u" else item.to(dtypes.bool_)
    try:
        return operator.index(item)
    except TypeError:
        raise DimensionError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {kind.__name__})"
        ) from None


def length(self: Tensor) -> int:
    """The size of the first dimension; raises TypeError for a 0-d tensor."""
    if not self.array.ndim:
        raise TypeError("len() of a 0-d tensor")
    return int(self.array.shape[0])


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first dimension; raises TypeError for a 0-d tensor."""
    if not self.array.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def contains(self: Tensor, element: Any) -> bool:
    """Whether any element equals `element`, a number or a tensor."""
    if not isinstance(element, (tensors.Tensor, int, float, np.generic)):
        raise InputError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")
    other = values_of(element, "in") if isinstance(element, tensors.Tensor) else element
    return bool((values_of(self, "in") == other).any())

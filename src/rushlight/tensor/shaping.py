"""Views and rearrangements of a tensor: functions that are methods too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.errors import DimensionError, InputError, ShapeError
from rushlight.ops import movement, striding
from rushlight.ops.movement import normalize_dim, resolve_shape
from rushlight.tensor import arguments
from rushlight.tensor import tensor as tensor_module

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

# Another shape


def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The elements in another shape, a view where the strides allow it; one size may be -1.

    Raises ShapeError where the number of elements differs.
    """
    sizes = arguments.integers("reshape", "shape", sizes if shape is None else (shape,))
    return movement.reshape(input, shape=resolve_shape("reshape", input.array.size, sizes))  # type: ignore[no-any-return]


def view(self: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape (or reinterpreted as another dtype).

    Raises ShapeError where the number of elements differs, or the strides don't allow a view.
    """
    array = self.array
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and hasattr(shape[0], "itemsize"):
        return striding.view_dtype(self, dtype=shape[0])  # type: ignore[no-any-return]
    sizes = resolve_shape("view", array.size, arguments.integers("view", "size", shape))
    if not array.flags.c_contiguous and array.size and not np.may_share_memory(array.reshape(sizes), array):
        raise ShapeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return movement.reshape(self, shape=sizes)  # type: ignore[no-any-return]


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same memory in the shape of `other`."""
    return view(self, tuple(other.shape))


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """The elements in the shape of `other`."""
    return reshape(self, tuple(other.shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim` made one."""
    shape = input.array.shape
    if not shape:
        return reshape(input, 1)
    first = normalize_dim("flatten", start_dim, len(shape))
    last = normalize_dim("flatten", end_dim, len(shape))
    if first > last:
        raise ShapeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last:
        return input
    joined = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
    return movement.reshape(input, shape=joined)  # type: ignore[no-any-return]


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension, a view where possible."""
    return reshape(input, -1)


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension split into several, whose sizes multiply to its own; one may be -1."""
    shape = input.array.shape
    at = normalize_dim("unflatten", dim, len(shape))
    sizes = arguments.integers("unflatten", "sizes", (sizes,))
    try:
        inner = resolve_shape("unflatten", shape[at], sizes)
    except ShapeError:
        raise ShapeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {at} ({shape[at]}) in the "
            "input tensor"
        ) from None
    return movement.reshape(input, shape=(*shape[:at], *inner, *shape[at + 1 :]))  # type: ignore[no-any-return]


@arguments.numpy_names
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without its dimensions of size 1: all of them, or those of `dim` (an int or several)."""
    shape = input.array.shape
    if dim is None:
        squeezed = movement.reshape(input, shape=tuple(n for n in shape if n != 1))
        return tensor_module.shown_as("SqueezeBackward0", squeezed)  # type: ignore[no-any-return]
    dims = {normalize_dim("squeeze", d, len(shape)) for d in ((dim,) if isinstance(dim, int) else dim)}
    squeezed = movement.reshape(input, shape=tuple(n for i, n in enumerate(shape) if n != 1 or i not in dims))
    return tensor_module.shown_as("SqueezeBackward1", squeezed)  # type: ignore[no-any-return]


@arguments.numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at `dim`."""
    shape = input.array.shape
    at = normalize_dim("unsqueeze", arguments.integer("unsqueeze", "dim", dim), len(shape) + 1)
    return tensor_module.shown_as("UnsqueezeBackward0", movement.reshape(input, shape=(*shape[:at], 1, *shape[at:])))  # type: ignore[no-any-return]


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least 1 dimension."""
    return _each(tensors, lambda x: reshape(x, 1) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least 2 dimensions; new ones go in front."""
    return _each(tensors, lambda x: x if x.ndim >= 2 else reshape(x, 1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least 3 dimensions."""
    return _each(tensors, lambda x: x if x.ndim >= 3 else unsqueeze(x, -1) if x.ndim == 2 else reshape(x, 1, -1, 1))


def _each(tensors: Any, function: Any) -> Any:
    if len(tensors) == 1:
        if isinstance(tensors[0], (tuple, list)):
            return tuple(function(x) for x in tensors[0])
        return function(tensors[0])
    return tuple(function(x) for x in tensors)


# Another order of dimensions


def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """The dimensions in another order. Raises ShapeError unless `dims` names each once."""
    order = arguments.integers("permute", "dims", order if dims is None else (dims,))
    return movement.permute(input, dims=order)  # type: ignore[no-any-return]


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose`, under NumPy's name."""
    return transpose(input, axis0, axis1)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped."""
    ndim = input.array.ndim
    a, b = normalize_dim("transpose", dim0, ndim), normalize_dim("transpose", dim1, ndim)
    if ndim == 0:
        return movement.identity(input)  # type: ignore[no-any-return]
    order = list(range(ndim))
    order[a], order[b] = b, a
    return tensor_module.shown_as("TransposeBackward0", movement.permute(input, dims=tuple(order)))  # type: ignore[no-any-return]


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; tensors of fewer dimensions as they are."""
    ndim = input.array.ndim
    if ndim > 2:
        raise ShapeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    turned = movement.permute(input, dims=(1, 0)) if ndim == 2 else movement.identity(input)
    return tensor_module.shown_as("TBackward0", turned)  # type: ignore[no-any-return]


def reversed_dims(self: Tensor) -> Tensor:
    """`x.T`: all dimensions in reverse order."""
    return movement.permute(self, dims=tuple(range(self.array.ndim))[::-1])  # type: ignore[no-any-return]


def matrix_transpose(self: Tensor) -> Tensor:
    """`x.mT`: the last two dimensions swapped."""
    if self.array.ndim < 2:
        raise ShapeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.array.ndim}-D tensor."
        )
    return transpose(self, -2, -1)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions `source` moved to the places `destination`, the others in their order."""
    ndim = input.array.ndim
    sources = (source,) if isinstance(source, int) else tuple(source)
    targets = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(sources) != len(targets):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({list(sources)}) should contain the same number of "
            f"dims as destination ({list(targets)})"
        )
    sources = tuple(normalize_dim("movedim", d, ndim) for d in sources)
    targets = tuple(normalize_dim("movedim", d, ndim) for d in targets)
    if len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ShapeError("movedim: repeated dim in source or destination")
    rest = iter([d for d in range(ndim) if d not in sources])
    at = dict(zip(targets, sources, strict=True))
    order = tuple(at[d] if d in at else next(rest) for d in range(ndim))
    return movement.permute(input, dims=order)  # type: ignore[no-any-return]


# Repeated without copying, and parts


def expand(self: Tensor, *sizes: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """Dimensions of size 1 repeated to `size` without copying; -1 keeps a size."""
    sizes = arguments.integers("expand", "size", sizes if size is None else (size,))
    return movement.expand(self, shape=sizes)  # type: ignore[no-any-return]


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of `other`."""
    return expand(self, tuple(other.shape))


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """Expanded to `size`."""
    return expand(input, size)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` of dimension `dim`, which goes away."""
    shape = input.array.shape
    if not shape:
        raise DimensionError("select() cannot be applied to a 0-dim tensor.")
    at = normalize_dim("select", dim, len(shape))
    i = arguments.integer("select", "index", index)
    if not -shape[at] <= i < shape[at]:
        raise DimensionError(f"select(): index {i} out of range for tensor of size {list(shape)} at dimension {at}")
    return movement.slice_(input, index=(slice(None),) * at + (i,))  # type: ignore[no-any-return]


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` entries of dimension `dim`, from `start` on."""
    shape = input.array.shape
    if not shape:
        raise ShapeError("narrow() cannot be applied to a 0-dim tensor.")
    at = normalize_dim("narrow", dim, len(shape))
    first = arguments.integer("narrow", "start", start)
    if length < 0:
        raise ShapeError("narrow(): length must be non-negative.")
    if not -shape[at] <= first <= shape[at]:
        raise DimensionError(
            f"start out of range (expected to be in range of [{-shape[at]}, {shape[at]}], but got {first})"
        )
    if first < 0:
        first += shape[at]
    if first + length > shape[at]:
        raise ShapeError(f"start ({first}) + length ({length}) exceeds dimension size ({shape[at]}).")
    return _slice(input, at, first, first + length)


def narrow_copy(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`narrow`, with memory of its own."""
    return narrow(input, dim, start, length).clone()


def _slice(input: Tensor, dim: int, start: int, stop: int) -> Tensor:
    return movement.slice_(input, index=(slice(None),) * dim + (slice(start, stop),))  # type: ignore[no-any-return]


def split_method(self: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`, with the name that the method's argument has."""
    return split(self, split_size, dim)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of equal size along `dim` (the last may be smaller), or of the sizes listed."""
    shape = tensor.array.shape
    if not shape:
        raise ShapeError("split expects at least a 1-dimensional tensor")
    at = normalize_dim("split", dim, len(shape))
    total = shape[at]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = arguments.integers("split", "split_sizes", (split_size_or_sections,))
        if any(n < 0 for n in sizes) or sum(sizes) != total:
            raise ShapeError(
                f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size at dimension "
                f"{at}), but got split_sizes={list(sizes)}"
            )
    else:
        each = arguments.integer("split", "split_size", split_size_or_sections)
        if each < 0 or (each == 0 and total):
            raise ShapeError(f"split expects split_size be non-negative and nonzero for a size {total}, but got {each}")
        sizes = tuple(min(each, total - start) for start in range(0, total, each)) if total else (0,)
    views, start = [], 0
    for n in sizes:
        views.append(tensor_module.shown_as("SplitBackward0", _slice(tensor, at, start, start + n)))
        start += n
    return tuple(views)


@arguments.numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views along `dim`, of equal size but the last."""
    if chunks <= 0:
        raise ShapeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    shape = input.array.shape
    if not shape:
        raise ShapeError("chunk expects at least a 1-dimensional tensor")
    total = shape[normalize_dim("chunk", dim, len(shape))]
    if total == 0:
        return split(input, [0] * chunks, dim)
    return split(input, -(-total // chunks), dim)


@arguments.numpy_names
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views along `dim`: a number of nearly equal parts, or cut before each of the indices listed."""
    shape = input.array.shape
    if not shape:
        raise ShapeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    at = normalize_dim("tensor_split", dim, len(shape))
    total = shape[at]
    if hasattr(indices_or_sections, "tolist"):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0:
            raise ShapeError(f"number of sections must be larger than 0, got {indices_or_sections}")
        each, more = divmod(total, indices_or_sections)
        cuts = [0]
        for part in range(indices_or_sections):
            cuts.append(cuts[-1] + each + (part < more))
        pairs = list(zip(cuts[:-1], cuts[1:], strict=True))
    else:
        cuts = [0, *indices_or_sections, total]
        pairs = list(zip(cuts[:-1], cuts[1:], strict=True))
    return tuple(movement.slice_(input, index=(slice(None),) * at + (slice(a, b),)) for a, b in pairs)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the columns (dim 1, or 0 for a vector)."""
    return tensor_split(input, indices_or_sections, 0 if input.ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the rows."""
    return tensor_split(input, indices_or_sections, 0)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the third dimension."""
    return tensor_split(input, indices_or_sections, 2)


@arguments.numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, which goes away."""
    shape = input.array.shape
    if not shape:
        raise DimensionError("Dimension specified as 0 but tensor has no dimensions")
    at = normalize_dim("unbind", dim, len(shape))
    front = (slice(None),) * at
    parts = [movement.slice_(input, index=(*front, i)) for i in range(shape[at])]
    return tuple(tensor_module.shown_as("UnbindBackward0", part) for part in parts)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices that `dim1` and `dim2` span, as a last dimension."""
    return striding.diagonal(input, offset=offset, dim1=dim1, dim2=dim2)  # type: ignore[no-any-return]


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size`, `step` apart, along `dimension`; the window's entries are a new last dimension."""
    return striding.unfold(self, dimension=dimension, size=size, step=step)  # type: ignore[no-any-return]


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of the tensor's storage with these sizes, and strides in elements.

    Raises ShapeError where that would reach beyond the storage.
    """
    return striding.as_strided(  # type: ignore[no-any-return]
        input, size=tuple(size), stride=tuple(stride), storage_offset=storage_offset
    )


# In place: the tensor itself gets another shape


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place twin of a view: the tensor takes the place of the view of itself."""

    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        result = function(self, *args, **options)
        if result is not self:
            for field in ("array", "_node", "_index", "_requires_grad"):
                setattr(self, field, getattr(result, field))
            if self._base is not None:
                self._views = result._views
        return self

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"In-place version of `{function.__name__}`."
    return method


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Another size for the tensor itself: its elements in order, and uninitialised ones behind where it grows."""
    if self.requires_grad:
        raise InputError("cannot resize variables that require grad")
    size = arguments.size("resize_", sizes)
    count = math.prod(size)
    flat = self.array.reshape(-1)
    if count > flat.size:
        grown = np.zeros(count, flat.dtype)
        grown[: flat.size] = flat
        flat = grown
    self.array = flat[:count].reshape(size)
    return self


def resize_as_(self: Tensor, tensor: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to the size of another tensor."""
    return resize_(self, *tensor.array.shape)

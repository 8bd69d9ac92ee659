"""The Tensor: a NumPy array with a place in the graph of operations.

Its methods are the functions and operations that the modules imported here define; they use this module's names
only when they are called, so that each can import the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.dtypes import dtype
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops import elementwise, linear, movement, striding
from rushlight.ops.declare import Operation, routing
from rushlight.tensor import arithmetic, conversion, legacy, pointwise, printing, subscript
from rushlight.tensor import device as devices
from rushlight.tensor import layout as layouts
from rushlight.tensor.methods import Methods
from rushlight.tensor.size import Size
from rushlight.tensor.unread import Unread


class Tensor(Methods):
    """An n-dimensional array with gradients, made by `tensor()`, `zeros()` and others; `Tensor(2, 3)` is uninitialised.

    `array` is the storage, a NumPy array: views of a tensor are views of that memory.
    """

    # What every operation reads and writes has a place of its own in the object; `wrap` fills all of them.
    __slots__ = (
        "_base", "_counter", "_grad", "_history", "_index", "_node", "_producer", "_requires_grad", "_views", "array"
    )  # fmt: skip
    array: np.ndarray[Any, Any]
    _requires_grad: bool
    _node: Any
    _index: int
    _grad: Tensor | None
    _counter: Any  # of versions: a list of one number, shared by views; None stands for a 0 that nobody shares
    _base: Tensor | None
    _views: tuple[tuple[Operation, dict[str, Any]], ...]
    _history: int
    _producer: Any  # the module that returned this tensor, for error messages
    _hooks: Any = None
    _post_hooks: Any = None
    __array_priority__ = 1000

    def __new__(cls, *size: Any, device: Any = None) -> Tensor:
        return legacy.legacy_tensor(cls, *size, device=device)

    # Shape, dtype, memory

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(self.array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The sizes of the dimensions, or of one of them."""
        if dim is None:
            return Size(self.array.shape)
        if not self.array.ndim:
            movement.normalize_dim("size", dim, 0)
        return self.array.shape[movement.normalize_dim("size", dim, self.array.ndim)]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    nelement = numel

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return dtypes.of_numpy(self.array.dtype)

    @property
    def device(self) -> devices.device:
        """Where the tensor is: on the CPU."""
        return devices.cpu

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex: never here."""
        return False

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self.dtype.is_signed

    def stride(self, dim: int | None = None) -> Any:
        """How many elements of memory apart the entries of each dimension are, or of one."""
        size = self.array.itemsize
        strides = tuple(s // size for s in self.array.strides)
        return strides if dim is None else strides[movement.normalize_dim("stride", dim, len(strides))]

    def storage_offset(self) -> int:
        """How many elements lie before the first one in the memory that the tensor is a view of."""
        return striding.storage_offset(self.array)  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        """The address of the first element."""
        return int(self.array.__array_interface__["data"][0])

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.array.nbytes

    is_cuda = is_sparse = is_quantized = is_mps = is_xpu = is_meta = is_nested = False
    is_sparse_csr = is_mkldnn = is_xla = is_vulkan = is_ipu = is_maia = is_mtia = False
    is_cpu = True
    layout = layouts.strided
    names = property(lambda self: (None,) * self.array.ndim)

    # Autograd

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor. It can be set on leaves."""
        if self._base is not None and self._history != self._base._history:
            from rushlight.autograd import eager

            eager.refresh(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None:
            if not value:
                raise RuntimeError("you can only change requires_grad flags of leaf variables; use detach()")
            return
        if value and not self.is_floating_point():
            raise DtypeError(f"only Tensors of floating point dtype can require gradients, this one is {self.dtype}")
        if routing.tracing is not None:
            routing.tracing.requires(self)
        self._requires_grad = bool(value)
        if value and self._base is not None:
            # A leaf stands at the end of the graph: what happens to the tensor that it was a view of is not recorded.
            self._base, self._views = None, ()

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad` and returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor wasn't made by a recorded operation."""
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Any:
        """The node of the graph that made this tensor, or None."""
        return self._node if self.requires_grad else None

    @property
    def output_nr(self) -> int:
        """Which of the results of `grad_fn` this tensor is."""
        return self._index

    def detach(self) -> Tensor:
        """The same memory, outside the graph."""
        result = wrap(self.array)
        if self._counter is None:
            self._counter = [0]
        result._counter = self._counter
        return result

    def detach_(self) -> Tensor:
        """Takes the tensor itself out of the graph; raises RuntimeError for a view, which can't leave its base."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._index, self._requires_grad = None, 0, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph, whose changes the graph doesn't notice. It can be set."""
        return wrap(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if routing.tracing is not None:
            routing.tracing.replaces_memory(self, value)
            return
        self.array = value.array

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated, or None. Kept for leaves, and after `retain_grad()`."""
        if routing.tracing is not None:
            routing.tracing.reads_gradient(self)
        if self._grad is None and self._node is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                "won't be populated during autograd.backward(). Call .retain_grad() on it before backward() to get it",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value)}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.array.shape != self.array.shape:
                raise ShapeError(
                    f"assigned grad has data of a different size: its shape is {tuple(value.shape)}, the tensor's is "
                    f"{tuple(self.shape)}"
                )
            if value.array.dtype != self.array.dtype:
                raise DtypeError(
                    f"assigned grad has data of a different type: {value.dtype}, the tensor is {self.dtype}"
                )
        if routing.tracing is not None:
            routing.tracing.replaces_gradient(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def _version(self) -> Any:
        """How often the memory was written to in place."""
        return 0 if self._counter is None else self._counter[0]

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Computes the gradient of this tensor and adds it to the `.grad` of the leaves; see `autograd.backward`.

        gradient: of the final value with respect to this tensor, of its shape; not needed for a scalar.
        """
        from rushlight.autograd import gradients

        gradients.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Any:
        """Registers `hook(grad)`, called when the gradient of this tensor is computed; it may return another gradient.

        Returns a handle whose `remove()` takes the hook away.
        """
        from rushlight.autograd import tape

        return tape.register_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Any:
        """Registers `hook(tensor)`, called after a backward pass has added to the `.grad` of this leaf."""
        from rushlight.autograd import tape

        return tape.register_post_accumulate_grad_hook(self, hook)

    def retain_grad(self) -> None:
        """Keeps the gradient in `.grad` though this tensor isn't a leaf."""
        from rushlight.autograd import tape

        tape.retain_grad(self)

    @property
    def retains_grad(self) -> bool:
        """Whether this tensor isn't a leaf and keeps its gradient."""
        node = self._node
        return node is not None and node.retained is not None and self._index in node.retained

    # Operators

    __add__ = __radd__ = arithmetic.binary(elementwise.add)
    __iadd__ = arithmetic.assigned(elementwise.add)
    __sub__ = arithmetic.binary(elementwise.subtract)
    __rsub__ = arithmetic.reflected(elementwise.subtract)
    __isub__ = arithmetic.assigned(elementwise.subtract)
    __mul__ = __rmul__ = arithmetic.binary(elementwise.multiply)
    __imul__ = arithmetic.assigned(elementwise.multiply)
    __truediv__ = arithmetic.binary(elementwise.divide)
    __rtruediv__ = arithmetic.reflected(elementwise.divide)
    __itruediv__ = arithmetic.assigned(elementwise.divide)
    __pow__ = pointwise.to_the_power
    __rpow__ = arithmetic.reflected(elementwise.power)
    __ipow__ = pointwise.assigned_power
    __and__ = __rand__ = arithmetic.binary(elementwise.bitwise_and)
    __iand__ = arithmetic.assigned(elementwise.bitwise_and)
    __or__ = __ror__ = arithmetic.binary(elementwise.bitwise_or)
    __ior__ = arithmetic.assigned(elementwise.bitwise_or)
    __xor__ = __rxor__ = arithmetic.binary(elementwise.bitwise_xor)
    __ixor__ = arithmetic.assigned(elementwise.bitwise_xor)
    __pos__ = pointwise.positive
    __invert__ = elementwise.bitwise_not
    __lshift__ = arithmetic.binary(elementwise.bitwise_left_shift)
    __rlshift__ = arithmetic.reflected(elementwise.bitwise_left_shift)
    __ilshift__ = arithmetic.assigned(elementwise.bitwise_left_shift)
    __rshift__ = arithmetic.binary(elementwise.bitwise_right_shift)
    __rrshift__ = arithmetic.reflected(elementwise.bitwise_right_shift)
    __irshift__ = arithmetic.assigned(elementwise.bitwise_right_shift)
    __floordiv__ = arithmetic.binary(elementwise.floor_divide)
    __rfloordiv__ = arithmetic.reflected(elementwise.floor_divide)
    __ifloordiv__ = arithmetic.assigned(elementwise.floor_divide)
    __mod__ = arithmetic.binary(elementwise.remainder)
    __rmod__ = arithmetic.reflected(elementwise.remainder)
    __imod__ = arithmetic.assigned(elementwise.remainder)
    __abs__ = elementwise.absolute
    __matmul__ = arithmetic.binary(linear.matmul)
    __rmatmul__ = arithmetic.reflected(linear.matmul)
    __neg__ = elementwise.negative
    __eq__ = arithmetic.binary(elementwise.equal)  # type: ignore[assignment]
    __ne__ = arithmetic.binary(elementwise.not_equal)  # type: ignore[assignment]
    __lt__ = arithmetic.binary(elementwise.less)
    __le__ = arithmetic.binary(elementwise.less_equal)
    __gt__ = arithmetic.binary(elementwise.greater)
    __ge__ = arithmetic.binary(elementwise.greater_equal)
    __hash__ = object.__hash__
    __len__ = subscript.length
    __iter__ = subscript.iterate
    __contains__ = subscript.contains
    __getitem__ = subscript.getitem
    __setitem__ = subscript.setitem

    # Conversions that Python asks for

    __array__ = conversion.array_protocol
    __array_wrap__ = conversion.array_wrap
    __dlpack__ = conversion.dlpack
    __dlpack_device__ = conversion.dlpack_device
    __bool__ = conversion.truth
    __float__ = conversion.to_float
    __int__ = conversion.to_int
    __complex__ = conversion.to_complex
    __index__ = conversion.to_index
    __deepcopy__ = conversion.deepcopy
    __reduce_ex__ = conversion.reduce
    __repr__ = printing.represent
    __format__ = printing.format_tensor


_new = object.__new__
_ndarray = np.ndarray


def bump_version(tensor: Tensor) -> None:
    """Takes down that the memory of `tensor` was written to in place."""
    if tensor._counter is None:
        tensor._counter = [1]
    else:
        tensor._counter[0] += 1


def wrap(array: Any, kind: type[Tensor] = Tensor) -> Tensor:
    """A Tensor (or one of a class made from it) of this array, sharing its memory, outside of any graph.

    NumPy scalars become 0-d arrays.
    """
    tensor = _new(kind)
    tensor.array = array if type(array) is _ndarray or type(array) is Unread else np.asarray(array)
    tensor._requires_grad = False
    tensor._node = tensor._grad = tensor._counter = tensor._base = tensor._producer = None
    tensor._index = tensor._history = 0
    tensor._views = ()
    return tensor


def shown_as(name: str, tensor: Any) -> Any:
    """`tensor`, whose place in the graph prints as `name`: that of the function here which PyTorch has as one step."""
    if tensor._node is not None:
        tensor._node.shown = name
    return tensor

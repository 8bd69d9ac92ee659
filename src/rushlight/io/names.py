"""The closed table of names that a pickle may use, and what each stands for here."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from rushlight import dtypes
from rushlight.errors import LoadError
from rushlight.io.pickle_reader import Constructor, Unfinished, hashable
from rushlight.io.storage import STORAGE_TYPES, Storage
from rushlight.tensor.device import device
from rushlight.tensor.size import Size
from rushlight.tensor.tensor import Tensor, wrap

# Tensors and parameters


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise LoadError("a tensor has no storage")
    return wrap(storage.view(offset, size, stride, None))


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any = None, metadata: Any = None
) -> Tensor:
    return _requiring(_rebuild_tensor(storage, offset, size, stride), requires_grad)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, dtypes.dtype):
        raise LoadError("a tensor has no storage, or no dtype")
    return _requiring(wrap(storage.view(offset, size, stride, dtype)), requires_grad)


def _requiring(tensor: Tensor, requires_grad: Any) -> Tensor:
    if requires_grad:
        if not tensor.is_floating_point():
            raise LoadError("a tensor of integers requires a gradient")
        tensor.requires_grad = True
    return tensor


def _rebuild_parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Tensor:
    from rushlight.nn import Parameter

    if not isinstance(data, Tensor):
        raise LoadError("a parameter is made of something other than a tensor")
    if requires_grad and not data.is_floating_point():
        raise LoadError("a parameter of integers requires a gradient")
    return Parameter(data, bool(requires_grad))


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes of its own, or of a subclass: the tensor alone."""
    if not isinstance(function, Constructor) or not function.name.startswith("torch._utils._rebuild"):
        raise LoadError("a tensor is rebuilt by no known function")
    if not isinstance(arguments, tuple):
        raise LoadError("a tensor is rebuilt from something other than a tuple")
    return function.build(*arguments)


# Plain Python objects


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    if isinstance(items, dict):
        return OrderedDict(items)
    result: OrderedDict[Any, Any] = OrderedDict()
    for pair in _sequence(items):
        key, value = _sequence(pair)
        result[hashable(key)] = value
    return result


def _counter(items: Any = ()) -> Counter[Any]:
    if not isinstance(items, dict):
        raise LoadError("a Counter is made of something other than a dict")
    counter: Counter[Any] = Counter()
    for key, count in items.items():
        if type(count) not in (int, float):
            raise LoadError("a Counter has a count that isn't a number")
        counter[key] = count
    return counter


_FACTORIES = {"dict": dict, "list": list, "int": int, "float": float, "str": str, "tuple": tuple, "set": set}


def _default_dict(factory: Any = None) -> defaultdict[Any, Any]:
    if factory is None:
        return defaultdict(None)
    name = factory.name.removeprefix("builtins.") if isinstance(factory, Constructor) else ""
    made = OrderedDict if name == "collections.OrderedDict" else _FACTORIES.get(name)
    if made is None:
        raise LoadError("a defaultdict has a default that isn't a plain type")
    return defaultdict(made)


def _sequence(items: Any) -> Any:
    if not isinstance(items, list | tuple | set | frozenset):
        raise LoadError(f"a {type(items).__name__} stands where a sequence belongs")
    return items


def _byte_array(data: Any = b"", encoding: Any = None) -> bytearray:
    if isinstance(data, str) and encoding in ("latin-1", "latin1"):
        data = data.encode("latin1")
    if not isinstance(data, bytes):
        raise LoadError("a bytearray is made of something other than bytes")
    return bytearray(data)


def _bytes(data: Any = b"") -> bytes:
    if not isinstance(data, bytes):
        return bytes([_byte(item) for item in _sequence(data)])
    return data


def _byte(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 256:
        raise LoadError("bytes are made of something other than bytes")
    return value


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise LoadError("bytes are encoded from something other than text")
    return text.encode(encoding)


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) not in (int, float) or type(imaginary) not in (int, float):
        raise LoadError("a complex number is made of something other than numbers")
    return complex(real, imaginary)


def _size(sizes: Any = ()) -> Size:
    if not all(type(n) is int for n in _sequence(sizes)):
        raise LoadError("a Size is made of something other than integers")
    return Size(sizes)


def _device(name: Any, index: Any = None) -> device:
    if not isinstance(name, str):
        raise LoadError("a device has a name that isn't text")
    return device(name, index if type(index) is int else None)


# NumPy's scalars and arrays


class _NumpyDtype(Unfinished):
    """A NumPy dtype before the state that tells its byte order."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype

    def finish(self, state: Any) -> np.dtype[Any]:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise LoadError("a NumPy dtype has a state that isn't one")
        return self._dtype if state[1] in "|=" else self._dtype.newbyteorder(state[1])


def _numpy_dtype(name: Any, align: Any = False, copy: Any = True) -> _NumpyDtype:
    if not isinstance(name, str) or not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,6})", name):
        raise LoadError(f"a NumPy dtype is named {name!r:.40}")
    return _NumpyDtype(np.dtype(name))


def _numpy_values(dtype: Any, shape: tuple[int, ...], data: Any, order: Literal["C", "F"]) -> np.ndarray[Any, Any]:
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
        raise LoadError("a NumPy array has no dtype, or no data")
    if not all(type(n) is int and 0 <= n < 2**63 for n in shape) or len(shape) > 64:
        raise LoadError("a NumPy array has a shape that isn't one")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise LoadError(f"a NumPy array of shape {shape} and dtype {dtype} has {len(data)} bytes")
    array = np.ndarray(shape, dtype, bytearray(data), order=order)
    native: np.ndarray[Any, Any] = array.astype(dtype.newbyteorder("="), copy=False)
    return native


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    return _numpy_values(dtype, (), data, "C")[()]


class _NumpyArray(Unfinished):
    """An array before its state."""

    def finish(self, state: Any) -> np.ndarray[Any, Any]:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[1], tuple):
            raise LoadError("a NumPy array has a state that isn't one")
        _, shape, dtype, by_columns, data = state
        return _numpy_values(dtype, shape, data, "F" if by_columns else "C")


def _numpy_array(kind: Any, shape: Any, code: Any) -> _NumpyArray:
    if not isinstance(kind, Constructor) or kind.name != "numpy.ndarray":
        raise LoadError("a NumPy array is of a kind of its own")
    return _NumpyArray()


def _not_callable(*_: Any) -> Any:
    raise LoadError("a type is called that only names one")


def _table() -> dict[tuple[str, str], Any]:
    constructors: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
        "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
        "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
        "torch.Tensor": _not_callable,
        "torch.nn.parameter.Parameter": _rebuild_parameter,
        "torch.Size": _size,
        "torch.device": _device,
        "collections.OrderedDict": _ordered_dict,
        "collections.Counter": _counter,
        "collections.defaultdict": _default_dict,
        "_codecs.encode": _encode,
        "builtins.bytes": _bytes,
        "builtins.bytearray": _byte_array,
        "builtins.complex": _complex,
        "builtins.set": lambda items=(): {hashable(item) for item in _sequence(items)},
        "builtins.frozenset": lambda items=(): frozenset(hashable(item) for item in _sequence(items)),
        "builtins.dict": lambda: {},
        "builtins.list": lambda items=(): list(_sequence(items)),
        "builtins.tuple": lambda items=(): tuple(_sequence(items)),
        "builtins.int": _not_callable,
        "builtins.float": _not_callable,
        "builtins.str": _not_callable,
        "numpy.dtype": _numpy_dtype,
        "numpy.ndarray": _not_callable,
        "numpy.core.multiarray.scalar": _numpy_scalar,
        "numpy._core.multiarray.scalar": _numpy_scalar,
        "numpy.core.multiarray._reconstruct": _numpy_array,
        "numpy._core.multiarray._reconstruct": _numpy_array,
    }
    table: dict[tuple[str, str], Any] = {}
    for full, build in constructors.items():
        module, _, name = full.rpartition(".")
        table[module, name] = Constructor(full, build)
    for d in dtypes.ALL:
        table["torch", d.name] = d
    for name, storage_type in STORAGE_TYPES.items():
        table["torch", name] = storage_type
        table["torch.storage", name] = storage_type
    return table


_NAMES = _table()


class DataNames:
    """What names stand for in a file of data: values, and Constructors that the reader may call."""

    def find(self, module: str, name: str) -> Any:
        found = self.known(module, name)
        if found is None:
            raise LoadError(refusal(module, name))
        return found

    @staticmethod
    def known(module: str, name: str) -> Any:
        """What stands in the table; None for other names."""
        return _NAMES.get((module, name))

    def make(self, kind: type) -> Any:
        raise LoadError(f"the pickle makes a {kind.__name__}")

    def fill(self, instance: Any, state: Any) -> None:
        raise LoadError(f"the pickle sets the state of a {type(instance).__name__}")


def refusal(module: str, name: str) -> str:
    """Why a name in a pickle isn't read as data."""
    full = f"{module}.{name}"
    if module.startswith("torch") and not module.startswith(("torch.nn", "torchvision")):
        return f"the file holds a {full}, which load() has no reading of"
    return (
        f"the file holds a {full}: an object of a class, where weights_only=True, the default, reads data only. "
        "load(..., weights_only=False) reads whole modules, of classes that are defined or imported already; it runs "
        "no code of the file, unlike PyTorch's. Or save model.state_dict() where the file was made, and load that into "
        "a new model with load_state_dict()"
    )

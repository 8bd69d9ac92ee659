"""Random tensors, and the generator that they come from unless another is given: PyTorch's numbers for the same seed.

Seen by users as functions and methods of Tensor, and, for the generator's state, as `rushlight.random`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import core, dtypes
from rushlight.autograd.modes import mode
from rushlight.dtypes import dtype as Dtype
from rushlight.errors import InputError, ShapeError
from rushlight.ops import movement
from rushlight.ops.declare import broadcast_shapes, routing
from rushlight.tensor import arguments, creation, data, distributions, unread
from rushlight.tensor import tensor as tensors
from rushlight.tensor.generator import Generator

if TYPE_CHECKING:
    from rushlight.tensor.tensor import Tensor

Fill = Callable[[np.ndarray[Any, Any]], None]

# The generator

default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Starts the default generator's sequence of `seed` (from -2**63 to 2**64 - 1), and returns the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Starts a sequence of the default generator that can't be foretold; returns its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator's sequence started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, a tensor of 5056 bytes in PyTorch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Takes up a state that `get_rng_state`, here or in PyTorch, returned; raises RuntimeError for other bytes."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_options: Any) -> Iterator[None]:
    """After the `with` block the default generator stands where it stood before it."""
    state = default_generator.state_bytes() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            default_generator.restore_bytes(state)


def _source(function: str, generator: Any) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"{function}(): argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator


def _real(value: Any) -> float:
    """A parameter of a distribution as a float."""
    if not isinstance(value, (int, float, np.number, tensors.Tensor)):
        raise TypeError(f"a parameter of a distribution must be a number, not {type(value).__name__}")
    return float(value)


def draw_key(generator: Generator | None = None) -> Tensor:
    """The key of a dropout mask, two int32 numbers, from the generator; see `ops/random.py`."""
    source = _source("dropout", generator)
    return tensors.wrap(_drawn(source, np.empty(2, np.int32), lambda key: np.copyto(key, source.engine.draw(2))))


def _drawn(source: Generator, array: np.ndarray[Any, Any], fill: Fill) -> np.ndarray[Any, Any]:
    """`array`, filled from `source`; a compiled function fills it anew in each call."""
    if routing.tracing is not None:
        routing.tracing.drawing(source)
    fill(array)
    if routing.tracing is not None:
        routing.tracing.drawn(array, fill)
    return array


def _refuse_tracing(function: str, *parameters: Any) -> None:
    """Raises TraceError where numbers are to be drawn by the values of a tensor that aren't known while tracing."""
    for parameter in parameters:
        if isinstance(parameter, tensors.Tensor) and not unread.has_values(parameter):
            unread.refuse(f"{function}() draws by the values of a tensor")


# In place


def _filled(self: Tensor, source: Generator, fill: Fill) -> Tensor:
    """`fill` on the memory of the tensor, as an in-place operation that gradients don't pass."""
    base = self if self._base is None else self._base
    if routing.tracing is not None or (mode.grad_enabled and (self.requires_grad or base._requires_grad)):
        values = _drawn(source, np.empty_like(self.array, subok=False), fill)
        return movement.assign(self, tensors.wrap(values), out=self)  # type: ignore[no-any-return]
    if not self.array.flags.writeable:
        raise InputError(
            "can't write into this tensor: more than one of its elements refers to a single memory location "
            "(expand()), or its memory is read-only (from_numpy()). clone() it first"
        )
    fill(self.array)
    tensors.bump_version(self)
    return self


def _bounds(function: str, given: tuple[Any, ...], named: dict[str, Any], low: Any, high: Any) -> tuple[Any, Any]:
    """The arguments `from` (a word that Python keeps for itself) and `to`."""
    names = ["from", "to"]
    values = dict(zip(names, given, strict=False))
    for name, value in named.items():
        if name not in names or name in values:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
        values[name] = value
    if len(given) > 2:
        raise TypeError(f"{function}() takes at most 2 positional arguments ({len(given)} given)")
    return values.get("from", low), values.get("to", high)


def uniform_(self: Tensor, *bounds: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Filled with numbers from [from, to), by default [0, 1)."""
    low, high = _bounds("uniform_", bounds, named, 0.0, 1.0)
    source = _source("uniform_", generator)
    return _filled(self, source, lambda out: distributions.fill_uniform(source, out, _real(low), _real(high)))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Filled with normal numbers of this mean and standard deviation."""
    source = _source("normal_", generator)
    return _filled(self, source, lambda out: distributions.fill_normal(source, out, _real(mean), _real(std)))


def random_(self: Tensor, *bounds: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Filled with integers: `random_(to)` from [0, to), `random_(from, to)`, or all that the dtype has from 0 on."""
    if len(bounds) == 1 and not named:
        bounds = (0, bounds[0])
    low, high = _bounds("random_", bounds, named, 0, None)
    low = arguments.integer("random_", "from", low)
    high = None if high is None else arguments.integer("random_", "to", high)
    source = _source("random_", generator)
    return _filled(self, source, lambda out: distributions.fill_integers(source, out, low, high))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Filled with ones of probability `p` (a number, or a tensor that broadcasts to this one) and zeros."""
    source = _source("bernoulli_", generator)
    probability = p.array if isinstance(p, tensors.Tensor) else _real(p)
    if isinstance(probability, np.ndarray):
        _refuse_tracing("bernoulli_", p)
        _check_broadcast("bernoulli_", probability.shape, self.array.shape)
    return _filled(self, source, lambda out: distributions.fill_bernoulli(source, out, probability))


def _check_broadcast(function: str, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{function}: a tensor of shape {shape} doesn't broadcast to {target}")


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Filled with exponential numbers, of mean 1 / lambd."""
    source = _source("exponential_", generator)
    return _filled(self, source, lambda out: distributions.fill_exponential(source, out, _real(lambd)))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Filled with numbers of Cauchy's distribution."""
    source = _source("cauchy_", generator)
    return _filled(self, source, lambda out: distributions.fill_cauchy(source, out, _real(median), _real(sigma)))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Filled with numbers whose logarithm is normal, with this mean and standard deviation."""
    source = _source("log_normal_", generator)
    return _filled(self, source, lambda out: distributions.fill_log_normal(source, out, _real(mean), _real(std)))


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Filled with the numbers of trials until the first success of probability `p`."""
    source = _source("geometric_", generator)
    return _filled(self, source, lambda out: distributions.fill_geometric(source, out, _real(p)))


# New tensors


def _new(name: str, fill: Callable[[Generator, np.ndarray[Any, Any]], None], doc: str) -> Callable[..., Tensor]:
    def function(
        *size: Any,
        generator: Generator | None = None,
        out: Tensor | None = None,
        dtype: Dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        names: Any = None,
        **named: Any,
    ) -> Tensor:
        if "size" in named:
            size = (named.pop("size"),)
        if named:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
        array = core.empty(arguments.size(name, size), arguments.numpy_dtype(dtype if out is None else out.dtype))
        source = _source(name, generator)
        _drawn(source, array, lambda memory: fill(source, memory))
        return data.made(array, requires_grad, device) if out is None else creation.into(out, array)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _new_like(name: str, fill: Callable[[Generator, np.ndarray[Any, Any]], None], doc: str) -> Callable[..., Tensor]:
    def function(
        input: Tensor,
        *,
        generator: Generator | None = None,
        dtype: Dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        array = _empty_like(name, input, dtype)
        source = _source(name, generator)
        _drawn(source, array, lambda memory: fill(source, memory))
        return data.made(array, requires_grad, device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _empty_like(name: str, input: Any, dtype: Dtype | None) -> np.ndarray[Any, Any]:
    """An array of the shape and strides of `input`, which decide the order of its numbers."""
    if not isinstance(input, tensors.Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return np.empty_like(input.array, input.array.dtype if dtype is None else arguments.numpy_dtype(dtype))


rand = _new("rand", distributions.fill_uniform, "Numbers from [0, 1) in a tensor of `size`.")
randn = _new("randn", distributions.fill_normal, "Standard normal numbers in a tensor of `size`.")
rand_like = _new_like("rand_like", distributions.fill_uniform, "Numbers from [0, 1) in the shape of `input`.")
randn_like = _new_like("randn_like", distributions.fill_normal, "Standard normal numbers in the shape of `input`.")


def _range(
    function: str, bounds: tuple[Any, ...], named: dict[str, Any], rest: int
) -> tuple[int, int, tuple[Any, ...]]:
    """The bounds of randint's forms, (high, ...) and (low, high, ...), where `rest` arguments follow them."""
    values = list(bounds)
    low, high = named.pop("low", None), named.pop("high", None)
    if high is None:
        if low is None and len(values) - rest == 2:
            low = values.pop(0)
        if not values:
            raise TypeError(f"{function}() missing 1 required positional argument: 'high'")
        high = values.pop(0)
    elif low is None and len(values) - rest == 1:
        low = values.pop(0)
    return (
        arguments.integer(function, "low", 0 if low is None else low),
        arguments.integer(function, "high", high),
        tuple(values),
    )


def randint(
    *bounds: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """`randint(high, size)` or `randint(low, high, size)`: integers from [low, high), int64 unless `dtype` is given."""
    size = named.pop("size", None)
    low, high, rest = _range("randint", bounds, named, 0 if size is not None else 1)
    if size is None:
        if len(rest) != 1:
            raise TypeError("randint(): takes (high, size) or (low, high, size), where size is a tuple of ints")
        size = rest[0]
    if named:
        raise TypeError(f"randint() got an unexpected keyword argument '{next(iter(named))}'")
    if out is not None:
        dtype = out.dtype
    array = core.empty(arguments.size("randint", (size,)), arguments.numpy_dtype(dtype or dtypes.int64))
    source = _source("randint", generator)
    _drawn(source, array, lambda memory: distributions.fill_integers(source, memory, low, high))
    return data.made(array, requires_grad, device) if out is None else creation.into(out, array)


def randint_like(
    input: Tensor,
    *bounds: Any,
    generator: Generator | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    **named: Any,
) -> Tensor:
    """`randint_like(input, high)` or `randint_like(input, low, high)`: integers in the shape and dtype of `input`."""
    low, high, rest = _range("randint_like", bounds, named, 0)
    if rest or named:
        raise TypeError("randint_like(): takes (input, high) or (input, low, high)")
    array = _empty_like("randint_like", input, dtype)
    source = _source("randint_like", generator)
    _drawn(source, array, lambda memory: distributions.fill_integers(source, memory, low, high))
    return data.made(array, requires_grad, device)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The integers from 0 to n - 1 in random order, int64 unless `dtype` is given."""
    if out is not None:
        dtype = out.dtype
    count = arguments.integer("randperm", "n", n)
    wanted = arguments.numpy_dtype(dtype or dtypes.int64)
    source = _source("randperm", generator)
    array = np.empty(max(count, 0), wanted)
    _drawn(source, array, lambda memory: np.copyto(memory, distributions.permutation(source, count, wanted)))
    return data.made(array, requires_grad, device) if out is None else creation.into(out, array)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal numbers: of one mean and deviation in a tensor of `size`, or of tensors of means and of deviations."""
    source = _source("normal", generator)
    given = [value for value in (mean, std) if isinstance(value, tensors.Tensor)]
    if size is not None or not given:
        if size is None:
            raise TypeError("normal(): takes a size where neither mean nor std is a tensor")
        array = core.empty(
            arguments.size("normal", (size,)), arguments.numpy_dtype(dtype if out is None else out.dtype)
        )
        center, spread = _real(mean), _real(std)
        _drawn(source, array, lambda memory: distributions.fill_normal(source, memory, center, spread))
    else:
        if routing.tracing is not None:
            unread.refuse("normal() draws by the values of a tensor")
        if isinstance(std, tensors.Tensor) and bool(np.any(std.array < 0)):
            raise InputError("normal expects all elements of std >= 0.0")
        array = np.empty(broadcast_shapes("normal", [value.array for value in given]), given[0].array.dtype)
        if isinstance(std, tensors.Tensor):
            distributions.fill_normal(source, array)
            array *= std.array.astype(array.dtype, copy=False)
        else:
            distributions.fill_normal(source, array, 0.0, _real(std))
        array += mean.array.astype(array.dtype, copy=False) if isinstance(mean, tensors.Tensor) else mean
    return data.made(array, requires_grad, device) if out is None else creation.into(out, array)


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """Ones with the probabilities in `input` (or all with `p`), else zeros; in the shape and dtype of `input`."""
    _refuse_tracing("bernoulli", input)
    array = np.empty(input.array.shape, input.array.dtype)
    source, probability = _source("bernoulli", generator), input.array if p is None else _real(p)
    _drawn(source, array, lambda memory: distributions.fill_bernoulli(source, memory, probability))
    return tensors.wrap(array) if out is None else creation.into(out, array)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`num_samples` indices drawn by the weights in each row of `input`, (categories,) or (rows, categories)."""
    _refuse_tracing("multinomial", input)
    count = arguments.integer("multinomial", "num_samples", num_samples)
    source, weights = _source("multinomial", generator), input.array
    array = np.empty((*weights.shape[:-1], max(count, 0)), np.int64)
    _drawn(
        source, array, lambda memory: np.copyto(memory, distributions.multinomial(source, weights, count, replacement))
    )
    return tensors.wrap(array) if out is None else creation.into(out, array)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of Poisson's distribution with the rates in `input`, in its shape and dtype."""
    return _sampled("poisson", generator, distributions.poisson, input)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """The numbers of successes in `count` trials of probability `prob`, which have one dtype, a floating one."""
    shape = broadcast_shapes("binomial", [count.array, prob.array])
    if count.array.dtype != prob.array.dtype:
        raise InputError(f"binomial: expected count and prob of one dtype, got {count.dtype} and {prob.dtype}")
    return _sampled("binomial", generator, distributions.binomial, count.expand(shape), prob.expand(shape))


def standard_gamma(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of rate 1, in the shape and dtype of `concentration`."""

    def gamma(source: Generator, shapes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return distributions.clipped(distributions.gamma(source, shapes).astype(shapes.dtype))

    return _sampled("standard_gamma", generator, gamma, concentration)


def dirichlet(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Vectors of sum 1 along the last dimension: gamma numbers divided by their sum."""
    return _sampled("dirichlet", generator, distributions.dirichlet, concentration)


def _sampled(function: str, generator: Any, draw: Callable[..., np.ndarray[Any, Any]], *parameters: Tensor) -> Tensor:
    """What `draw(source, *arrays)` makes of parameters of one shape."""
    _refuse_tracing(function, *parameters)
    source = _source(function, generator)
    arrays = [parameter.array for parameter in parameters]
    array = np.empty(arrays[0].shape, arrays[0].dtype)
    return tensors.wrap(_drawn(source, array, lambda memory: np.copyto(memory, draw(source, *arrays))))

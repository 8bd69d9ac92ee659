"""What an operation is: its meaning, shape rule, gradient, kernel and samples, in one declaration.

Everything else follows from the list `OPERATIONS`: eager calls, the tape, tracing, compiled programs, the tests.
A call is routed in one place, `Operation.__call__`, to the interpreter at work: eager, inline or trace.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rushlight import core, dtypes
from rushlight.errors import DtypeError, OutOfMemoryError, ShapeError
from rushlight.ops import program

if TYPE_CHECKING:
    from rushlight.tensor import Tensor


class Spec(NamedTuple):
    """What is known of a tensor without its values: the shape, and the NumPy dtype."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system says
        return 2**46


_MEMORY = _memory()


def check_memory(name: str, shape: Sequence[int], dtype: Any) -> None:
    """Raises OutOfMemoryError for a tensor that is larger than all memory of the machine, before any is taken."""
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if needed > _MEMORY:
        raise OutOfMemoryError(
            f"{name}: can't allocate memory: a tensor of shape {tuple(shape)} and dtype {np.dtype(dtype).name} takes "
            f"{needed / 2**30:.1f} GiB, and this machine has {_MEMORY / 2**30:.1f}"
        )


class Sample(NamedTuple):
    """One set of arguments that a test runs an operation on: arrays, numbers or None, and options."""

    args: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012 (read only)


Interpreter = Callable[["Operation", tuple[Any, ...], dict[str, Any]], Any]


class _Routing(threading.local):
    """The interpreter at work in this thread. `autograd/eager.py` puts the eager one here as every thread's default."""

    interpreter: Interpreter
    tracing: Any = None  # the compiler's Trace while it records (`compiler/trace.py`)
    updates: list[Any] | None = None  # takes down the calls of optimizers' updates, in their place
    timing: Any = None  # the profiler at work (`autograd/profiler.py`): timing(name, inputs, function, *args) calls it


routing = _Routing()


@contextmanager
def interpreted_by(interpreter: Interpreter) -> Iterator[None]:
    """Routes the operations called within to `interpreter`, in this thread."""
    before = routing.interpreter
    routing.interpreter = interpreter
    try:
        yield
    finally:
        routing.interpreter = before


OPERATIONS: dict[str, Operation] = {}


class Operation:
    """A declared operation: callable on Tensors, and a method of Tensor where a class attribute names it."""

    def __init__(
        self,
        meaning: Callable[..., Any],
        *,
        kind: str,
        kernel: str | None = None,
        promotion: str = "arithmetic",
        domain: tuple[float, float] = (-3.0, 3.0),
        differentiable: bool = True,
        piecewise_linear: bool = False,
        of_memory: bool = False,
        checks_indices: bool = False,
        traceable: bool = True,
        listed: bool = True,
    ) -> None:
        self.name = meaning.__name__.rstrip("_")
        self.meaning = meaning
        self.kind = kind
        self.promotion = promotion
        self.domain = domain
        self.differentiable = differentiable
        self.piecewise_linear = piecewise_linear
        self.of_memory = of_memory
        self.checks_indices = checks_indices
        self.traceable = traceable
        # Whether the gradient rule reads the result, to save memory, where PyTorch's reads the input: there the result
        # may be overwritten, here the tape then keeps a copy.
        self.result_stands_in = False
        self.__doc__ = meaning.__doc__
        self.__name__ = self.name
        parameters = list(inspect.signature(meaning).parameters.values())[1:]
        self.parameters = [p for p in parameters if p.kind != p.KEYWORD_ONLY]
        if kind == "elementwise" and any(p.default is not p.empty for p in parameters):
            raise TypeError(f"operation {self.name!r}: the parameters of an elementwise meaning have no defaults")
        self.option_names = frozenset(["out", *(p.name for p in parameters if p.kind == p.KEYWORD_ONLY)])
        self.elementwise = kind == "elementwise"
        self.is_view = kind == "view"
        self.shape_rule: Callable[..., Any] | None = None
        self.gradient_rule: Callable[..., Any] | None = None
        self.sample_rule: Callable[..., Iterator[Sample]] | None = None
        self.inplace_rule: Callable[..., None] | None = None
        self._checked: Any = None  # the signatures that the shape rule has passed
        self.gradient_plans: dict[tuple[int, int], GradientPlan] = {}
        self.kernel: Callable[..., Any] | None = None
        self.checks_first = False
        if core.native is not None:
            self._checked = core.native.Signatures(integers=checks_indices)
            if self.elementwise:
                self.kernel = self._first_call
            elif kernel is not None:
                self.kernel = getattr(core.native, kernel)
        if listed:
            if self.name in OPERATIONS:
                raise ValueError(f"operation {self.name!r} is declared twice")
            OPERATIONS[self.name] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> Operation:
        return self  # as functions are: a module may have one as an attribute

    def __reduce__(self) -> tuple[Any, ...]:
        return operation_named, (self.name,)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if options and not self.option_names.issuperset(options):
            args, options = self._positional(args, options)
        return routing.interpreter(self, args, options)

    def _positional(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tensors that were given by keyword, in their places; `input` and `other` stand for the first and second."""
        names = [p.name for p in self.parameters]
        places = {**{name: place for place, name in enumerate(names)}, "input": 0, "other": 1}
        given = dict(enumerate(args))
        rest = {}
        for name, value in options.items():
            if name in self.option_names:
                rest[name] = value
            elif name in places and places[name] < len(names) and places[name] not in given:
                given[places[name]] = value
            else:
                raise TypeError(f"{self.name}() got an unexpected keyword argument '{name}'")
        if sorted(given) != list(range(len(given))):
            missing = next(n for place, n in enumerate(names) if place not in given)
            raise TypeError(f"{self.name}() missing 1 required positional argument: '{missing}'")
        return tuple(given[place] for place in range(len(given))), rest

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., Any]:
        return self if instance is None else _Method(self, instance)

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    # The parts of a declaration, as decorators.

    def shape(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Declares the shape rule: from the arguments to a Spec, or a tuple of them. It raises in the user's words."""
        self.shape_rule = rule
        self.checks_first = not self.is_view
        return rule

    def gradient(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Declares the gradient: `(g, y, *inputs, **options)` -> one gradient, lambda or None for each input."""
        self.gradient_rule = rule
        return rule

    def inplace(self, rule: Callable[..., None]) -> Callable[..., None]:
        """Declares how the in-place form writes straight into its first array: `rule(x, *inputs, **options)`."""
        self.inplace_rule = rule
        return rule

    def samples(self, rule: Callable[..., Iterator[Sample]]) -> Callable[..., Iterator[Sample]]:
        """Declares samples: `rule(make)` yields Sample; `make(*shape, low=, high=, dtype=)` makes an array."""
        self.sample_rule = rule
        return rule

    def all_samples(self, make: Callable[..., Any]) -> Iterator[Sample]:
        """The samples declared; for an elementwise operation without them, arrays of the shapes that make trouble."""
        if self.sample_rule is not None:
            yield from self.sample_rule(make)
        elif self.elementwise:
            yield from self._elementwise_samples(make)

    def _elementwise_samples(self, make: Callable[..., Any]) -> Iterator[Sample]:
        low, high = self.domain
        arity = len(self.parameters)

        def operand(position: int, *shape: int) -> Any:
            if position == 0 and self.promotion == "where":
                return make(*shape, dtype="bool")
            return make(*shape, low=low, high=high)

        shapes: list[list[tuple[int, ...]]] = [[(3, 5)] * arity, [()] * arity, [(0, 4)] * arity, [(3, 67)] * arity]
        if arity > 1:
            shapes.append([[(2, 3, 1), (4,), (3, 1)][position % 3] for position in range(arity)])
            shapes.append([(), *[(2, 3)] * (arity - 1)])
        for several in shapes:
            yield Sample(tuple([operand(position, *shape) for position, shape in enumerate(several)]))
        if arity > 1:
            number = low + 0.625 * (high - low)
            yield Sample((*[operand(position, 2, 7) for position in range(arity - 1)], number))

    # What the interpreters ask of it.

    def spec(self, *args: Any, **options: Any) -> Any:
        """Spec, or tuple of Specs, of the result on `args` (anything with shape and dtype, or numbers)."""
        if self.shape_rule is not None:
            return self.shape_rule(*args, **options)
        if self.elementwise:
            return Spec(broadcast_shapes(self.name, args), self.result_dtype(args))
        raise NotImplementedError(f"operation {self.name!r} has no shape rule")

    def check(self, arrays: list[Any], options: dict[str, Any]) -> None:
        """Runs the shape rule before a kernel, once for each signature.

        Arrays of integers are looked at every time, since rules read indices to see whether they are in range, unless
        kernel and meaning do that.
        """
        checked = self._checked
        if checked is None:
            self.check_values(arrays, options)
        elif not checked.holds(arrays, options):
            self.check_values(arrays, options)
            checked.add(arrays, options)

    def check_values(self, arrays: Sequence[Any], options: dict[str, Any]) -> None:
        """Runs the shape rule, which looks at the values of indices too."""
        specs = self.shape_rule(*arrays, **options)  # type: ignore[misc]
        for spec in specs if type(specs) is tuple else (specs,):
            check_memory(self.name, spec.shape, spec.dtype)

    def computation_dtype(self, args: Sequence[Any]) -> np.dtype[Any]:
        """The dtype that an elementwise operation computes in, after promotion."""
        dtype = dtypes.result_type(*args)
        if self.promotion == "float" and not dtypes.of_numpy(dtype).is_floating_point:
            dtype = dtypes.get_default_dtype().numpy
        return dtype

    def result_dtype(self, args: Sequence[Any]) -> np.dtype[Any]:
        """The dtype of an elementwise operation's result."""
        if self.promotion == "boolean":
            return dtypes.bool_.numpy
        if self.promotion == "where":
            return dtypes.result_type(*args[1:])
        return self.computation_dtype(args)

    def reference(self, arrays: Sequence[Any], options: dict[str, Any], out: Any = None) -> Any:
        """The result where the kernel has no code for these arrays: by the NumPy meaning, after promotion."""
        if self.is_view:
            return self.meaning(np, *arrays, **options)
        if not self.elementwise:
            with np.errstate(all="ignore"):
                return self.meaning(np, *arrays, **options)
        for position, array in enumerate(arrays):
            if not isinstance(array, (np.ndarray, int, float)):
                raise TypeError(
                    f"{self.name}(): argument {position + 1} must be Tensor or number, not {type(array).__name__}"
                )
        if len(arrays) != len(self.parameters):
            raise TypeError(f"{self.name}() takes {len(self.parameters)} arguments, but {len(arrays)} were given")
        broadcast_shapes(self.name, arrays)
        dtype = dtypes.result_type(*arrays[1:]) if self.promotion == "where" else self.computation_dtype(arrays)
        first = 1 if self.promotion == "where" else 0
        cast = list(arrays)
        if first:
            cast[0] = np.asarray(arrays[0]).astype(bool, copy=False)
        changed = False
        for position in range(first, len(cast)):
            array = cast[position]
            if isinstance(array, np.ndarray):
                if array.dtype != dtype:
                    cast[position] = array.astype(dtype)
                    changed = True
            elif dtype.kind in "iu" and isinstance(array, int) and not isinstance(array, bool):
                cast[position] = np.asarray(array & (2 ** (8 * dtype.itemsize) - 1), np.uint64).astype(dtype)
        if changed and self.kernel is not None:
            result = self.kernel(*cast) if out is None else self.kernel(*cast, out=out)
            if result is not NotImplemented:
                return result
        return self._meaning_of(cast, dtype, self.result_dtype(arrays))

    def _meaning_of(self, arrays: Sequence[Any], dtype: np.dtype[Any], result_dtype: np.dtype[Any]) -> Any:
        half = dtypes.of_numpy(dtype) in (dtypes.float16, dtypes.bfloat16)
        working = np.dtype(np.float32) if half else dtype
        operands = [
            a.astype(np.float32) if half and isinstance(a, np.ndarray) and a.dtype == dtype
            else a if isinstance(a, np.ndarray)
            else np.asarray(a, working)
            for a in arrays
        ]  # fmt: skip
        with np.errstate(all="ignore"):
            try:
                result = self.meaning(np, *operands)
            except TypeError as error:
                name = dtypes.of_numpy(dtype).name
                raise DtypeError(f"{self.name} isn't defined for {name} tensors") from error
        return np.asarray(result).astype(result_dtype, copy=False)

    def _first_call(self, *arrays: Any, **options: Any) -> Any:
        """Compiles the meaning of an elementwise operation into a native program, in the place of this method."""
        self.kernel = program.compile_meaning(self.meaning, len(self.parameters))
        return NotImplemented if self.kernel is None else self.kernel(*arrays, **options)

    def gradient_plan(self, needs: int, count: int) -> GradientPlan:
        """How the gradients of those of `count` arguments are computed that have their bit in `needs`."""
        plan = self.gradient_plans.get((needs, count))
        if plan is None:
            plan = self.gradient_plans[needs, count] = self._plan_gradient(needs, count)
        return plan

    def _plan_gradient(self, needs: int, count: int) -> GradientPlan:
        assert self.gradient_rule is not None
        needed = [position for position in range(count) if needs >> position & 1]
        if self.elementwise:
            with inlining():
                compiled = program.compile_gradient(self.gradient_rule, needed, count)
            if compiled is not None:
                targets = zip(needed, compiled.places, strict=True) if compiled.places else ()
                return GradientPlan(compiled.native, targets, compiled.reads_result, compiled.reads_inputs)
        # By the names of the rule's parameters: one that begins with an underscore isn't kept.
        parameters = list(inspect.signature(self.gradient_rule).parameters.values())
        read = [not p.name.startswith("_") for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
        rest = [not p.name.startswith("_") for p in parameters if p.kind == p.VAR_POSITIONAL]
        reads_inputs = (read[2:] + rest * count)[:count]
        return GradientPlan(None, (), read[1] if len(read) > 1 else False, reads_inputs)


def operation_named(name: str) -> Operation:
    """The declared operation of that name; raises KeyError."""
    return OPERATIONS[name]


class GradientPlan:
    """What a gradient rule reads, and for an elementwise operation the one native program that computes it.

    program: takes the gradient, the result and the inputs, those of them that it reads, in this order.
    targets: for each input that needs a gradient, its position and its place among the results of the program, None
        where the gradient passes through as it is. Empty: the rule is to be run on tensors.
    operands: the positions of the inputs that the rule reads.
    """

    __slots__ = ("operands", "program", "reads_inputs", "reads_result", "targets")

    def __init__(
        self,
        program: Callable[..., Any] | None,
        targets: Iterable[tuple[int, int | None]],
        reads_result: bool,
        reads_inputs: Sequence[bool],
    ) -> None:
        self.program = program
        self.targets = tuple(targets)
        self.reads_result = reads_result
        self.reads_inputs = tuple(reads_inputs)
        self.operands = tuple([position for position, read in enumerate(reads_inputs) if read])


class _Method:
    """An operation bound to a tensor."""

    __slots__ = ("instance", "operation")

    def __init__(self, operation: Operation, instance: Any) -> None:
        self.operation = operation
        self.instance = instance

    def __call__(self, *args: Any, **options: Any) -> Any:
        if options and not self.operation.option_names.issuperset(options):
            return self.operation(self.instance, *args, **options)
        return routing.interpreter(self.operation, (self.instance, *args), options)


def _inline(operation: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The inline interpreter: an operation called on expressions becomes its meaning's expressions."""
    if not operation.elementwise or options:
        raise program.NotElementwise(operation.name)
    return operation.meaning(program.recorder, *args)


def inlining() -> AbstractContextManager[None]:
    """Within it operations called on expressions become instructions of a program."""
    return interpreted_by(_inline)


def broadcast_shapes(name: str, args: Sequence[Any]) -> tuple[int, ...]:
    """The common shape of the arguments; raises ShapeError that shows where they differ."""
    shapes = [tuple(a.shape) for a in args if hasattr(a, "shape")]
    result: tuple[int, ...] = ()
    for shape in shapes:
        length = max(len(result), len(shape))
        left = (1,) * (length - len(result)) + result
        right = (1,) * (length - len(shape)) + shape
        merged = []
        for dim, (a, b) in enumerate(zip(left, right, strict=True)):
            if a != b and a != 1 and b != 1:
                listing = " and ".join(str(s) for s in shapes)
                raise ShapeError(
                    f"{name}: shapes {listing} don't broadcast: the size of tensor a ({a}) must match the size of "
                    f"tensor b ({b}) at non-singleton dimension {dim}; sizes must be equal, or one of them 1"
                )
            merged.append(b if a == 1 else a)
        result = tuple(merged)
    return result


def elementwise(
    *,
    promotion: str = "arithmetic",
    domain: tuple[float, float] = (-3.0, 3.0),
    differentiable: bool = True,
    piecewise_linear: bool = False,
) -> Callable[[Callable[..., Any]], Operation]:
    """Declares an elementwise operation by its meaning, which is compiled to a native program as it stands.

    The parameters of the meaning are operands, tensors or numbers, and have no defaults: TypeError.

    promotion: "arithmetic" (PyTorch's promotion), "float" (integers become the default floating dtype), "boolean"
    (arithmetic promotion of the inputs, a bool result), "where" (the first input is a condition).
    domain: the interval that the samples of floating inputs are drawn from.
    differentiable: False for operations without a useful gradient (comparisons, integers).
    piecewise_linear: whether the slope is constant between corners. As in PyTorch, the gradient then has a gradient of
    zeros, and not none, with respect to what the operation was applied to.
    """
    return lambda meaning: Operation(
        meaning,
        kind="elementwise",
        promotion=promotion,
        domain=domain,
        differentiable=differentiable,
        piecewise_linear=piecewise_linear,
    )


def view(*, of_memory: bool = False) -> Callable[[Callable[..., Any]], Operation]:
    """Declares an operation whose meaning returns a view of its first input's memory.

    of_memory: whether the result depends on how the input lies in memory, and not on its elements alone.
    """
    return lambda meaning: Operation(meaning, kind="view", of_memory=of_memory)


def operation(
    *,
    kernel: str | None = None,
    differentiable: bool = True,
    checks_indices: bool = False,
    traceable: bool = True,
) -> Callable[[Callable[..., Any]], Operation]:
    """Declares a structured operation, run by the core's function `kernel` where it has code for the dtypes.

    checks_indices: whether kernel and meaning refuse indices out of range before they do anything, so that the shape
    rule, which reads them too, need not run in every call.
    traceable: False where the shape of the result depends on values, so that it can't be compiled.
    """
    return lambda meaning: Operation(
        meaning,
        kind="structured",
        kernel=kernel,
        differentiable=differentiable,
        checks_indices=checks_indices,
        traceable=traceable,
    )


def differentiated(composite: Callable[..., Any]) -> Callable[..., Any]:
    """A gradient rule made by differentiating `composite`, the same operation composed of other ones.

    For operations that are themselves gradients: `op.gradient(differentiated(composite))`. `composite` takes the
    operation's inputs and options and returns its result (or results) in operations on Tensors.
    """

    def rule(g: Any, _y: Any, *inputs: Any, **options: Any) -> Any:
        from rushlight.autograd import walk

        return walk.differentiate_composite(composite, g, inputs, options)

    return rule


def same(tensor: Tensor) -> Spec:
    """The shape rule of operations whose result is like their first input."""
    return Spec(tuple(tensor.shape), tensor.dtype)  # type: ignore[arg-type]

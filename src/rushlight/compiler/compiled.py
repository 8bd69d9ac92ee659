"""`compile`: functions and modules that are traced once for each signature, and run as programs from then on."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rushlight.autograd.modes import mode
from rushlight.compiler.graph import Input
from rushlight.compiler.guards import Guards
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.compiler.trace import Trace, tracing
from rushlight.compiler.updates import UpdateCalls
from rushlight.errors import TraceError
from rushlight.ops.declare import routing
from rushlight.tensor.random import default_generator
from rushlight.tensor.tensor import Tensor, bump_version, wrap

Array = np.ndarray[Any, Any]


class CacheInfo(NamedTuple):
    """How calls of a compiled function went. `seconds`: spent on tracing and compiling, in all."""

    hits: int
    misses: int
    size: int
    max_size: int
    seconds: float


class Compiled:
    """A function whose calls are traced once for each signature, then run as one native program.

    cache_size: how many programs are kept; the least recently used one goes first.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int = 16) -> None:
        self._function = function
        self._entries: OrderedDict[Any, list[_Entry]] = OrderedDict()
        self._cache_size = cache_size
        self._hits = self._misses = 0
        self._seconds = 0.0
        self._last: _Entry | None = None
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.__wrapped__ = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound = Compiled(self._function.__get__(instance, owner), self._cache_size)
        instance.__dict__[self.__name__] = bound  # found before this descriptor from now on
        return bound

    def __call__(self, *args: Any, **options: Any) -> Any:
        if routing.tracing is not None:  # inlined in the function that is being compiled
            return self._function(*args, **options)
        tensors: list[Tensor] = []
        structure = _flatten((args, options), tensors)
        key = (
            structure,
            mode.grad_enabled,
            _sharing(tensors),
            *[(t.array.shape, t.array.dtype, t._requires_grad) for t in tensors],
        )
        candidates = self._entries.get(key)
        if candidates is not None:
            for entry in candidates:
                if entry.guards.hold():
                    found = entry.start()
                    if found is not None:
                        self._hits += 1
                        self._last = entry
                        if len(self._entries) > 1:
                            self._entries.move_to_end(key)
                        return entry.run(self._function, args, options, tensors, found)
        self._misses += 1
        entry, result = self._trace(args, options, tensors)
        known = self._entries.setdefault(key, [])
        known.insert(0, entry)
        del known[self._cache_size :]
        self._entries.move_to_end(key)
        while len(self._entries) > self._cache_size:
            self._entries.popitem(last=False)
        self._last = entry
        return result

    def _trace(self, args: Any, options: Any, tensors: list[Tensor]) -> tuple[_Entry, Any]:
        start = time.perf_counter()
        random_state = default_generator.state_bytes()
        trace = Trace([t.array for t in tensors])
        try:
            with tracing(trace):
                result = self._function(*args, **options)
            entry = _Entry(self._function, trace, tensors, result)
            del result
            escaped = trace.escaped()
            if escaped:
                raise TraceError(
                    f"{self.__name__}: a tensor made at {escaped[0]} while the function was being compiled is still "
                    "held by something outside it (a list, an attribute). Return it from the function instead, or "
                    "write into a tensor that exists before (buffer.copy_(value))"
                )
        except BaseException:
            trace.undo()
            raise
        self._seconds += time.perf_counter() - start
        if entry.program is None:
            trace.undo()
            default_generator.restore_bytes(random_state)
            return entry, self._function(*args, **options)
        return entry, entry.run(self._function, args, options, tensors, entry.first_numbers())

    # What can be seen

    def cache_info(self) -> CacheInfo:
        """Hits, misses, programs kept, their largest number, and the seconds spent on compiling."""
        size = sum(len(entries) for entries in self._entries.values())
        return CacheInfo(self._hits, self._misses, size, self._cache_size, self._seconds)

    def cache_clear(self) -> None:
        """Forgets all programs."""
        self._entries.clear()
        self._last = None

    def graph(self) -> str:
        """The graph of the last call's program, as text, with shapes; see `compiler/text.py`."""
        return str(self._program().graph)

    def profile(self, runs: int = 3) -> Any:
        """What the kernels of the last call's program cost: a table that prints; `.save(path)` draws it.

        The program is run `runs` times on its last inputs, with parameters and states put back afterwards.
        """
        from rushlight.compiler.profile import Profile

        return Profile(self._program(), runs)

    def _program(self) -> Program:
        if self._last is None or self._last.program is None:
            raise RuntimeError(f"{self.__name__} has not been compiled yet: call it first")
        return self._last.program


class _Entry:
    """A program with its guards, and what happens around its runs."""

    def __init__(self, function: Any, trace: Trace, tensors: list[Tensor], result: Any) -> None:
        outputs: list[Tensor] = []
        self._structure = _flatten(result, outputs, keep=True)
        self.program: Program | None = None
        self._events = trace.events
        needs_graph = any(t._requires_grad for t in outputs) and not trace.walked
        self.guards = Guards(function, trace)
        if needs_graph:
            return  # the caller is going to differentiate the result: such calls run eagerly
        self._keep_gradients(trace, tensors)
        trace.finish([t.array for t in outputs])
        graph = simplify(trace.graph)
        self._written = trace.written_tensors()
        self.program = Program(graph)
        self._numbers = self.program.numbers

    def _keep_gradients(self, trace: Trace, tensors: list[Tensor]) -> None:
        """Gives the gradients that the trace leaves at leaves memory that stays."""
        positions = {id(t): position for position, t in enumerate(tensors)}
        self._gradients: list[tuple[Tensor, Tensor | None]] = []
        self._argument_gradients: list[tuple[int, Tensor | None]] = []
        for leaf, before in trace.leaves():
            now = leaf._grad
            kept = now
            if now is not None and now.array is not None and trace.is_unread(now.array):
                memory = np.empty(now.array.shape, now.array.dtype)
                trace.keep(now.array, memory)
                kept = wrap(memory)
            leaf._grad = before
            if id(leaf) in positions:
                self._argument_gradients.append((positions[id(leaf)], kept))
            else:
                self._gradients.append((leaf, kept))

    def first_numbers(self) -> dict[Input, float]:
        """The numbers of the step that was traced."""
        found: dict[Input, float] = {}
        for event in self._events:
            if isinstance(event, UpdateCalls):
                found.update(event.first_numbers())
        return found

    def start(self) -> dict[Input, float] | None:
        """Does what happens in Python before a run; None where an optimizer does something else than before."""
        if self.program is None:
            return {}
        found: dict[Input, float] = {}
        for position, event in enumerate(self._events):
            if isinstance(event, UpdateCalls):
                numbers = event.numbers()
                if numbers is None:
                    self._step_back(position + 1)
                    return None
                found.update(numbers)
            else:
                array, fill = event
                fill(array)
        return found

    def _step_back(self, count: int) -> None:
        for event in self._events[:count]:
            if isinstance(event, UpdateCalls):
                event.step_back()

    def run(self, function: Any, args: Any, options: Any, tensors: list[Tensor], numbers: dict[Input, float]) -> Any:
        """One run of the program."""
        if self.program is None:
            return function(*args, **options)
        try:
            results = self.program.run([t.array for t in tensors], [numbers[n] for n in self._numbers])
        except BaseException:
            self._step_back(len(self._events))
            raise
        for leaf, gradient in self._gradients:
            leaf._grad = gradient
        for position, gradient in self._argument_gradients:
            tensors[position]._grad = None if gradient is None else wrap(gradient.array.copy())
        for reference in self._written:
            written = reference()
            if written is not None:
                bump_version(written)
        return _rebuild(self._structure, iter(results))


def _sharing(tensors: list[Tensor]) -> tuple[int, ...]:
    """Which of the tensors are the same memory."""
    places = {id(t.array): position for position, t in reversed(list(enumerate(tensors)))}
    return () if len(places) == len(tensors) else tuple([places[id(t.array)] for t in tensors])


# Nested structures: tensors are taken out and put back; what else there is belongs to the signature.


class _Leaf(NamedTuple):
    """The place of a tensor."""

    cls: type


class _Same:
    """An object that is told from others by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


_TENSOR = _Leaf(Tensor)


def _flatten(item: Any, tensors: list[Tensor], keep: bool = False) -> Any:
    """The structure of nested containers, hashable; the tensors in it are appended to `tensors`."""
    if isinstance(item, Tensor):
        tensors.append(item)
        return _TENSOR
    kind = type(item)
    if kind is tuple or kind is list:
        return (kind, *[_flatten(entry, tensors, keep) for entry in item])
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return (kind, *[_flatten(entry, tensors, keep) for entry in item])
    if isinstance(item, dict):
        return (kind, tuple([(key, _flatten(entry, tensors, keep)) for key, entry in item.items()]))
    if isinstance(item, (bool, int, float, str, bytes, type(None))):
        return (kind, item) if not keep else _Same(item)
    return _Same(item)


def _rebuild(structure: Any, results: Any) -> Any:
    if structure is _TENSOR:
        return wrap(next(results))
    if isinstance(structure, _Same):
        return structure.value
    kind, *rest = structure
    if kind is tuple or kind is list:
        return kind([_rebuild(entry, results) for entry in rest])
    if isinstance(kind, type) and issubclass(kind, dict):
        made = [(key, _rebuild(entry, results)) for key, entry in rest[0]]
        return dict(made) if kind is dict else kind(made)
    return kind(*[_rebuild(entry, results) for entry in rest])

"""`compile`: functions and modules that are traced once for each signature, and run as programs from then on."""

from __future__ import annotations

import copy
import gc
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from rushlight import settings
from rushlight.autograd.eager import refresh
from rushlight.autograd.modes import mode
from rushlight.compiler.attributes import Attribute, NotYet, results_among
from rushlight.compiler.differentiable import Differentiable, NotNative, WayBack, detached
from rushlight.compiler.gradients import Gradients
from rushlight.compiler.graph import Graph, Input
from rushlight.compiler.guards import Guards, Surroundings
from rushlight.compiler.names import state_names
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.compiler.text import show
from rushlight.compiler.trace import Trace, tracing
from rushlight.dtypes import get_default_dtype
from rushlight.errors import TraceError
from rushlight.ops.declare import OPERATIONS, routing
from rushlight.ops.optimizer import UPDATES
from rushlight.tensor.tensor import Tensor, bump_version, wrap

Array = np.ndarray[Any, Any]
_array_of = attrgetter("array")
_MOST_VALUES = 8  # programs of one signature for different values that were read


_all: weakref.WeakSet[Compiled] = weakref.WeakSet()


def reset() -> None:
    """Forgets the programs of all compiled functions."""
    for compiled in list(_all):
        compiled.cache_clear()


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
    fullgraph: what can't be traced is an error; if not, it runs eagerly, and a warning says why. None: as the settings
        have it.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int = 16, fullgraph: bool | None = None) -> None:
        self._function = function
        self.fullgraph = not settings.refusals_run_eagerly if fullgraph is None else fullgraph
        self._entries: OrderedDict[Any, list[_Entry | _Refusal]] = OrderedDict()
        self._cache_size = cache_size
        self._hits = self._misses = 0
        self._seconds = 0.0
        self._last: _Entry | _Refusal | None = None
        self._waited: set[Any] = set()  # signatures of which a call ran eagerly, so that attributes are tensors
        self._lock = threading.RLock()  # a program has one memory
        _all.add(self)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.__wrapped__ = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound = Compiled(self._function.__get__(instance, owner), self._cache_size, self.fullgraph)
        instance.__dict__[self.__name__] = bound  # found before this descriptor from now on
        return bound

    def __call__(self, *args: Any, **options: Any) -> Any:
        if routing.tracing is not None:  # inlined in the function that is being compiled
            return self._function(*args, **options)
        tensors: list[Tensor] = []
        structure = _flatten(args, tensors) if args else None
        named = _flatten(options, tensors) if options else None
        kinds = _signature(tensors) if tensors else None
        key = (structure, named, kinds, mode.grad_enabled, mode.inference, get_default_dtype())
        with self._lock:
            for entry in self._entries.get(key, ()):
                if entry.holds(tensors):
                    self._hits += 1
                    self._last = entry
                    if len(self._entries) > 1:
                        self._entries.move_to_end(key)
                    if routing.timing is not None:
                        name = f"compiled {self.__name__}"
                        return routing.timing(name, tensors, entry.run, self._function, args, options, tensors)
                    return entry.run(self._function, args, options, tensors)
            known = self._entries.get(key, [])
            try:
                entry, result = self._trace(args, options, tensors, known, key not in self._waited)
            except NotYet:
                self._waited.add(key)
                self._misses += 1
                return self._function(*args, **options)
            except TraceError as error:
                if self.fullgraph:
                    raise
                self._last = _Refusal(str(error))
                self._keep(key, [*known, self._last])
                warnings.warn(
                    f"{self.__name__} runs eagerly, not as a program: {error}. With fullgraph=True this is an error",
                    stacklevel=2,
                )
                return self._function(*args, **options)
            self._misses += 1
            self._last = entry
            self._keep(key, [entry, *known])
            return result

    def _keep(self, key: Any, entries: list[_Entry | _Refusal]) -> None:
        """Keeps the programs of a signature, and forgets the least recently used ones."""
        self._entries[key] = entries[: self._cache_size]
        self._entries.move_to_end(key)
        while sum(map(len, self._entries.values())) > self._cache_size:
            oldest = next(iter(self._entries))
            self._entries[oldest] = self._entries[oldest][:-1]
            if not self._entries[oldest]:
                del self._entries[oldest]

    def _trace(
        self, args: Any, options: Any, tensors: list[Tensor], known: Sequence[_Entry | _Refusal], waits: bool
    ) -> tuple[_Entry, Any]:
        start = time.perf_counter()
        with _without_collection():
            trace, entry = self._compile(args, options, tensors, known, waits)
        self._seconds += time.perf_counter() - start
        if entry.program is None:
            trace.undo()
            return entry, self._function(*args, **options)
        return entry, entry.run(self._function, args, options, tensors)

    def _compile(
        self, args: Any, options: Any, tensors: list[Tensor], known: Sequence[_Entry | _Refusal], waits: bool
    ) -> tuple[Trace, _Entry]:
        objects = [*_objects_in(_flatten((args, options), []))]
        surroundings = before = Surroundings(self._function, objects)
        for attempt in range(2):
            trace = Trace([t.array for t in tensors])
            try:
                entry = self._record(trace, args, options, tensors, surroundings, waits)
                changes = surroundings.changes()
                settled = not changes and not trace.left_behind
                if attempt and not settled:
                    raise TraceError(
                        f"{self.__name__} changes {changes[0] if changes else 'tensors that it makes and keeps'} in "
                        "each call: a program does only what is done to the values of tensors. Do it outside the "
                        "compiled function"
                    )
            except BaseException:
                trace.undo()
                before.put_back()
                raise
            if settled:
                break
            # It has made something that it keeps (a mask, a mode): the next call will find that there.
            trace.undo()
            surroundings = Surroundings(self._function, objects)
        if entry.depend_on_values(trace, known):
            warnings.warn(
                f"{self.__name__} runs eagerly from now on: it reads the values of integers (lengths, masks), and "
                "these differ from call to call",
                stacklevel=4,
            )
        entry.compile(trace, surroundings)
        return trace, entry

    def _record(
        self, trace: Trace, args: Any, options: Any, tensors: list[Tensor], surroundings: Surroundings, waits: bool
    ) -> _Entry:
        """Calls the function and takes down what it does."""
        given = detached(tensors) if mode.grad_enabled else tensors
        outputs: list[Tensor] = []
        back: WayBack | str | None = None
        with tracing(trace):
            called: Any = _rebuild(_flatten((args, options), [], keep=True), iter(given))
            result = self._function(*called[0], **called[1])
            structure = _flatten(result, outputs, keep=True)
            read = [given.array for given in trace.graph.inputs if given.kind == "state" and given.array is not None]
            set_here = results_among(surroundings.set_attributes(trace), read, waits)
            outputs.extend([tensor.detach() for tensor in set_here.values()])
            _refresh_all(outputs)
            cut = [tensor for tensor, leaf in zip(tensors, given, strict=True) if tensor is not leaf]
            if any(id(tensor) in surroundings.tensors for tensor in cut):
                back = "one of its arguments, the result of differentiable operations, is also seen from inside"
            elif trace.walked and cut:
                back = "a backward pass in it would go on to where its arguments come from"
            elif mode.grad_enabled and not trace.walked and any(tensor._requires_grad for tensor in outputs):
                try:
                    back = WayBack(trace, outputs, given)
                except NotNative as reason:
                    back = str(reason)
        if isinstance(back, str):
            trace.undo_histories()
        entry = _Entry(trace, tensors, structure, outputs, back)
        entry.attributes = [*set_here]
        for attribute in entry.attributes:
            attribute.set(attribute.before)
        entry.shared = [(place, t) for place, t in enumerate(tensors) if id(t) in surroundings.tensors]
        del result, outputs, called, given, cut, set_here, read
        escaped = trace.forget()
        if escaped:
            raise TraceError(
                f"{self.__name__}: a tensor made at {escaped[0]} while the function was being compiled is still "
                "held by something outside it (a list, an attribute). Return it from the function instead, or "
                "write into a tensor that exists before (buffer.copy_(value))"
            )
        return entry

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return Compiled(copy.deepcopy(self._function, memo), self._cache_size, self.fullgraph)

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (self._function, self._cache_size, self.fullgraph)

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
        """The graph of the last call's program, as text, with shapes; see `compiler/text.py`.

        Where the results can be differentiated, that of the way back follows.
        """
        names = state_names(self._function)
        return "\n\nway back:\n".join([show(program.graph, names) for program in self._programs()])

    def profile(self, runs: int = 3) -> Any:
        """What the kernels of the last call's program cost: a table that prints; `.save(path)` draws it.

        The program is run `runs` times on its last inputs, with parameters and states put back afterwards; so is that
        of the way back, if it has run.
        """
        from rushlight.compiler.profile import Profile

        with self._lock:
            return Profile([program for program in self._programs() if program.has_run], runs)

    def _programs(self) -> list[Program]:
        """That of the last call, and that of its way back, if it has one."""
        if self._last is not None and self._last.eager:
            raise RuntimeError(f"{self.__name__} runs eagerly: {self._last.eager}")
        if self._last is None or self._last.program is None:
            raise RuntimeError(f"{self.__name__} has not been compiled yet: call it first")
        back = self._last.differentiable
        return [self._last.program, *([] if back is None else [back.program])]


class _Refusal:
    """Stands where a program would, for calls that can't be traced: they run eagerly. `eager` says why."""

    program = differentiable = None
    reads_values = False

    def __init__(self, why: str) -> None:
        self.eager = why

    def holds(self, tensors: list[Tensor]) -> bool:
        return True

    def run(self, function: Any, args: Any, options: Any, tensors: list[Tensor]) -> Any:
        return function(*args, **options)


class _Entry:
    """A program with its guards, and what happens around its runs."""

    def __init__(
        self,
        trace: Trace,
        tensors: list[Tensor],
        structure: Any,
        outputs: list[Tensor],
        back: WayBack | str | None,
    ) -> None:
        self._structure = structure
        self._back = back if isinstance(back, WayBack) else None
        self.eager = back if isinstance(back, str) else ""  # why calls run eagerly, where they do
        self.program: Program | None = None
        self.differentiable: Differentiable | None = None
        self.shared: list[tuple[int, Tensor]] = []  # arguments that the function also sees otherwise, with their places
        self.attributes: list[Attribute] = []  # that each run sets, to the last of the results
        self._holds_always = False
        self._prepares = self._changes = False  # whether there is anything to do before a run; or around it
        self._values_of: list[tuple[int, Array]] = []  # arguments whose values it has read, by their places: the values
        self._values_in: list[tuple[Array, Array]] = []  # the same of memory that it closes over
        self._updates = trace.updates
        self._draws = trace.draws
        self._keep_gradients(trace, tensors)
        trace.finish([t.array for t in outputs])

    @property
    def reads_values(self) -> bool:
        """Whether it is right for some values of integers only."""
        return bool(self._values_of or self._values_in)

    def depend_on_values(self, trace: Trace, known: Sequence[_Entry | _Refusal]) -> bool:
        """The program is right for the values that were read; True where they differ so often that it isn't used."""
        if not trace.known.read:
            return False
        if sum(other.reads_values for other in known) >= _MOST_VALUES:
            self.eager = "it reads the values of integers, and these differ from call to call"
            self._holds_always = True
            return True
        for given, values in trace.known.read.items():
            if given.kind == "argument":
                self._values_of.append((int(given.name), values))
            else:
                self._values_in.append((given.array, values))
        return False

    def compile(self, trace: Trace, surroundings: Surroundings) -> None:
        """Makes the program of what was recorded."""
        self._guards = Guards(surroundings, trace)
        if self._back is not None and not self.eager:
            try:
                self.differentiable = Differentiable(trace.graph, self._back, trace)
            except NotNative as reason:
                self.eager = str(reason)
            self._back = None
        if self.eager:
            return
        self._written = trace.written_tensors()
        self._requiring = [(tensor, tensor._requires_grad) for tensor, _ in trace.requiring]
        self._make(simplify(trace.graph))
        assert self.program is not None
        found: dict[Input, float] = {}
        for update in self._updates:
            found.update(update.first_numbers())
        self._values = [*map(found.__getitem__, self.program.numbers)]

    def _make(self, graph: Graph) -> None:
        self.program = Program(graph)
        self._at_risk = _at_risk(self.program)
        self._gradients.lie(self.program.gradients)
        self._prepares = bool(self._updates or self._draws)
        changed = (self._updates, self._at_risk, self._argument_gradients, self._requiring, self._written)
        self._changes = self._gradients.any or any(changed)

    def _keep_gradients(self, trace: Trace, tensors: list[Tensor]) -> None:
        """Finds out what gradients the trace leaves at leaves."""
        positions = {id(t): position for position, t in enumerate(tensors)}
        left: list[tuple[Tensor, Input | Tensor | None]] = []
        self._argument_gradients: list[tuple[int, Input | Tensor | None]] = []
        for leaf, before in trace.leaves():
            now = leaf._grad
            kept: Input | Tensor | None = now
            if now is not None and trace.is_made_here(now.array):
                kept = trace.keep(now.array)
            leaf._grad = before
            if id(leaf) not in positions:
                left.append((leaf, kept))
                continue
            del trace.gradients[id(leaf)]  # guarded by the signature
            if kept is not before:
                self._argument_gradients.append((positions[id(leaf)], kept))
        self._gradients = Gradients(left)

    def holds(self, tensors: list[Tensor]) -> bool:
        """Whether the program is right for this call; if so, all that happens in Python before its run is done."""
        if not self.attributes:
            return self._hold(tensors) and (not self._prepares or self._start())
        values = [attribute.put_back() for attribute in self.attributes]
        right = self._hold(tensors) and self._start()
        if not right:
            for attribute, value in zip(self.attributes, values, strict=True):
                if attribute.attributes.get(attribute.name) is not value:
                    attribute.set(value)
        return right

    def _hold(self, tensors: list[Tensor]) -> bool:
        if self._holds_always:
            return True
        for place, tensor in self.shared:
            if tensors[place] is not tensor:
                return False
        for place, values in self._values_of:
            if not np.array_equal(tensors[place].array, values):
                return False
        for array, values in self._values_in:
            if not np.array_equal(array, values):
                return False
        return self._guards.hold()

    def _start(self) -> bool:
        """Does what happens in Python before a run; False where an optimizer does something else than before."""
        if self.program is None:
            return True
        if self._updates:
            found: dict[Input, float] = {}
            for position, update in enumerate(self._updates):
                numbers = update.numbers()
                if numbers is None:
                    self._step_back(position + 1)
                    return False
                found.update(numbers)
            self._values = [*map(found.__getitem__, self.program.numbers)]
        for array, fill in self._draws:
            fill(array)
        return True

    def _step_back(self, count: int) -> None:
        for update in reversed(self._updates[:count]):
            update.step_back()

    def run(self, function: Any, args: Any, options: Any, tensors: list[Tensor]) -> Any:
        """One run of the program."""
        if self.program is None:
            return function(*args, **options)
        results = self._run_and_change(tensors) if self._changes else self._run(tensors)
        outputs = [*map(wrap, results)]
        if self.differentiable is not None:
            outputs = outputs[: self.differentiable.results]
            self.differentiable.record(outputs, results[self.differentiable.results :], tensors)
        if self.attributes:
            for attribute, tensor in zip(self.attributes, outputs[-len(self.attributes) :], strict=True):
                attribute.set(tensor)
        return outputs[0] if self._structure is _TENSOR else _rebuild(self._structure, iter(outputs))

    def _run(self, tensors: list[Tensor]) -> list[Array]:
        return self.program.run([*map(_array_of, tensors)], self._values)  # type: ignore[union-attr]

    def _run_and_change(self, tensors: list[Tensor]) -> list[Array]:
        """A run that leaves more behind than its results."""
        assert self.program is not None
        if not self._gradients.leave_to_others():
            self._make(self.program.graph)
        copies = [*map(np.copy, self._at_risk)]
        try:
            results = self._run(tensors)
        except BaseException:
            for array, copy in zip(self._at_risk, copies, strict=True):
                np.copyto(array, copy)
            self._gradients.lose()
            self._step_back(len(self._updates))
            raise
        self._gradients.put()
        for position, found in self._argument_gradients:
            # In memory of its own: the next call may come with another tensor.
            tensors[position]._grad = None if found is None else wrap(found.array.copy())
        for tensor, requires_grad in self._requiring:
            tensor._requires_grad = requires_grad
        for reference in self._written:
            written = reference()
            if written is not None:
                bump_version(written)
        return results


@contextmanager
def _without_collection() -> Iterator[None]:
    """Puts off Python's search for cycles, which would go over all the nodes of a large graph again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _at_risk(program: Program) -> list[Array]:
    """The memory of state that a run has written to before a kernel that may refuse its operands: an index, say."""
    refusing = 0
    for position, node in enumerate(program.graph.nodes):
        declared = OPERATIONS.get(node.operation)
        if declared is not None and declared.kind == "structured" and not declared.name.endswith("_gradient"):
            if any(value.dtype.kind in "iu" for value in node.values()):
                refusing = position
    early = set(program.graph.nodes[:refusing])
    writes = list(program.direct.items())
    writes += [(v, target) for target, v in program.graph.writes if v.node and v.node.operation in UPDATES]
    changed = {target for value, target in writes if value.node in early and not target.is_gradient}
    return [target.array for target in changed]


def _refresh_all(tensors: list[Tensor]) -> None:
    """Gives views their places in the graph, where what they are views of was changed in place."""
    for tensor in tensors:
        refresh(tensor)


def _signature(tensors: list[Tensor]) -> Any:
    """What of the tensors a program depends on.

    The gradients that leaves bring along are put behind them: a backward pass adds to them.
    """
    places: dict[int, int] = {}
    for position, tensor in enumerate(tensors):
        if tensor._requires_grad:
            if tensor._grad is not None and tensor._node is None:
                tensors.append(tensor._grad)  # which the loop comes to
        places.setdefault(id(tensor.array), position)
    sharing = tuple([places[id(t.array)] for t in tensors]) if len(places) < len(tensors) else None
    kinds = [(t.array.shape, t.array.dtype, t._requires_grad, t._grad is None, t._node is None) for t in tensors]
    return (sharing, *kinds)


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
    if kind is tuple or kind is list or (isinstance(item, tuple) and hasattr(item, "_fields")):
        return (kind, *[_flatten(entry, tensors, keep) for entry in item])
    if isinstance(item, dict):
        return (kind, tuple([(key, _flatten(entry, tensors, keep)) for key, entry in item.items()]))
    if isinstance(item, (bool, int, float, str, bytes, type(None))):
        return (kind, item) if not keep else _Same(item)
    return _Same(item)


def _objects_in(structure: Any) -> Iterator[Any]:
    """The objects that a structure knows by identity."""
    if isinstance(structure, _Same):
        yield structure.value
    elif type(structure) is tuple:
        for entry in structure:
            yield from _objects_in(entry)


def _rebuild(structure: Any, results: Any) -> Any:
    """The containers of a structure, with the next tensors in their places."""
    if structure is _TENSOR:
        return next(results)
    if isinstance(structure, _Same):
        return structure.value
    kind, *rest = structure
    if kind is tuple or kind is list:
        return kind([_rebuild(entry, results) for entry in rest])
    if isinstance(kind, type) and issubclass(kind, dict):
        made = [(key, _rebuild(entry, results)) for key, entry in rest[0]]
        return dict(made) if kind is dict else kind(made)
    return kind(*[_rebuild(entry, results) for entry in rest])

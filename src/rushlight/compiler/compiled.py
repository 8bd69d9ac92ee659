"""`compile`: functions and modules that are traced once for each signature, and run as programs from then on."""

from __future__ import annotations

import copy
import gc
import itertools
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from rushlight import settings
from rushlight.autograd.modes import mode
from rushlight.compiler.attributes import Attribute, Carried, Carrying, NotYet, results_among
from rushlight.compiler.differentiable import Differentiable, WayBack, detached
from rushlight.compiler.gradients import Gradients
from rushlight.compiler.graph import Graph, Input
from rushlight.compiler.guards import Guards, Surroundings
from rushlight.compiler.names import argument_names, labels_of, state_names
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.compiler.results import Arguments, Results
from rushlight.compiler.streams import refusing_clocks
from rushlight.compiler.structure import flatten, objects_in
from rushlight.compiler.text import show
from rushlight.compiler.trace import NotNative, Trace, tracing
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
        self._bound: dict[Any, Compiled] = {}  # for objects without a dictionary of attributes
        self._lock = threading.RLock()  # a program has one memory
        _all.add(self)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.__wrapped__ = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        # One for each object, under a name that no attribute has: super().forward isn't self.forward.
        known = getattr(instance, "__dict__", self._bound)
        name = (self.__name__, id(instance)) if known is self._bound else f"compiled {self.__qualname__}"
        bound = known.get(name)
        if bound is None:
            bound = Compiled(self._function.__get__(instance, owner), self._cache_size, self.fullgraph)
            known[name] = bound
        return bound

    def __call__(self, *args: Any, **options: Any) -> Any:
        if routing.tracing is not None:  # inlined in the function that is being compiled
            return self._function(*args, **options)
        tensors: list[Tensor] = []
        structure = flatten(args, tensors) if args else None
        named = flatten(options, tensors) if options else None
        kinds, roots = _signature(tensors) if tensors else (None, _NO_ROOTS)
        key = (structure, named, kinds, mode.grad_enabled, mode.inference, get_default_dtype())
        with self._lock:
            for entry in self._entries.get(key, ()):
                if entry.holds(tensors, roots):
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
            except NotYet as reason:
                if not reason.settled:
                    self._waited.add(key)
                self._misses += 1
                return self._function(*args, **options)
            except NotNative as reason:
                self._last = _Refusal(str(reason))
                self._keep(key, [*known, self._last])
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
            try:
                trace, entry = self._compile(args, options, tensors, known, waits, Carrying(()))
            except Carried as found:
                trace, entry = self._compile_carrying(args, options, tensors, known, Carrying(found.attributes))
        self._seconds += time.perf_counter() - start
        if entry.program is None:
            trace.undo()
            return entry, self._function(*args, **options)
        return entry, entry.run(self._function, args, options, tensors)

    def _compile_carrying(
        self, args: Any, options: Any, tensors: list[Tensor], known: Sequence[_Entry | _Refusal], carrying: Carrying
    ) -> tuple[Trace, _Entry]:
        """The same with attributes that are read and set as arguments."""
        carrying.stand_in()
        try:
            compiled = self._compile(args, options, tensors, known, False, carrying)
        except Carried as found:
            raise TraceError(f"{self.__name__} sets {found.attributes[0].name!r} from call to call") from None
        finally:
            carrying.put_back()
        tensors.extend(carrying.tensors)
        return compiled

    def _compile(
        self,
        args: Any,
        options: Any,
        tensors: list[Tensor],
        known: Sequence[_Entry | _Refusal],
        waits: bool,
        carrying: Carrying,
    ) -> tuple[Trace, _Entry]:
        others, tensors = tensors, [*tensors, *carrying.tensors]
        objects = [*objects_in(flatten((args, options), []))]
        surroundings = before = Surroundings(self._function, objects)
        for attempt in range(2):
            trace = Trace([t.array for t in tensors])
            try:
                entry = self._record(trace, args, options, tensors, surroundings, waits)
                refusal = carrying.refusal(entry.attributes, others, surroundings.occurrences, trace.walked)
                if refusal:
                    where = surroundings.where(refusal)
                    raise TraceError(
                        f"{self.__name__} reads {refusal!r} and sets it to a tensor that it makes{where}. Return that "
                        "from the function, or write into the tensor that is there (state.copy_(value))"
                    )
                entry.carrying = carrying
                entry.shared = [(place, array) for place, array in entry.shared if place < len(others)]
                changes = surroundings.changes()
                settled = not changes and not trace.left_behind
                if attempt and not settled:
                    raise TraceError(
                        f"{self.__name__} changes {changes[0] if changes else 'tensors that it makes and keeps'} in "
                        "each call: a program does only what is done to the values of tensors. Do it outside the "
                        "compiled function"
                    )
                if attempt:
                    raise NotYet(settled=True)
            except BaseException:
                trace.undo()
                before.put_back()
                raise
            if settled:
                break
            # It has made something that it keeps (a mask, a mode). Does the next call find all there? If so, this one
            # runs eagerly.
            trace.undo()
            surroundings = Surroundings(self._function, objects)
        if entry.depend_on_values(trace, known):
            warnings.warn(
                f"{self.__name__} runs eagerly from now on: it reads the values of integers (lengths, masks), and "
                "these differ from call to call",
                stacklevel=4,
            )
        entry.compile(trace, surroundings, tensors)
        entry.argument_names = [*argument_names(self._function, args, options, others), *carrying.names]
        return trace, entry

    def _record(
        self, trace: Trace, args: Any, options: Any, tensors: list[Tensor], surroundings: Surroundings, waits: bool
    ) -> _Entry:
        """Calls the function and takes down what it does."""
        given = detached(tensors) if mode.grad_enabled else tensors
        trace.stand_ins = {id(leaf) for tensor, leaf in zip(tensors, given, strict=True) if tensor is not leaf}
        back: WayBack | str | None = None
        with tracing(trace):
            called = Arguments(args, options, given)
            with refusing_clocks() if surroundings.may_read_clocks else nullcontext():
                result = self._function(*called.args, **called.options)
            read = [given.array for given in trace.graph.inputs if given.kind == "state" and given.array is not None]
            set_here = results_among(surroundings.set_attributes(trace), read, waits)
            attributes = [tensor.detach() for tensor in set_here.values()]
            results = Results(result, attributes, called, given, surroundings.seen)
            results.find_ways(trace, surroundings.tensors)
            outputs = results.computed
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
        entry = _Entry(trace, tensors, results, back)
        entry.attributes = [*set_here]
        for attribute in entry.attributes:
            attribute.set(attribute.before)
        seen = {id(tensor.array) for tensor in surroundings.tensors.values()}
        entry.shared = [(place, t.array) for place, t in enumerate(tensors) if id(t.array) in seen]
        results.forget()
        del result, results, attributes, outputs, called, given, cut, set_here, read
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
        programs = self._programs()
        return "\n\nway back:\n".join(map(show, *zip(*self._labelled(programs), strict=True)))

    def profile(self, runs: int = 3) -> Any:
        """What the kernels of the last call's program cost: a table that prints; `.save(path)` draws it.

        The program is run `runs` times on its last inputs, with parameters and states put back afterwards; so is that
        of the way back, if it has run.
        """
        from rushlight.compiler.profile import Profile

        with self._lock:
            programs = [program for program in self._programs() if program.has_run]
            return Profile(programs, [labels for _, labels in self._labelled(programs)], runs)

    def _labelled(self, programs: list[Program]) -> list[tuple[Graph, dict[Input, str]]]:
        """Their graphs, and names for the inputs of these."""
        assert isinstance(self._last, _Entry)
        states = state_names(self._function)
        return [(p.graph, labels_of(p.graph, states, self._last.argument_names)) for p in programs]

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

    def holds(self, tensors: list[Tensor], roots: set[int]) -> bool:
        return True

    def run(self, function: Any, args: Any, options: Any, tensors: list[Tensor]) -> Any:
        return function(*args, **options)


class _Entry:
    """A program with its guards, and what happens around its runs."""

    def __init__(
        self,
        trace: Trace,
        tensors: list[Tensor],
        results: Results,
        back: WayBack | str | None,
    ) -> None:
        self._results = results
        self._back = back if isinstance(back, WayBack) else None
        self.eager = back if isinstance(back, str) else ""  # why calls run eagerly, where they do
        self.program: Program | None = None
        self.differentiable: Differentiable | None = None
        self.shared: list[tuple[int, Array]] = []  # the memory of arguments that the function also sees otherwise
        self.argument_names: list[str] = []
        self._kept_apart: set[int] = set()  # roots of memory that arguments may not lie in
        self._overlaps = False  # whether they do, and the calls run eagerly
        self.attributes: list[Attribute] = []  # that each run sets, to the last of the results
        self.carrying = Carrying(())  # those of them that are arguments, too
        self._holds_always = False
        self._prepares = self._changes = False  # whether there is anything to do before a run; or around it
        self._values_of: list[tuple[int, Array]] = []  # arguments whose values it has read, by their places: the values
        self._values_in: list[tuple[Array, Array]] = []  # the same of memory that it closes over
        self._updates = trace.updates
        self._draws = trace.draws
        self._keep_gradients(trace, tensors)
        trace.finish([t.array for t in results.computed])

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

    def compile(self, trace: Trace, surroundings: Surroundings, tensors: list[Tensor]) -> None:
        """Makes the program of what was recorded."""
        self._guards = Guards(surroundings, trace)
        self._keep_apart(trace.graph, tensors)
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

    def _keep_apart(self, graph: Graph, tensors: list[Tensor]) -> None:
        """Finds out whether what is written lies in memory that is also known as something else."""
        written = [target for target, _ in graph.writes]
        if any(target.kind == "argument" for target in written):
            written = graph.inputs
            if _overlapping(tensors):
                self.eager = "it changes an argument in place that overlaps another one in memory"
        self._kept_apart = {id(_root(t.array)) for t in written if t.kind == "state" and t.array is not None}
        self._overlaps = _any_within(tensors, self._kept_apart, self.shared)
        if self._overlaps:
            self.eager = "an argument overlaps memory that it also sees otherwise, and it changes that in place"

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

    def holds(self, tensors: list[Tensor], roots: set[int]) -> bool:
        """Whether the program is right for this call; if so, all that happens in Python before its run is done.

        roots: those of the tensors' memory, by identity.
        """
        if not self.attributes:
            return self._hold(tensors, roots) and (not self._prepares or self._start())
        values = [attribute.put_back() for attribute in self.attributes]
        carried = self.carrying.take(values, tensors)
        if carried:
            tensors.extend(carried)
            roots = roots.union([id(_root(tensor.array)) for tensor in carried])
        right = carried is not None and self._hold(tensors, roots) and self._start()
        if not right:
            del tensors[len(tensors) - len(carried or ()) :]
            for attribute, value in zip(self.attributes, values, strict=True):
                if attribute.attributes.get(attribute.name) is not value:
                    attribute.set(value)
        return right

    def _hold(self, tensors: list[Tensor], roots: set[int]) -> bool:
        if self._holds_always:
            return True
        for place, array in self.shared:
            if tensors[place].array is not array:
                return False
        apart = self._kept_apart.isdisjoint(roots) or not _any_within(tensors, self._kept_apart, self.shared)
        if apart is self._overlaps:
            return False
        for place, values in self._values_of:
            if not np.array_equal(tensors[place].array, values):
                return False
        for array, values in self._values_in:
            if not np.array_equal(array, values):
                return False
        return self._guards.hold()

    def _is_known_to_others(self, memory: Array) -> bool:
        """Whether another program depends on the memory of a gradient of this one."""
        entries = [e for compiled in list(_all) for known in list(compiled._entries.values()) for e in known]
        return any(entry is not self and isinstance(entry, _Entry) and entry.depends_on(memory) for entry in entries)

    def depends_on(self, memory: Array) -> bool:
        """Whether the program reads that memory, or is right only while a gradient lies there."""
        programs = [self.program, None if self.differentiable is None else self.differentiable.program]
        read = [given.array for program in programs if program is not None for given in program.graph.inputs]
        return self._guards.know(memory) or any(array is memory for array in read)

    def _start(self) -> bool:
        """Does what happens in Python before a run; False where an optimizer does something else than before."""
        if self.program is None:
            return True
        if self._updates:
            found: dict[Input, float] = {}
            for position, update in enumerate(self._updates):
                try:
                    numbers = update.numbers()
                except BaseException:
                    self._step_back(position + 1)
                    raise
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
        if self._results.is_one_tensor:
            return outputs[0]
        result, kept = self._results.put_together(outputs, tensors, args, options)
        for attribute, tensor in zip(self.attributes, kept, strict=True):
            attribute.set(tensor)
        return result

    def _run(self, tensors: list[Tensor]) -> list[Array]:
        return self.program.run([*map(_array_of, tensors)], self._values)  # type: ignore[union-attr]

    def _run_and_change(self, tensors: list[Tensor]) -> list[Array]:
        """A run that leaves more behind than its results."""
        assert self.program is not None
        if not self._gradients.leave_to_others(self._is_known_to_others):
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


_NO_ROOTS: set[int] = set()


def _signature(tensors: list[Tensor]) -> tuple[Any, set[int]]:
    """What of the tensors a program depends on, and the arrays that own their memory, by identity.

    The gradients that leaves bring along are put behind them: a backward pass adds to them.
    """
    places: dict[int, int] = {}
    roots: set[int] = set()
    kinds: list[Any] = []
    for tensor in tensors:
        array, grad, node = tensor.array, tensor._grad, tensor._node
        requires_grad = tensor._requires_grad
        if requires_grad and grad is not None and node is None:
            tensors.append(grad)  # which the loop comes to
        places.setdefault(id(array), len(kinds))
        base = array.base
        roots.add(id(base if type(base) is np.ndarray else array))
        strides = None if array.flags.c_contiguous else array.strides
        kinds.append((array.shape, array.dtype, strides, requires_grad, grad is None, node is None))
    count = len(kinds)
    if len(roots) < count:
        if len(places) < count:
            kinds.append(tuple([places[id(t.array)] for t in tensors]))
        if len(roots) < len(places):
            kinds.append(_overlapping(tensors))
    return tuple(kinds), roots


def _overlapping(tensors: list[Tensor]) -> tuple[tuple[int, int], ...]:
    """Which of the tensors overlap in memory without having the same."""
    arrays = [tensor.array for tensor in tensors]
    pairs = itertools.combinations(range(len(arrays)), 2)
    return tuple([(i, j) for i, j in pairs if arrays[i] is not arrays[j] and np.may_share_memory(arrays[i], arrays[j])])


def _root(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _any_within(tensors: list[Tensor], roots: set[int], shared: list[tuple[int, Array]]) -> bool:
    """Whether some of the tensors lie in memory with one of these roots, but for those that are shared as a whole."""
    for place, tensor in enumerate(tensors):
        array = tensor.array
        if (id(array) in roots or id(array.base) in roots) and all(place != known for known, _ in shared):
            return True
    return False

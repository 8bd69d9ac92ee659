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
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from rushlight import settings
from rushlight.autograd.modes import mode
from rushlight.compiler.attributes import Carried, Carrying, NotYet, results_among
from rushlight.compiler.differentiable import WayBack, detached
from rushlight.compiler.entry import NO_ROOTS, Entry, Refusal, signature
from rushlight.compiler.graph import Graph, Input
from rushlight.compiler.guards import Surroundings
from rushlight.compiler.names import argument_names, labels_of, state_names
from rushlight.compiler.program import Program
from rushlight.compiler.results import Arguments, Results
from rushlight.compiler.streams import refusing_clocks
from rushlight.compiler.structure import flatten, objects_in
from rushlight.compiler.text import show
from rushlight.compiler.trace import NotNative, Trace, tracing
from rushlight.dtypes import get_default_dtype
from rushlight.errors import TraceError
from rushlight.ops.declare import routing
from rushlight.tensor.tensor import Tensor

_MANY_TRACES, _CALLS_FOR_A_TRACE = 16, 4  # after so many traces, each has to have been worth so many calls


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
        self._entries: OrderedDict[Any, list[Entry | Refusal]] = OrderedDict()
        self._cache_size = cache_size
        self._hits = self._misses = 0
        self._seconds = 0.0
        self._last: Entry | Refusal | None = None
        self._waited: set[Any] = set()  # signatures of which a call ran eagerly, so that attributes are tensors
        self._passed = 0  # calls that ran eagerly since too many were traced
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
        kinds, roots = signature(tensors) if tensors else (None, NO_ROOTS)
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
            if self._misses >= _MANY_TRACES and self._hits + self._passed < _CALLS_FOR_A_TRACE * self._misses:
                if self._passed == 0:
                    self._warn_of_traces()
                self._passed += 1
                return self._function(*args, **options)
            known = self._entries.get(key, [])
            try:
                entry, result = self._trace(args, options, tensors, known, key not in self._waited)
            except NotYet as reason:
                if not reason.settled:
                    self._waited.add(key)
                self._misses += 1
                return self._function(*args, **options)
            except NotNative as reason:
                self._last = Refusal(str(reason))
                self._keep(key, [*known, self._last])
                self._misses += 1
                return self._function(*args, **options)
            except TraceError as error:
                if self.fullgraph:
                    raise
                self._last = Refusal(str(error))
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

    def _warn_of_traces(self) -> None:
        warnings.warn(
            f"{self.__name__} was traced anew in {self._misses} of {self._hits + self._misses} calls: something that "
            "it depends on is another each time (a number among its arguments, an attribute, a shape). Most calls for "
            "which there is no program run eagerly from now on. Give numbers that change as tensors",
            stacklevel=3,
        )

    def _keep(self, key: Any, entries: list[Entry | Refusal]) -> None:
        """Keeps the programs of a signature, and forgets the least recently used ones."""
        self._entries[key] = entries[: self._cache_size]
        self._entries.move_to_end(key)
        while sum(map(len, self._entries.values())) > self._cache_size:
            oldest = next(iter(self._entries))
            self._entries[oldest] = self._entries[oldest][:-1]
            if not self._entries[oldest]:
                del self._entries[oldest]

    def _trace(
        self, args: Any, options: Any, tensors: list[Tensor], known: Sequence[Entry | Refusal], waits: bool
    ) -> tuple[Entry, Any]:
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
        self, args: Any, options: Any, tensors: list[Tensor], known: Sequence[Entry | Refusal], carrying: Carrying
    ) -> tuple[Trace, Entry]:
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
        known: Sequence[Entry | Refusal],
        waits: bool,
        carrying: Carrying,
    ) -> tuple[Trace, Entry]:
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
    ) -> Entry:
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
        entry = Entry(trace, tensors, results, back)
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
        assert isinstance(self._last, Entry)
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

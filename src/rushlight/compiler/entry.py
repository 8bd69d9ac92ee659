"""What a compiled function keeps for a signature of its calls: a program, its guards, and what happens around runs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from rushlight.compiler.attributes import Attribute, Carrying
from rushlight.compiler.differentiable import Differentiable, WayBack
from rushlight.compiler.gradients import Gradients
from rushlight.compiler.graph import Graph, Input
from rushlight.compiler.guards import Guards, Surroundings
from rushlight.compiler.passes import simplify
from rushlight.compiler.program import Program
from rushlight.compiler.results import Results
from rushlight.compiler.trace import NotNative, Trace
from rushlight.ops.declare import OPERATIONS
from rushlight.ops.optimizer import UPDATES
from rushlight.tensor.tensor import Tensor, bump_version, wrap

Array = np.ndarray[Any, Any]
_array_of = attrgetter("array")
_MOST_VALUES = 8  # programs of one signature for different values that were read


_all: weakref.WeakSet[Entry] = weakref.WeakSet()


class Refusal:
    """Stands where a program would, for calls that can't be traced: they run eagerly. `eager` says why."""

    program = differentiable = None
    reads_values = False

    def __init__(self, why: str) -> None:
        self.eager = why

    def holds(self, tensors: list[Tensor], roots: set[int]) -> bool:
        return True

    def run(self, function: Any, args: Any, options: Any, tensors: list[Tensor]) -> Any:
        return function(*args, **options)


class Entry:
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

    def depend_on_values(self, trace: Trace, known: Sequence[Entry | Refusal]) -> bool:
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
        _all.add(self)
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
        return any(entry is not self and entry.depends_on(memory) for entry in list(_all))

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


NO_ROOTS: set[int] = set()


def signature(tensors: list[Tensor]) -> tuple[Any, set[int]]:
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

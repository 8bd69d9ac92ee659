"""The program of a graph: memory for every value, and a flat list of kernel calls over it."""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rushlight import core
from rushlight.compiler import layout, memory
from rushlight.compiler.executor import Call, NativeExecutor, Number, PythonExecutor
from rushlight.compiler.graph import Elementwise, Graph, Input, Node, Value
from rushlight.compiler.lowering import LOWERED
from rushlight.ops import program as programs
from rushlight.ops.declare import OPERATIONS
from rushlight.ops.optimizer import UPDATES

Array = np.ndarray[Any, Any]
_empty_like: Callable[[Array], Array] = np.empty_like if core.native is None else core.native.empty_like
_COPIED = 16384  # bytes of a result that are sooner copied than given memory of their own


class Program:
    """A graph that can be run, any number of times.

    The arena is the memory of all values that aren't inputs; its size is in `arena_bytes`. The gradients that the
    program leaves behind (`gradients`, by their inputs) lie in it, too: until they are computed, other values may.
    """

    made = 0  # programs so far

    def __init__(self, graph: Graph) -> None:
        Program.made += 1
        self.graph = graph
        self.numbers = [given for given in graph.inputs if given.kind == "number"]
        self._numbered = {given: index for index, given in enumerate(self.numbers)}
        self._places = layout.places(graph, layout.parts(graph))
        if _protect_returned(graph, self._places):
            self._places = layout.places(graph, layout.parts(graph))
        if _protect_overwritten(graph, self._places):
            self._places = layout.places(graph, layout.parts(graph))
        self.direct = layout.written_directly(graph, self._places)  # what is computed right where it is written
        self._kept = self._kept_gradients()
        self._returned = [value for value in dict.fromkeys(graph.outputs) if self._is_returned(value)]
        self._offsets, self.arena_bytes = self._plan()
        self._arena = _aligned(self.arena_bytes)
        self.lock = threading.Lock()  # one run at a time: they share the arena
        self._arrays: dict[Value, Array] = {}
        self.gradients = {target: self._gradient(target) for target, _ in graph.writes if target.is_gradient}
        for target, memory_of_gradient in self.gradients.items():
            target.array = memory_of_gradient
        self.arguments = [self._argument(given) for given in graph.inputs if given.kind == "argument"]
        self.calls: list[Call] = []
        for node in graph.nodes:
            self._add(node)
        self._add_writes()
        self._fresh = [self._array(value) for value in self._returned]
        written = {target for target, _ in graph.writes}
        positions = [given for given in graph.inputs if given.kind == "argument"]
        self._written_arguments = [position for position, given in enumerate(positions) if given in written]
        self.executor: Any = self._executor()
        self._moves = bool(self.arguments or self._fresh)
        # The arguments and numbers of the last run. Nobody's memory is held for longer than the run.
        self._last: tuple[list[Callable[[], Array | None]], Sequence[float]] | None = None
        places = {value: place for place, value in enumerate(self._returned)}
        self._results = [(self._array(value), places.get(value)) for value in graph.outputs]

    # Memory

    def _plan(self) -> tuple[dict[Value, int], int]:
        graph, found = self.graph, self._places
        last = layout.readers(graph, found)
        end = len(graph.nodes)
        elsewhere = {*self.direct, *self._returned}
        taken = layout.in_place(graph, found, last, elsewhere)
        for value, first in taken.items():
            last[first] = max(last[first], last[value])
        intervals = []
        for value, begin in layout.first_writes(graph, found).items():
            if value.node is not None and value not in elsewhere and value not in taken:
                intervals.append((value, value.nbytes, begin, last[value]))
        intervals += [(t, t.nbytes, end, end) for t, _ in graph.writes if t.is_gradient and t not in self._kept]
        offsets, size = memory.plan(intervals)
        offsets.update({value: offsets[first] for value, first in taken.items()})
        offsets.update({target: offsets[value] for target, value in self._kept.items()})
        return offsets, size

    def _kept_gradients(self) -> dict[Input, Value]:
        """The gradients that stay where they are computed, and their values; others are copied at the end."""
        found: dict[Value, Input] = {}
        for target, value in self.graph.writes:
            own = self._places[value].root is value and value.node is not None and value not in self.direct
            if target.is_gradient and own:
                found.setdefault(value, target)
        return {target: value for value, target in found.items()}

    def _is_returned(self, value: Value) -> bool:
        """Whether a result is computed right in the memory that the caller gets: small ones are copied."""
        own = self._places[value].root is value and not isinstance(value, Input)
        settled = value in self.direct or value in self._kept.values()
        return own and not settled and value.nbytes > _COPIED

    def _argument(self, given: Input) -> Array:
        self._arrays[given] = np.empty(given.shape, given.dtype)
        return self._arrays[given]

    def _array(self, value: Value) -> Array:
        """The memory of a value, as an array."""
        known = self._arrays.get(value)
        if known is None:
            known = self._arrays[value] = self._make_array(value)
        return known

    def _make_array(self, value: Value) -> Array:
        root, strides, offset = self._places[value]
        if root is not value:
            base = self._array(root)
            if offset == 0 and value.shape == base.shape and strides == base.strides and value.dtype == base.dtype:
                return base
            return _strided(base, value, strides, offset)
        if isinstance(value, Input):
            assert value.array is not None
            return value.array  # type: ignore[no-any-return]
        if value in self.direct:
            return self.direct[value].array  # type: ignore[no-any-return]
        if value in self._returned:
            return core.empty(value.shape, value.dtype)
        return self._in_arena(value)

    def _gradient(self, target: Input) -> Array:
        """Memory of the arena, as an array that is no view of another: for a `.grad`."""
        start = self._offsets[target]
        stretch = (ctypes.c_char * max(target.nbytes, 1)).from_buffer(self._arena[start:].data)
        return np.ndarray(target.shape, target.dtype, memoryview(stretch))

    def _in_arena(self, value: Value) -> Array:
        return np.ndarray(value.shape, value.dtype, self._arena.data, self._offsets[value])

    # Calls

    def add_copy(self, node: Node | None, source: Array, target: Array) -> None:
        """A call that copies; `node` is what it is for."""
        self.calls.append(Call(node, "copy", None, [source], {}, [target], np.copyto))

    def _operand(self, item: Any) -> Any:
        """An argument of a kernel: arrays for values."""
        if isinstance(item, Value):
            return self._array(item)
        if type(item) is tuple:
            return [self._operand(entry) for entry in item]
        return item

    def _add(self, node: Node) -> None:
        results = [self._array(value) for value in node.outputs]
        if layout.is_view(node):
            if self._places[node.outputs[0]].root is not self._places[node.inputs[0]].root:
                self._add_copying_view(node, results[0])
            return
        operands = [self._operand(item) for item in node.inputs]
        declared = OPERATIONS.get(node.operation)
        if node.operation in UPDATES:
            self._add_update(node, operands)
        elif node.operation in LOWERED:
            LOWERED[node.operation](self, node, operands, results[0])
        elif node.operation == "fused":
            by_meaning = functools.partial(_interpreted, node)
            self.calls.append(Call(node, "elementwise", fused(node), operands, {}, results, by_meaning))
        elif declared is not None and declared.elementwise:
            function = native_program(node.operation)
            self.calls.append(Call(node, "elementwise", function, operands, {}, results, _reference(declared)))
        else:
            self.add_kernel(node, operands, results)

    def add_kernel(self, node: Node, operands: list[Any], results: list[Array]) -> None:
        """A call of the kernel of the node's operation."""
        declared = OPERATIONS[node.operation]
        call = Call(node, "kernel", declared.kernel, operands, node.options, results, _reference(declared))
        self.calls.append(call)

    def _add_copying_view(self, node: Node, result: Array) -> None:
        source = self._array(node.inputs[0])
        if node.operation == "reshape":
            target = result.reshape(source.shape)
            assert np.may_share_memory(target, result)
            self.add_copy(node, source, target)
            return
        operation = OPERATIONS[node.operation]

        def take(array: Array, **options: Any) -> Any:
            return operation.meaning(np, np.ascontiguousarray(array), **options)

        self.calls.append(Call(node, "kernel", None, [source], node.options, [result], take))

    def _add_update(self, node: Node, operands: list[Any]) -> None:
        update = UPDATES[node.operation]
        options = {}
        for name, value in node.options.items():
            kind = bool if name == "first" else int if name == "step" else float
            options[name] = Number(self._numbered[value], kind) if isinstance(value, Input) else value

        def by_meaning(*lists: Any, **settings: Any) -> None:
            update.apply(lists, settings)

        self.calls.append(Call(node, "kernel", update.kernel, operands, options, (), by_meaning, in_place=True))

    def _add_writes(self) -> None:
        """What is written at the end; first aside, where it lies in memory that is itself written to."""
        targets = {target for target, _ in self.graph.writes}
        pending = []
        for target, value in self.graph.writes:
            root = self._places[value].root
            in_place = self.direct.get(value) is target or self._kept.get(target) is value
            if in_place or (root is target and _changed_by_update(value)):
                continue
            source = self._array(value)
            if isinstance(root, Input) and root in targets:
                aside = np.empty(value.shape, value.dtype)
                self.add_copy(None, source, aside)
                source = aside
            pending.append((source, self._array(target)))
        for source, memory_of_target in pending:
            self.add_copy(None, source, memory_of_target)

    # Running

    def run(self, arguments: Sequence[Array], numbers: Sequence[float]) -> list[Array]:
        """The results, in memory of their own. Others that might run it are kept away by the caller."""
        bases = [*map(np.ascontiguousarray, arguments)]
        fresh = [*map(_empty_like, self._fresh)]
        self._last = [*map(_known_later, arguments)], numbers
        try:
            self.executor.run([*bases, *fresh], numbers)
            for position in self._written_arguments:
                if bases[position] is not arguments[position]:
                    np.copyto(arguments[position], bases[position])
            return [array.copy() if place is None else fresh[place] for array, place in self._results]
        except Exception as error:
            failed = self.executor.failed
            node = self.calls[failed].node if failed >= 0 else None
            if node is not None:
                error.add_note(f"in {node.operation}, called at {node.line}")
            raise
        finally:
            if self._moves:
                self.executor.release()

    def _executor(self) -> PythonExecutor | NativeExecutor:
        """The calls in the hands of the core, if there is one."""
        bases = [*self.arguments, *self._fresh]
        if core.native is None:
            changed = [*self._written_arguments, *range(len(self.arguments), len(bases))]
            return PythonExecutor(self.calls, bases, changed)
        stretches = [(_address(base), base.nbytes) for base in bases]
        moving = []
        # Lowerings make views of their own, so what moves is known by where it lies.
        every = [*self._arrays.values(), *_arrays_in([(call.operands, call.results) for call in self.calls])]
        for array in {id(array): array for array in every}.values():
            address = _address(array)
            for base, (start, size) in enumerate(stretches):
                if start <= address < start + size:
                    moving.append((array, base, address - start))
        return NativeExecutor(self.calls, moving)

    def profile(self) -> list[float]:
        """The seconds of each call in a run on the last arguments; what the run changes is put back.

        Floating arguments that nobody holds any more are zeros.
        """
        assert self._last is not None
        references, numbers = self._last
        with self.lock:
            bases = [np.zeros(home.shape, home.dtype) for home in self.arguments]
            for base, reference in zip(bases, references, strict=True):
                given = reference()
                if given is not None:
                    np.copyto(base, given)
            changed = [(self._array(target), self._array(target).copy()) for target, _ in self.graph.writes]
            try:
                times: list[float] = self.executor.profile([*bases, *map(_empty_like, self._fresh)], numbers)
                return times
            finally:
                if self._moves:
                    self.executor.release()
                for memory_of_target, before in changed:
                    np.copyto(memory_of_target, before)

    @property
    def has_run(self) -> bool:
        """Whether there was a run, on whose arguments another one can be made."""
        return self._last is not None

    @property
    def labels(self) -> list[Node | None]:
        """Of each call, the node that it is for; None for the writes at the end."""
        return [call.node for call in self.calls]


def _known_later(given: Array) -> Callable[[], Array | None]:
    """For a profile: an argument, if somebody else still holds it. Integers are kept: zeros may not do for them."""
    return weakref.ref(given) if given.dtype.kind not in "iu" else lambda: given


def _aligned(size: int) -> Array:
    memory_with_room = np.empty(size + memory.ALIGNMENT, np.uint8)
    start = -memory_with_room.__array_interface__["data"][0] % memory.ALIGNMENT
    return memory_with_room[start : start + size]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _arrays_in(item: Any) -> Iterator[Array]:
    if isinstance(item, np.ndarray):
        yield item
    elif isinstance(item, (list, tuple)):
        for entry in item:
            yield from _arrays_in(entry)


def _reference(operation: Any) -> Callable[..., Any]:
    """The meaning of an operation, for arrays that its kernel has no code for."""

    def compute(*operands: Any, **options: Any) -> Any:
        if operation.checks_first:
            operation.check(list(operands), options)  # indices: NumPy would take negative ones
        return operation.reference(operands, options)

    return compute


def _interpreted(node: Node, *operands: Any) -> Any:
    """The results of a node `fused`."""
    program: Elementwise = node.options["program"]
    results = programs.interpret(program.instructions, program.outputs, operands)
    if not program.reduced:
        return results
    shape = np.broadcast_shapes(*map(np.shape, operands))
    whole = [np.broadcast_to(result, shape) for result in results]
    return tuple([_reduced(x, how, v) for x, how, v in zip(whole, program.reduced, node.outputs, strict=True)])


def _reduced(elements: Array, how: str, result: Value) -> Any:
    if not how:
        return elements
    rows = elements.reshape(result.size, elements.size // result.size)
    total = np.sum(rows, 1)
    if how == "mean":
        total = total / elements.dtype.type(rows.shape[1])  # NaN of nothing
    return total.reshape(result.shape)


def _strided(base: Array, value: Value, strides: tuple[int, ...], offset: int) -> Array:
    """`value` where it lies in the memory of `base`."""
    if value.size == 0:
        return np.empty(value.shape, value.dtype)
    interface = {
        "data": (_address(base) + offset, False),
        "shape": value.shape,
        "strides": strides,
        "typestr": f"|V{value.dtype.itemsize}",
        "version": 3,
    }
    return np.asarray(_Holder(interface, base)).view(value.dtype)


class _Holder:
    """Keeps the memory of a strided view alive."""

    def __init__(self, interface: dict[str, Any], base: Array) -> None:
        self.__array_interface__ = interface
        self.base = base


def _changed_by_update(value: Value) -> bool:
    return value.node is not None and value.node.operation in UPDATES


def _protect_returned(graph: Graph, found: dict[Value, layout.Place]) -> bool:
    """What stood in memory before it is written to, and is returned, is copied first. Tells whether anything was."""
    written = dict(graph.writes)
    copies: dict[Value, Value] = {}
    for value in dict.fromkeys(graph.outputs):
        root = found[value].root
        if isinstance(root, Input) and root in written and written[root] is not value:
            copy = Node("copy", [value], {}, [(value.shape, value.dtype)])
            graph.nodes.append(copy)
            copies[value] = copy.outputs[0]
    graph.outputs = tuple([copies.get(value, value) for value in graph.outputs])
    return bool(copies)


def _protect_overwritten(graph: Graph, found: dict[Value, layout.Place]) -> bool:
    """Updates work in place: a value from before that is read afterwards is copied first. Tells whether one was."""
    made = {value: position for position, node in enumerate(graph.nodes) for value in node.outputs}
    last: dict[Value, int] = {}
    for position, node in enumerate(graph.nodes):
        for value in node.values():
            last[value] = position
    for value in graph.results():
        last[value] = len(graph.nodes)
    readers: dict[Value, list[Value]] = {}
    for value in last:
        readers.setdefault(found[value].root, []).append(value)
    nodes: list[Node] = []
    copies: dict[Value, tuple[Value, int]] = {}
    for position, node in enumerate(graph.nodes):
        if node.operation in UPDATES:
            for root in dict.fromkeys([found[value].root for value in node.outputs]):
                for value in readers.get(root, ()):
                    if value not in copies and last[value] > position > made.get(value, -1):
                        copy = Node("copy", [value], {}, [(value.shape, value.dtype)], node.line)
                        nodes.append(copy)
                        copies[value] = (copy.outputs[0], position)
        nodes.append(node)
    if not copies:
        return False

    for position, node in enumerate(graph.nodes):
        taken = [value for value in node.values() if value in copies and copies[value][1] < position]
        node.substitute({value: copies[value][0] for value in taken})
    graph.substitute_results({value: copy for value, (copy, _) in copies.items()})
    graph.nodes = nodes
    return True


def native_program(operation: str) -> Any:
    """The elementwise program of a declared operation, or None."""
    declared = OPERATIONS[operation]
    if core.native is None:
        return None
    if declared.kernel == declared._first_call:
        declared.kernel = programs.compile_meaning(declared.meaning, len(declared.parameters))
    return declared.kernel


def fused(node: Node) -> Any:
    """The native program of a node `fused`, or None where there is no core."""
    if core.native is None:
        return None
    program: Elementwise = node.options["program"]
    flags = [value.dtype == np.bool_ for value in node.outputs]
    steps, outputs, reduced = map(list, program)
    return core.native.Program(steps, len(node.inputs), outputs, flags, reduced)

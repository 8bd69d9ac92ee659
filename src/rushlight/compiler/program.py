"""The program of a graph: memory for every value, and a flat list of kernel calls over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import core
from rushlight.compiler import layout, memory
from rushlight.compiler.executor import PythonExecutor
from rushlight.compiler.graph import Elementwise, Graph, Input, Node, Value
from rushlight.errors import InputError
from rushlight.ops import program as programs
from rushlight.ops.declare import OPERATIONS
from rushlight.ops.optimizer import UPDATES

Array = np.ndarray[Any, Any]


class Program:
    """A graph that can be run, any number of times.

    arena: the memory of all values that aren't inputs; its size is in `arena_bytes`.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        _protect_overwritten(graph)
        self.numbers = [given for given in graph.inputs if given.kind == "number"]
        self._numbered = {given: index for index, given in enumerate(self.numbers)}
        self._places = layout.places(graph)
        self._direct = layout.written_directly(graph, self._places)
        self._offsets, self.arena_bytes = self._plan()
        self._arena = np.empty(self.arena_bytes, np.uint8)
        self._arrays: dict[Value, Array] = {}
        self.arguments = [self._argument(given) for given in graph.inputs if given.kind == "argument"]
        self.executor = PythonExecutor()
        self._last_numbers: Sequence[float] = ()
        self.labels: list[Node | None] = []  # of each call, the node that it is for
        for node in graph.nodes:
            self._add(node)
        self._add_writes()
        written = {target for target, _ in graph.writes}
        positions = [given for given in graph.inputs if given.kind == "argument"]
        self._written_arguments = [(i, self._array(given)) for i, given in enumerate(positions) if given in written]
        self._outputs = [self._array(value) for value in graph.outputs]

    # Memory

    def _plan(self) -> tuple[dict[Value, int], int]:
        graph, found = self.graph, self._places
        last = layout.readers(graph, found)
        intervals = []
        for position, node in enumerate(graph.nodes):
            for value in node.outputs:
                if found[value].root is value and value not in self._direct:
                    intervals.append((value, value.nbytes, position, last[value]))
        return memory.plan(intervals)

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
        if value in self._direct:
            return self._direct[value].array  # type: ignore[no-any-return]
        return np.ndarray(value.shape, value.dtype, self._arena.data, self._offsets[value])

    # Calls

    def _call(self, node: Node | None, call: Callable[[Sequence[float]], None]) -> None:
        self.executor.add_call(call)
        self.labels.append(node)

    def _copy(self, node: Node | None, source: Array, target: Array) -> None:
        self.executor.add_copy(source, target)
        self.labels.append(node)

    def _operand(self, item: Any) -> Any:
        """An argument of a kernel: arrays for values; numbers that change are left as they are."""
        if isinstance(item, Input) and item.kind == "number":
            return item
        if isinstance(item, Value):
            return self._array(item)
        if type(item) is tuple:
            return [self._operand(entry) for entry in item]
        return item

    def _add(self, node: Node) -> None:
        results = [self._array(value) for value in node.outputs]
        if layout.is_view(node):
            if self._places[node.outputs[0]].root is node.outputs[0]:
                self._add_copying_view(node, results[0])
            return
        operands = [self._operand(item) for item in node.inputs]
        if node.operation == "fused":
            self._add_elementwise(node, fused(node), operands, results)
        elif node.operation in UPDATES:
            self._add_update(node, operands)
        elif node.operation in _LOWERED:
            _LOWERED[node.operation](self, node, operands, results[0])
        elif OPERATIONS[node.operation].elementwise:
            self._add_elementwise(node, native_program(node.operation), operands, results)
        else:
            self._add_structured(node, operands, results)

    def _add_copying_view(self, node: Node, result: Array) -> None:
        source = self._array(node.inputs[0])
        if node.operation == "reshape":
            self._copy(node, source, result.reshape(source.shape))
            return
        operation = OPERATIONS[node.operation]
        self._call(
            node, lambda _: np.copyto(result, operation.meaning(np, np.ascontiguousarray(source), **node.options))
        )

    def _add_elementwise(self, node: Node, program: Any, operands: list[Any], results: list[Array]) -> None:
        out = results[0] if len(results) == 1 else tuple(results)

        def call(_: Sequence[float]) -> None:
            if program is None or program(*operands, out=out) is NotImplemented:
                found = _meaning(node, operands)
                for result, value in zip(results, found, strict=True):
                    np.copyto(result, value, casting="unsafe")

        self._call(node, call)

    def _add_structured(self, node: Node, operands: list[Any], results: list[Array]) -> None:
        operation = OPERATIONS[node.operation]
        kernel = operation.kernel

        def call(_: Sequence[float]) -> None:
            found = NotImplemented if kernel is None else kernel(*operands, **node.options)
            if found is NotImplemented:
                found = operation.reference(operands, node.options)
            for result, value in zip(results, found if type(found) is tuple else (found,), strict=True):
                np.copyto(result, value, casting="unsafe")

        self._call(node, call)

    def _add_update(self, node: Node, operands: list[Any]) -> None:
        update = UPDATES[node.operation]
        changing = {name: self._numbered[v] for name, v in node.options.items() if isinstance(v, Input)}
        kinds = {name: bool if name == "first" else int if name == "step" else float for name in changing}

        def call(numbers: Sequence[float]) -> None:
            options = {**node.options, **{name: kinds[name](numbers[index]) for name, index in changing.items()}}
            update.apply(operands, options)

        self._call(node, call)

    def _add_writes(self) -> None:
        """What is written at the end; first aside, where it lies in memory that is itself written to."""
        targets = {target for target, _ in self.graph.writes}
        pending = []
        for target, value in self.graph.writes:
            root = self._places[value].root
            if self._direct.get(value) is target or (root is target and _changed_by_update(value)):
                continue
            source = self._array(value)
            if isinstance(root, Input) and root in targets:
                aside = np.empty(value.shape, value.dtype)
                self._copy(None, source, aside)
                source = aside
            pending.append((source, self._array(target)))
        for source, memory_of_target in pending:
            self._copy(None, source, memory_of_target)

    # Running

    def run(self, arguments: Sequence[Array], numbers: Sequence[float]) -> list[Array]:
        """The results, in memory of their own."""
        for fixed, given in zip(self.arguments, arguments, strict=True):
            np.copyto(fixed, given)
        self._last_numbers = numbers
        self.executor.run(numbers)
        for position, fixed in self._written_arguments:
            np.copyto(arguments[position], fixed)
        return [np.array(array, order="C") for array in self._outputs]

    def profile(self) -> list[float]:
        """The seconds of each call in a run on the last arguments; what the run changes is put back."""
        changed = [(self._array(target), self._array(target).copy()) for target, _ in self.graph.writes]
        try:
            return self.executor.profile(self._last_numbers)
        finally:
            for memory_of_target, before in changed:
                np.copyto(memory_of_target, before)


def _strided(base: Array, value: Value, strides: tuple[int, ...], offset: int) -> Array:
    memory_of_base = np.lib.stride_tricks.as_strided(base, (1,) * base.ndim)
    start = np.ndarray((), base.dtype, memory_of_base.data if base.size else base, 0) if base.ndim == 0 else base
    if value.size == 0:
        return np.empty(value.shape, value.dtype)
    interface = {
        "data": (start.__array_interface__["data"][0] + offset, False),
        "shape": value.shape,
        "strides": strides,
        "typestr": f"|V{value.dtype.itemsize}",
        "version": 3,
    }
    holder = _Holder(interface, base)
    return np.asarray(holder).view(value.dtype)


class _Holder:
    """Keeps the memory of a strided view alive."""

    def __init__(self, interface: dict[str, Any], base: Array) -> None:
        self.__array_interface__ = interface
        self.base = base


def _changed_by_update(value: Value) -> bool:
    return value.node is not None and value.node.operation in UPDATES


def _protect_overwritten(graph: Graph) -> None:
    """Updates work in place: where the value from before is read afterwards, it is copied first."""
    last: dict[Value, int] = {}
    found = layout.places(graph)
    for position, node in enumerate(graph.nodes):
        for value in node.values():
            last[value] = position
    for value in graph.results():
        last[value] = len(graph.nodes)
    nodes: list[Node] = []
    replaced: dict[Value, tuple[Value, int]] = {}
    for position, node in enumerate(graph.nodes):
        if node.operation in UPDATES:
            overwritten = {found[value].root for value in node.outputs}
            for value in list(last):
                if last[value] > position and found[value].root in overwritten and _before(value, position, graph):
                    copy = Node("copy", [value], {}, [(value.shape, value.dtype)], node.line)
                    nodes.append(copy)
                    replaced[value] = (copy.outputs[0], position)
        nodes.append(node)
    if not replaced:
        return
    positions = {node: position for position, node in enumerate(graph.nodes)}
    for value, (copy_value, since) in replaced.items():
        for node in graph.nodes:
            if positions[node] > since:
                node.substitute(lambda v, value=value, copy=copy_value: copy if v is value else v)  # type: ignore[misc]
        graph.outputs = tuple([copy_value if v is value else v for v in graph.outputs])
        graph.writes = [(target, copy_value if v is value else v) for target, v in graph.writes]
    graph.nodes = nodes


def _before(value: Value, position: int, graph: Graph) -> bool:
    """Whether the value exists before the node at `position`."""
    return value.node is None or graph.nodes.index(value.node) < position


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
    return core.native.Program(list(program.instructions), len(node.inputs), list(program.outputs), flags)


def _meaning(node: Node, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The results of an elementwise node by NumPy."""
    if node.operation != "fused":
        return (OPERATIONS[node.operation].reference(operands, {}),)
    program = node.options["program"]
    return programs.interpret(program.instructions, program.outputs, operands)


# Operations that only move: copies into their result.


def _cat(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    dim = node.options.get("dim", 0) % result.ndim
    start = 0
    for operand in operands:
        if operand.shape == (0,) and result.ndim > 1:
            continue
        stop = start + operand.shape[dim]
        program._copy(node, operand, result[(slice(None),) * dim + (slice(start, stop),)])
        start = stop


def _same(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    program._copy(node, operands[0], result)


def _assign(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    value = operands[1]
    source = value if isinstance(value, np.ndarray) else np.asarray(value).astype(result.dtype)
    program._copy(node, np.broadcast_to(source, result.shape), result)


def _slice_gradient(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    program._copy(node, np.broadcast_to(np.zeros((), result.dtype), result.shape), result)
    part = OPERATIONS["slice"].meaning(np, result, index=node.options["index"])
    program._copy(node, operands[0], part)


def _view_scatter(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    program._copy(node, operands[0], result)
    part = result
    for operation, options in node.options["views"]:
        part = operation.meaning(np, part, **options)
    value = operands[1]
    if not np.may_share_memory(part, result):
        raise InputError("view_scatter: the memory can't be seen that way")
    source = value if isinstance(value, np.ndarray) else np.asarray(value, result.dtype)
    program._copy(node, np.broadcast_to(source, part.shape), part)


_LOWERED: dict[str, Callable[[Program, Node, list[Any], Array], None]] = {
    "assign": _assign,
    "cast": _same,
    "cat": _cat,
    "clone": _same,
    "copy": _same,
    "slice_gradient": _slice_gradient,
    "view_scatter": _view_scatter,
}

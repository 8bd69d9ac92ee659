"""Where each value lies: in memory of its own, or as a view of another value's, and which memory is written directly.

A model of a value is an array with its shape, dtype and strides over one element of memory: enough to find out by the
views' own meanings where they lie.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rushlight.compiler.graph import Graph, Input, Node, Value
from rushlight.ops.declare import OPERATIONS
from rushlight.ops.optimizer import UPDATES

Array = np.ndarray[Any, Any]
_JOINING = frozenset(["cat", "stack"])
_REORDERING = frozenset(["permute", "reshape"])
_SMALL = 65536  # bytes of memory that is sooner written at the end, so that a call that fails has changed nothing


class Place(NamedTuple):
    """A value's place: `root` is the value in whose memory it lies, itself where that is its own."""

    root: Value
    strides: tuple[int, ...]  # in bytes
    offset: int  # of bytes from the root's first element


def row_major(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides, in bytes, of memory without gaps."""
    strides: list[int] = []
    step = itemsize
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= max(extent, 1)
    return tuple(strides)


def is_view(node: Node) -> bool:
    """Whether the node's operation takes a view of its first input."""
    operation = OPERATIONS.get(node.operation)
    return operation is not None and operation.is_view


def places(graph: Graph, settled: Mapping[Value, Place] = MappingProxyType({})) -> dict[Value, Place]:
    """The place of every value. settled: those that are known beforehand, such as those of parts."""
    found: dict[Value, Place] = {}
    for given in graph.inputs:
        own = given.kind != "state" or given.is_gradient
        strides = given.array.strides if not own else row_major(given.shape, given.dtype.itemsize)
        found[given] = Place(given, strides, 0)
    for node in graph.nodes:
        if node.operation in UPDATES:
            for value, source in zip(node.outputs, _changed_in_place(node), strict=True):
                found[value] = found[source]
        elif is_view(node):
            result = node.outputs[0]
            found[result] = _view(node, found) or settled.get(result) or _own(result)
        else:
            for value in node.outputs:
                found[value] = settled.get(value) or _own(value)
    return found


def parts(graph: Graph) -> dict[Value, Place]:
    """The places of elements that are computed right where they are joined: they are read by `cat` or `stack`.

    Only what comes of programs, and reshapes that copy: kernels write to memory without gaps.
    """
    joining = [node for node in graph.nodes if node.operation in _JOINING]
    if not joining:
        return {}
    uses, results = graph.uses(), set(graph.results())
    found: dict[Value, Place] = {}

    def settle(value: Value, reader: Node, place: Place) -> None:
        """Gives `value`, which `reader` reads at `place`, or what it is a view of, its place."""
        while value not in results and value not in found and value.node is not None:
            readers = [node for node in uses[value] if node is not reader]
            if value.node.operation not in _REORDERING:
                whole_lines = value.dtype.itemsize in place.strides
                if whole_lines and all(map(_is_program, readers)) and _writes_anywhere(value):
                    found[value] = place
                return
            seen = None if readers else _before(value.node, place.strides)
            if seen is None:
                return
            if value.node.operation == "reshape":
                found[value] = place
            reader, value, place = value.node, value.node.inputs[0], place._replace(strides=seen)

    for node in reversed(joining):
        whole = node.outputs[0]
        root, strides, offset = found.get(whole) or _own(whole)
        dim = node.options.get("dim", 0) % whole.ndim
        for value in node.inputs:
            if value.ndim != whole.ndim and node.operation == "cat":
                continue  # PyTorch's cat leaves out what has the shape (0,)
            if node.operation == "cat":
                settle(value, node, Place(root, strides, offset))
                offset += value.shape[dim] * strides[dim]
            else:
                settle(value, node, Place(root, strides[:dim] + strides[dim + 1 :], offset))
                offset += strides[dim]
    return found


def _is_program(node: Node) -> bool:
    """Whether the node is run by the elementwise engine, which reads and writes any strides."""
    return node.operation == "fused" or node.is_elementwise


def _writes_anywhere(value: Value) -> bool:
    node = value.node
    assert node is not None
    if node.operation == "fused" and node.options["program"].reduced:
        return not node.options["program"].reduced[value.index]
    return node.operation in _JOINING or _is_program(node)


def _before(node: Node, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides of what a permute or reshape sees, where its result has `strides`; None where there are none."""
    source = node.inputs[0]
    if node.operation == "reshape":
        return reshaped(node.outputs[0].shape, strides, source.shape)
    by_dim = dict(zip([dim % source.ndim for dim in node.options["dims"]], strides, strict=True))
    return tuple([by_dim[dim] for dim in range(source.ndim)])


def first_writes(graph: Graph, found: dict[Value, Place]) -> dict[Value, int]:
    """For each value with memory of its own, the position of the first node that writes there."""
    first: dict[Value, int] = {}
    for position, node in enumerate(graph.nodes):
        for value in node.outputs:
            first.setdefault(found[value].root, position)
    return first


def _own(value: Value) -> Place:
    return Place(value, row_major(value.shape, value.dtype.itemsize), 0)


def _changed_in_place(node: Node) -> list[Value]:
    """The inputs whose memory an update's results take: the parameters first, then the states."""
    lists = [entry for place, entry in enumerate(node.inputs) if entry is not None and place != 1]
    return [value for entry in lists for value in entry]


def _view(node: Node, found: dict[Value, Place]) -> Place | None:
    """Where a view lies; None where the memory of its input can't be seen that way, so that it must be copied."""
    source = node.inputs[0]
    root, strides, offset = found[source]
    if node.operation == "reshape":
        seen = reshaped(source.shape, strides, node.outputs[0].shape)
        return None if seen is None else Place(root, seen, offset)
    operation, options, item = OPERATIONS[node.operation], node.options, source.dtype.itemsize
    if operation.of_memory:
        if node.operation != "as_strided" or strides != row_major(source.shape, item):
            return None
        start = (options.get("storage_offset") or 0) * item if 0 not in options["size"] else 0
        return Place(root, tuple([stride * item for stride in options["stride"]]), offset + start)
    model = np.lib.stride_tricks.as_strided(np.empty(1, source.dtype), source.shape, strides)
    result = operation.meaning(np, model, **options)
    moved = result.__array_interface__["data"][0] - model.__array_interface__["data"][0]
    return Place(root, result.strides, offset + (moved if result.size else 0))


def reshaped(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides of memory seen in the shape `new`; None where that can't be done without a copy.

    Runs of dimensions that hold the same elements before and after are matched from the left; those before must lie
    evenly one in the other.
    """
    if 0 in shape:
        return row_major(new, 1)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    taken = position = 0
    while position < len(new):
        if new[position] == 1:
            result.append(0)
            position += 1
            continue
        first, last = taken, position
        before, after = old[taken][0], new[position]
        while before != after:
            if before < after:
                taken += 1
                before *= old[taken][0]
            else:
                position += 1
                after *= new[position]
        for outer, inner in itertools.pairwise(old[first : taken + 1]):
            if outer[1] != inner[0] * inner[1]:
                return None
        step = old[taken][1]
        run: list[int] = []
        for extent in reversed(new[last : position + 1]):
            run.insert(0, step)
            step *= extent
        result.extend(run)
        taken += 1
        position += 1
    return tuple(result)


def readers(graph: Graph, found: dict[Value, Place]) -> dict[Value, int]:
    """For each value with memory of its own, the position of the last node that reads it or a view of it."""
    last: dict[Value, int] = {}
    for position, node in enumerate(graph.nodes):
        for value in node.values():
            last[found[value].root] = position
        for value in node.outputs:
            last.setdefault(found[value].root, position)
    for value in graph.results():
        last[found[value].root] = len(graph.nodes)
    return last


def _works_in_place(node: Node, operand: Value, result: Value, found: dict[Value, Place]) -> bool:
    """Whether the node may write `result` right over `operand`, all of whose memory it reads in the same order."""
    if node.operation == "view_scatter":
        if operand is not node.inputs[0]:
            return False
    elif node.operation == "fused":
        reduced = node.options["program"].reduced
        if reduced and reduced[result.index]:
            return False  # written before all has been read
    elif not node.is_elementwise:
        return False
    place = found[operand]
    if operand.shape != result.shape or operand.dtype != result.dtype or place.root.nbytes != result.nbytes:
        return False
    if place.strides != row_major(operand.shape, operand.dtype.itemsize) or place.offset:
        return False
    return all(v is operand or found[v].root is not place.root for v in node.values())


def in_place(
    graph: Graph, found: dict[Value, Place], last: dict[Value, int], elsewhere: Container[Value]
) -> dict[Value, Value]:
    """The results that take the memory of an input that is read for the last time, and the first value there.

    last: what `readers` tells. elsewhere: values whose memory is settled.
    """
    taken: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        given: set[Value] = set()
        for value in node.outputs:
            if found[value].root is not value or value in elsewhere:
                continue
            for operand in node.values():
                root = found[operand].root
                free = root.node is not None and root not in elsewhere and last[root] == position and root not in given
                if free and _works_in_place(node, operand, value, found):
                    given.add(root)
                    taken[value] = taken.get(root, root)
                    break
    return taken


def written_directly(graph: Graph, found: dict[Value, Place]) -> dict[Value, Input]:
    """The values that can be computed right where they are to be written at the end, and that memory.

    That is so where nothing reads what stood there once the value is being computed, and where the memory is large:
    what is small is written at the end, so that a call that fails half-way has changed nothing. Where the value is
    another one with some elements changed, that one may come there before it, and so on.
    """
    last = readers(graph, found)
    chosen: dict[Value, Input] = {}
    positions = {node: position for position, node in enumerate(graph.nodes)}
    first = first_writes(graph, found)

    def fits(value: Value, target: Input) -> bool:
        if value.node is None or found[value].root is not value or value in chosen:
            return False
        position = first[value]
        read = last.get(target, -1)
        if read == position == positions[value.node]:
            operands = [operand for operand in value.node.values() if found[operand].root is target]
            return all(_works_in_place(value.node, operand, value, found) for operand in operands)
        return read < position

    for target, value in graph.writes:
        if target.kind != "state" or target.is_gradient or target.dtype != value.dtype or target.nbytes <= _SMALL:
            continue
        if target.array.strides != row_major(target.shape, target.dtype.itemsize):
            continue
        while fits(value, target):
            chosen[value] = target
            maker, result = value.node, value
            if maker is None or maker.operation != "view_scatter":
                break
            value = maker.inputs[0]
            if last[found[value].root] != positions[maker] or not _works_in_place(maker, value, result, found):
                break
    return chosen

"""What elementwise nodes do, instruction by instruction: the meanings of the operations, recorded once each."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight import core
from rushlight.compiler.graph import Elementwise, Node, Value
from rushlight.ops import program as programs
from rushlight.ops.declare import OPERATIONS
from rushlight.ops.program import Builder, Expression

BOOL = np.dtype(np.bool_)
# Operations on bools that mean the same on the numbers 0 and 1 that bools are among numbers.
_ON_TRUTH = frozenset(
    ["logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor"]
    + ["bitwise_not", "where", "equal", "not_equal"]
)
_CHEAP = programs.PREDICATES | {"add", "subtract", "multiply", "negative", "absolute", "maximum", "minimum", "where"}


def computed_in(node: Node) -> np.dtype[Any] | None:
    """The dtype that a program computes the node in: bool where any will do. None: it can't be part of a program."""
    result = node.outputs[0].dtype
    if node.operation == "cast":
        given = node.inputs[0].dtype
        if BOOL in (given, result) and "fiu".find((result if given == BOOL else given).kind) >= 0:
            return result if given == BOOL else given
        return None
    operation = OPERATIONS.get(node.operation)
    if operation is None or not operation.elementwise:
        return None
    operands = [v for v in node.inputs if isinstance(v, Value)]
    if operation.promotion == "where" and isinstance(node.inputs[0], Value):
        operands = operands[1:]
    dtype = next((v.dtype for v in operands), result)
    if operation.promotion != "boolean":
        dtype = result
    if dtype == BOOL:
        return BOOL if node.operation in _ON_TRUTH else None
    return dtype if _has_code(node.operation, dtype) else None


@functools.cache
def _recipe(operation: str) -> tuple[tuple[tuple[Any, ...], ...], Any] | None:
    """The instructions of an operation over its inputs, and the number of its result (or a constant in a tuple)."""
    declared = OPERATIONS[operation]
    builder = Builder(len(declared.parameters))
    try:
        result = declared.meaning(programs.recorder, *builder.inputs)
    except programs.NotElementwise:
        return None
    return tuple(builder.instructions), result.number if isinstance(result, Expression) else (result,)


@functools.cache
def _has_code(operation: str, dtype: np.dtype[Any]) -> bool:
    """Whether programs can do the operation in this dtype."""
    recipe = _recipe(operation)
    if recipe is None:
        return False
    if core.native is None:
        return True
    declared = OPERATIONS[operation]
    count = len(declared.parameters)
    program = core.native.Program(list(recipe[0]), count, [recipe[1]], [declared.promotion == "boolean"])
    return program(*[np.ones(1, dtype)] * count) is not NotImplemented


def size_of(node: Node) -> int:
    """The number of instructions."""
    recipe = None if node.operation == "cast" else _recipe(node.operation)
    return 1 if recipe is None else len(recipe[0])


def is_cheap(node: Node) -> bool:
    """Whether the node costs hardly more than reading its result would."""
    recipe = None if node.operation == "cast" else _recipe(node.operation)
    return recipe is None or (len(recipe[0]) <= 2 and all(opcode in _CHEAP for opcode, *_ in recipe[0]))


def record(node: Node, sources: Sequence[Any], emit: Any) -> Any:
    """Records the node over `sources` (Expressions or numbers); its result, an Expression or a number.

    emit: takes an opcode and its sources, and returns an Expression or a number.
    """
    if node.operation == "cast":
        if node.outputs[0].dtype == BOOL:
            return emit("not_equal", sources[0], 0)
        return emit("where", sources[0], 1, 0)
    recipe = _recipe(node.operation)
    assert recipe is not None
    instructions, result = recipe
    values = list(sources)

    def value(source: Any) -> Any:
        return source[0] if isinstance(source, tuple) else values[source]

    for opcode, *given in instructions:
        values.append(emit(opcode, *[value(source) for source in given]))
    return value(result)


class Recorder:
    """Emits instructions on a Builder, those on numbers only being computed at once."""

    def __init__(self, builder: Builder, dtype: np.dtype[Any]) -> None:
        self.builder = builder
        self._dtype = dtype

    def number(self, value: Any) -> Any:
        """A Python number as an operand: integers as they come out in the dtype."""
        if self._dtype.kind in "iu" and type(value) is int:
            bits = 8 * self._dtype.itemsize
            value &= (1 << bits) - 1
            return value - (1 << bits) if self._dtype.kind == "i" and value >> (bits - 1) else value
        return value

    def __call__(self, opcode: str, *sources: Any) -> Any:
        expressions = [s for s in sources if isinstance(s, Expression)]
        numbers = [s for s in sources if not isinstance(s, Expression)]
        if opcode == "where" and isinstance(sources[0], (bool, int, float)):
            return sources[1] if sources[0] else sources[2]
        if opcode == "multiply" and expressions and self._dtype.kind == "f" and 1.0 in numbers:
            return expressions[0]  # exactly, as with the slopes and scales of activations
        if not expressions and self._dtype.kind == "f" and hasattr(np, opcode):
            with np.errstate(all="ignore"):
                return getattr(np, opcode)(*[self._scalar(s) for s in sources]).item()
        return self.builder.emit(opcode, *sources)

    def program(self, results: Sequence[Any]) -> Elementwise:
        """The program that gives these results, without instructions that none of them depends on."""
        builder = self.builder
        first = len(builder.inputs)
        numbers = [
            (r if isinstance(r, Expression) else builder.emit("where", False, builder.inputs[0], r)).number
            for r in results
        ]
        wanted = set(numbers)
        for position in range(len(builder.instructions) - 1, -1, -1):
            if first + position in wanted:
                wanted.update([s for s in builder.instructions[position][1:] if not isinstance(s, tuple)])
        kept = [position for position in range(len(builder.instructions)) if first + position in wanted]
        moved = {first + old: first + new for new, old in enumerate(kept)}
        instructions = [
            (opcode, *[moved.get(s, s) if isinstance(s, int) else s for s in sources])
            for opcode, *sources in [builder.instructions[position] for position in kept]
        ]
        return Elementwise(tuple(instructions), tuple([moved.get(number, number) for number in numbers]))

    def _scalar(self, value: Any) -> Any:
        return value if isinstance(value, bool) else self._dtype.type(value)

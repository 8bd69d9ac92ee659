"""The gradients of elementwise operations as operations of their own, for gradients that are differentiated again.

Recorded step by step, the gradient of tanh, g * (1 - y * y), would be three nodes of the graph. As one operation it is
one node; its own gradient follows from the gradients of its steps, and is again one program.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from rushlight.ops import program
from rushlight.ops.declare import OPERATIONS, Operation, inlining


class Derivative(NamedTuple):
    """The gradient of an operation for one of its arguments: `operation` of those values that it reads.

    reads: 0 is the result's gradient, 1 the result, 2 the first argument ...
    """

    operation: Operation
    reads: tuple[int, ...]


@functools.lru_cache(1024)
def derivative(operation: Operation, position: int, count: int) -> Derivative | None:
    """The gradient for one of `count` arguments; None where it is a single step, or can't be differentiated so."""
    assert operation.gradient_rule is not None
    with inlining():
        recorded = program.record_gradient(operation.gradient_rule, position, count)
    if recorded is None:
        return None
    steps, output, reads = recorded
    if len(steps) < 2 or any(opcode not in OPERATIONS for opcode, *_ in steps):
        return None
    derived = Operation(
        _meaning(f"{operation.name}_backward", steps, output, len(reads)),
        kind="elementwise",
        promotion=operation.promotion,
        piecewise_linear=operation.piecewise_linear,
        listed=False,
    )
    derived.gradient(_rule(steps, output, operation.piecewise_linear))
    return Derivative(derived, reads)


def _meaning(name: str, steps: Any, output: int, count: int) -> Callable[..., Any]:
    def meaning(xp: Any, *operands: Any) -> Any:
        if xp is np:
            return program.interpret(steps, (output,), operands)[0]
        return _replayed(steps, operands, lambda opcode: getattr(xp, opcode))[output]

    names = ["xp", *(f"x{number}" for number in range(count))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    meaning.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
    meaning.__name__ = name
    return meaning


def _replayed(steps: Any, operands: Any, function: Callable[[str], Callable[..., Any]]) -> list[Any]:
    values = list(operands)
    for opcode, *sources in steps:
        values.append(function(opcode)(*_given(values, sources)))
    return values


def _given(values: list[Any], sources: Any) -> list[Any]:
    return [s[0] if isinstance(s, tuple) else values[s] for s in sources]


def _rule(steps: Any, output: int, piecewise_linear: bool) -> Callable[..., Any]:
    """The gradient of the steps, from the last to the first, by the rules of the operations that they are."""

    def rule(g: Any, _y: Any, *inputs: Any) -> tuple[Any, ...]:
        values = _replayed(steps, inputs, OPERATIONS.__getitem__)
        arrived: dict[int, Any] = {output: g}
        for number in range(len(values) - 1, len(inputs) - 1, -1):
            opcode, *sources = steps[number - len(inputs)]
            step_rule = OPERATIONS[opcode].gradient_rule
            if number not in arrived or step_rule is None:
                continue
            entries = step_rule(arrived[number], values[number], *_given(values, sources))
            for source, entry in zip(sources, entries if type(entries) is tuple else (entries,), strict=True):
                if isinstance(source, tuple):
                    continue  # a constant
                if isinstance(entry, FunctionType):
                    entry = entry()
                if entry is not None:
                    arrived[source] = arrived[source] + entry if source in arrived else entry
        nothing = g * 0.0 if piecewise_linear else None
        return tuple([arrived.get(number, nothing) for number in range(len(inputs))])

    return rule

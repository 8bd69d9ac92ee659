"""What is known of values while a function is traced: constants, and what comes of a few integers from outside.

Python decides by lengths, masks and counters: `pack_padded_sequence`, `x[mask]`, `range(int(n))`. A program that was
recorded for some of them is right for these, and is compared with them before each run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.compiler.graph import Input, Node, Value
from rushlight.ops.declare import OPERATIONS

Array = np.ndarray[Any, Any]
_MOST_BYTES = 65536  # of integers and truths that a program may depend on


class Known:
    """The values that a trace can tell, and what it had to read outside for that."""

    def __init__(self) -> None:
        self.read: dict[Input, Array] = {}  # what was looked at, and what it was

    def values(self, value: Value) -> Array | None:
        """What the value is in this call; None where it doesn't come of constants and integers from outside alone."""
        return self._values(value, {})

    def _values(self, value: Value, seen: dict[Value, Array | None]) -> Array | None:
        if value not in seen:
            if isinstance(value, Input):
                seen[value] = self._outside(value)
            else:
                assert value.node is not None
                seen.update(dict.fromkeys(value.node.outputs))
                seen.update(self._computed(value.node, seen))
        return seen[value]

    def _computed(self, node: Node, seen: dict[Value, Array | None]) -> dict[Value, Array]:
        """The results of a node, as far as its operands are known."""
        operands: list[Any] = []
        for item in node.inputs:
            given = item if type(item) is tuple else (item,)
            found = [self._values(v, seen) if isinstance(v, Value) else v for v in given]
            if any(array is None and isinstance(v, Value) for array, v in zip(found, given, strict=True)):
                return {}
            operands.append(found if type(item) is tuple else found[0])
        operation = OPERATIONS.get(node.operation)
        if operation is None:
            return {}
        results = operation.reference(operands, node.options)
        return dict(zip(node.outputs, results if type(results) is tuple else (results,), strict=True))

    def _outside(self, given: Input) -> Array | None:
        if given.kind == "constant":
            return given.array  # type: ignore[no-any-return]
        if given.kind not in ("argument", "state") or given.array is None:
            return None
        if given.dtype.kind not in "iub" or given.nbytes > _MOST_BYTES:
            return None
        return self.read.setdefault(given, given.array.copy())

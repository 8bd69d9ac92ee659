"""Operations that only move elements: as copies into their result, and none where they are there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.compiler.graph import Node
from rushlight.errors import InputError
from rushlight.ops.declare import OPERATIONS

if TYPE_CHECKING:
    from rushlight.compiler.program import Program

Array = np.ndarray[Any, Any]


def _cat(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    dim = node.options.get("dim", 0) % result.ndim
    start = 0
    for operand in operands:
        if operand.shape == (0,) and result.ndim > 1:
            continue
        stop = start + operand.shape[dim]
        part = result[(slice(None),) * dim + (slice(start, stop),)]
        if not _is_there(operand, part):
            program.add_copy(node, operand, part)
        start = stop


def _stack(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    parts = [*np.moveaxis(result, node.options.get("dim", 0), 0)]
    elsewhere = [(o, part) for o, part in zip(operands, parts, strict=True) if not _is_there(o, part)]
    if len(elsewhere) == len(parts):
        program.add_kernel(node, operands, [result])
        return
    for operand, part in elsewhere:
        program.add_copy(node, operand, part)


def _is_there(operand: Array, part: Array) -> bool:
    """Whether a part was computed right in its place."""
    return _lies(operand) == _lies(part)


def _lies(array: Array) -> tuple[Any, ...]:
    steps = [step for step, extent in zip(array.strides, array.shape, strict=True) if extent > 1]
    return (array.__array_interface__["data"][0], *steps)


def _same(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    program.add_copy(node, operands[0], result)


def _assign(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    value = operands[1]
    source = value if isinstance(value, np.ndarray) else np.asarray(value).astype(result.dtype)
    program.add_copy(node, np.broadcast_to(source, result.shape), result)


def _slice_gradient(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    program.add_copy(node, np.broadcast_to(np.zeros((), result.dtype), result.shape), result)
    part = OPERATIONS["slice"].meaning(np, result, index=node.options["index"])
    program.add_copy(node, operands[0], part)


def _view_scatter(program: Program, node: Node, operands: list[Any], result: Array) -> None:
    if operands[0].__array_interface__["data"] != result.__array_interface__["data"]:
        program.add_copy(node, operands[0], result)
    part = result
    for operation, options in node.options["views"]:
        part = operation.meaning(np, part, **options)
    value = operands[1]
    if part.size and not np.may_share_memory(part, result):
        raise InputError("view_scatter: the memory can't be seen that way")
    source = value if isinstance(value, np.ndarray) else np.asarray(value, result.dtype)
    program.add_copy(node, np.broadcast_to(source, part.shape), part)


LOWERED: dict[str, Callable[[Program, Node, list[Any], Array], None]] = {
    "assign": _assign,
    "cast": _same,
    "cat": _cat,
    "clone": _same,
    "copy": _same,
    "slice_gradient": _slice_gradient,
    "stack": _stack,
    "view_scatter": _view_scatter,
}

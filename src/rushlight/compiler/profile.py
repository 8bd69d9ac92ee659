"""Where a program spends its time: for each kind of kernel, as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rushlight.compiler.graph import Input, Node, Value
from rushlight.compiler.text import short_line, touched

if TYPE_CHECKING:
    from rushlight.compiler.program import Program


class Row(NamedTuple):
    """One call of a kernel. seconds: the median of the runs; operations, bytes: counted from the shapes.

    names: of the state that it reads and, with an arrow, writes.
    """

    name: str
    shapes: str
    line: str
    names: str
    seconds: float
    operations: float
    bytes: float


class Profile:
    """The calls of programs in order; prints as a table, the most expensive first."""

    def __init__(self, programs: Iterable[Program], labels: Iterable[Mapping[Input, str]], runs: int) -> None:
        """labels: for each program, names of its graph's inputs."""
        self.rows: list[Row] = []
        for program, known in zip(programs, labels, strict=True):
            times = [program.profile() for _ in range(max(1, runs))]
            written = {value: target for target, value in program.graph.writes}
            for position, node in enumerate(program.labels):
                seconds = sorted(t[position] for t in times)[len(times) // 2]
                names = [] if node is None else touched(node, known, written)
                self.rows.append(_row(node, seconds, ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")))

    @property
    def seconds(self) -> float:
        """The time of all calls together."""
        return sum(row.seconds for row in self.rows)

    def __str__(self) -> str:
        total = self.seconds or 1.0
        lines = [f"{'kernel':<28}{'time':>10}{'share':>8}{'GFLOP/s':>9}{'GB/s':>7}  result, line, state"]
        for row in sorted(self.rows, key=lambda r: -r.seconds):
            spent = max(row.seconds, 1e-9)
            flops = f"{row.operations / spent / 1e9:.1f}" if row.operations else ""
            lines.append(
                f"{row.name:<28}{spent * 1e6:>8.1f}us{100 * spent / total:>7.1f}%{flops:>9}"
                f"{row.bytes / spent / 1e9:>7.1f}  {row.shapes} {short_line(row.line)} {row.names}".rstrip()
            )
        lines.append(f"{'all':<28}{total * 1e6:>8.1f}us")
        return "\n".join(lines)

    __repr__ = __str__

    def save(self, path: str) -> None:
        """Draws the shares of the kernels as bars into a picture (SVG, PNG ...; needs matplotlib)."""
        from matplotlib.figure import Figure

        shares: dict[str, float] = {}
        for row in self.rows:
            shares[row.name] = shares.get(row.name, 0.0) + row.seconds
        names = sorted(shares, key=lambda name: shares[name])
        figure = Figure(figsize=(8, 0.4 * len(names) + 1), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, [1e3 * shares[name] for name in names], color="#c98b2b")
        axes.set_xlabel("milliseconds in one run")
        figure.savefig(path)


def _row(node: Node | None, seconds: float, names: str) -> Row:
    if node is None:
        return Row("write", "", "", "", seconds, 0.0, 0.0)
    values = list(node.values())
    moved = float(sum(v.nbytes for v in dict.fromkeys(values)) + sum(v.nbytes for v in node.outputs))
    shapes = ", ".join(str(tuple(v.shape)) for v in node.outputs[:2])
    return Row(node.operation, shapes, node.line, names, seconds, operations_of(node), moved)


def operations_of(node: Node) -> float:
    """Floating-point operations, a multiply-add counting as two; 0 where they don't decide the time."""
    shapes = [item.shape if isinstance(item, Value) else () for item in node.inputs]
    out = node.outputs[0].shape
    if node.operation == "matmul":
        return 2.0 * math.prod(out) * shapes[0][-1]
    if node.operation in ("linear", "linear_activation", "linear_relu_gradient"):
        return 2.0 * math.prod(out) * shapes[1][-1]
    if node.operation in ("convolution", "convolution_activation"):
        return 2.0 * math.prod(out) * math.prod(shapes[1][1:])
    if node.operation == "convolution_input_gradient":
        return 2.0 * math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if node.operation == "convolution_weight_gradient":
        return 2.0 * math.prod(shapes[0]) * math.prod(out[1:])
    if node.operation == "fused":
        elements = max([value.size for value in (*node.values(), *node.outputs)])  # results may be sums
        return float(elements * len(node.options["program"].instructions))
    return 0.0

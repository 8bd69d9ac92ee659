"""`python -m benchmarks`: every workload with rushlight and with PyTorch, alternating, and the ratio of their times.

Each library has a process of its own; both get the same data and the same weights, and take turns. The losses must
agree before a ratio is printed. Times are medians over all steps of all turns.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import platform
import statistics
from pathlib import Path
from typing import Any

from benchmarks.further import FURTHER
from benchmarks.worker import serve
from benchmarks.workloads import BUILDERS, TINY


class Runner:
    """A process that runs a workload with one library."""

    def __init__(
        self, library: str, name: str, threads: int, channels_last: bool = False, compiled: bool = False
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.label = library + (" channels_last" if channels_last else "") + (" compiled" if compiled else "")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, library, name, channels_last, compiled, threads), daemon=True
        )
        self.process.start()
        self.times: list[float] = []
        self.losses: list[float] = []

    def ask(self, order: str, argument: Any = None) -> Any:
        self.connection.send((order, argument))
        return self.connection.recv()

    def run(self, seconds: float, count: bool = True) -> None:
        times, losses = self.ask("run", seconds)
        self.losses += losses
        if count:
            self.times += times

    def end(self) -> None:
        self.connection.send(("end", None))
        self.process.join()


def agree(a: list[float], b: list[float]) -> bool:
    """Whether the first losses, from equal weights on equal data, are equal to float32's rounding.

    Each step of training makes differences larger, between the ways that one library has too.
    """
    tolerances = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    return all(
        math.isclose(x, y, rel_tol=tolerance, abs_tol=1e-5) for x, y, tolerance in zip(a, b, tolerances, strict=False)
    )


def measure(
    name: str, turns: int, seconds: float, threads: int, compiled: bool, peers: list[dict[str, Any]]
) -> dict[str, Any]:
    ours = Runner("rushlight", name, threads, compiled=compiled)
    theirs = [Runner(name=name, threads=threads, **options) for options in peers]
    weights = theirs[0].ask("weights")
    for runner in (ours, *theirs):
        runner.ask("weights", weights)
    for runner in (ours, *theirs):
        runner.run(seconds / 4, count=False)
    for _ in range(turns):
        for runner in (ours, *theirs):
            runner.run(seconds)
    result = {
        "name": name,
        "agree": all(agree(ours.losses, peer.losses) for peer in theirs),
        "losses": (ours.losses[0], theirs[0].losses[0]),
        "ours": statistics.median(ours.times),
        "peers": {peer.label: statistics.median(peer.times) for peer in theirs},
        "compile": ours.ask("compile") if compiled else 0.0,
        "memory": (ours.ask("memory"), theirs[0].ask("memory")),
    }
    for runner in (ours, *theirs):
        runner.end()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--further", action="store_true", help="the workloads of benchmarks/further.py")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each library in each turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compiled", action="store_true", help="rushlight.compile against eager PyTorch")
    parser.add_argument(
        "--best",
        action="store_true",
        help="rushlight.compile against PyTorch's best: compiled or not, channels_last or not",
    )
    parser.add_argument("--jax", action="store_true", help="rushlight.compile against jax.jit, on the tiny network")
    parser.add_argument("--smoke", action="store_true", help="one short turn: does everything run and agree?")
    parser.add_argument("--write", type=Path, help="put the table into this file, between its markers")
    options = parser.parse_args()
    if options.smoke:
        options.turns, options.seconds = 1, 0.2
    peers: list[dict[str, Any]] = [{"library": "jax" if options.jax else "torch"}]
    if options.best:
        peers += [peers[0] | more for more in ({"channels_last": True}, {"compiled": True})]
        peers.append({"library": "torch", "compiled": True, "channels_last": True})
    compiled = options.best or options.compiled or options.jax
    table = [TINY] if options.jax else FURTHER if options.further else BUILDERS
    peer = "JAX" if options.jax else "PyTorch"
    lines = [
        f"| workload | rushlight ms | {peer} ms | ratio | compiled in, ms | peak memory, MB: ours, eager {peer}'s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    ratios = []
    failed = []
    for name in table:
        if options.only not in name:
            continue
        result = measure(name, options.turns, options.seconds, options.threads, compiled, peers)
        label, best = min(result["peers"].items(), key=lambda item: item[1])
        if result["agree"]:
            ratios.append(result["ours"] / best)
            ratio = f"{ratios[-1]:.2f}"
        else:
            failed.append(name)
            ratio = f"losses differ: {result['losses'][0]:.6g}, {result['losses'][1]:.6g}"
        shown = f"{1000 * best:.3f}" + (f" ({label})" if options.best else "")
        memory = ", ".join(f"{m / 1e6:.0f}" for m in result["memory"])
        spent = f"{1000 * result['compile']:.1f}" if compiled else ""
        lines.append(f"| {name} | {1000 * result['ours']:.3f} | {shown} | {ratio} | {spent} | {memory} |")
        print(lines[-1], flush=True)
    if ratios:
        mean = math.exp(statistics.fmean(math.log(r) for r in ratios))
        lines.append(f"| geometric mean | | | {mean:.2f} | | |")
        print(lines[-1])
    if options.write is not None:
        write(options.write, lines, options)
    if failed:
        raise SystemExit(f"the losses differ in: {', '.join(failed)}")


def write(path: Path, lines: list[str], options: argparse.Namespace) -> None:
    """Puts the table into `path`, between the marker lines of its kind."""
    kind = "jax" if options.jax else "best" if options.best else "compiled" if options.compiled else "eager"
    if options.further:
        kind = f"further {kind}"
    begin, end = f"<!-- {kind}: begin -->", f"<!-- {kind}: end -->"
    text = path.read_text()
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    where = f"{options.threads} threads, {platform.machine()}; {options.turns} turns of {options.seconds} s each."
    path.write_text(head + begin + "\n" + "\n".join([where, "", *lines]) + "\n" + end + tail)


if __name__ == "__main__":
    main()

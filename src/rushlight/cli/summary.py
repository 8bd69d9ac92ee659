"""`rushlight summary path.py:Class --input 1,28,28`: the layers, their output shapes and parameters, as a table."""

from __future__ import annotations

import argparse
from typing import Any

from rushlight.cli import models
from rushlight.cli.errors import UsageError


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("summary", help="print the layers of a network, their output shapes and parameters")
    parser.add_argument("model", help="mlp, cnn, logistic or path.py:Class")
    parser.add_argument("--input", default="1,28,28", help="shape of one sample, such as 3,32,32 (default: 1,28,28)")
    parser.add_argument("--classes", type=int, default=10)
    parser.set_defaults(function=summary)


def summary(options: argparse.Namespace) -> int:
    """Runs the network once on zeros and prints what each layer returned."""
    import rushlight

    try:
        shape = tuple(int(n) for n in options.input.split(","))
    except ValueError:
        raise UsageError(f"--input {options.input!r} is no shape; write it as 3,32,32") from None
    model = models.build(options.model, shape, options.classes).eval()
    rows: list[tuple[str, str, str]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def note(module: Any, _: Any, output: Any) -> None:
        if not any(True for _ in module.children()):
            shown = tuple(output.shape) if hasattr(output, "shape") else type(output).__name__
            own = sum(p.numel() for p in module.parameters(recurse=False))
            rows.append((f"{names[id(module)]} ({type(module).__name__})", str(shown), f"{own:,}"))

    handles = [module.register_forward_hook(note) for module in model.modules()]
    with rushlight.no_grad():
        model(rushlight.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    rows.insert(0, ("layer", "output shape", "parameters"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for number, row in enumerate(rows):
        print(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}")
        if number == 0:
            print("-" * (sum(widths) + 4))
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    size = sum(p.numel() * p.element_size() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    print("-" * (sum(widths) + 4))
    print(f"{total:,} parameters, {trained:,} of them trained, {size / 2**20:.2f} MiB")
    return 0

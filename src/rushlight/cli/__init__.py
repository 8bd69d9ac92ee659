"""The command line: `rushlight train | run | summary | info`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rushlight.cli import info, run, summary, train
from rushlight.cli.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that `arguments` (by default the process's) name; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rushlight", description="Neural networks on NumPy, with PyTorch's names.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in (train, run, summary, info):
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.function(options)
    except UsageError as error:
        print(f"rushlight {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `rushlight info | head -1`
        sys.stderr.close()
        return 1
    return status

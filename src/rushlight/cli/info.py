"""`rushlight info`: what runs here."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("info", help="print the core in use, the thread count and the versions")
    parser.set_defaults(function=show)


def show(_: argparse.Namespace) -> int:
    """Prints versions, the instruction set of the native core, and the thread count."""
    import rushlight
    from rushlight import core

    rows = [
        ("rushlight", rushlight.__version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("machine", f"{platform.system()} {platform.machine()}"),
        ("core", "off: NumPy meanings" if core.native is None else f"native, {core.native.isa}"),
        ("cores built", ", ".join(core.built()) or "none"),
        ("threads", str(rushlight.get_num_threads())),
    ]
    for package in ("numpy", "ml_dtypes", "safetensors", "tqdm", "matplotlib"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = "not installed"
        rows.append((package, version))
    for name, value in rows:
        print(f"{name + ':':<13} {value}")
    return 0

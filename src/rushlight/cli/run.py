"""`rushlight run script.py`: a script written for PyTorch, unchanged, on rushlight."""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.abc
import importlib.machinery
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from rushlight import settings
from rushlight.cli.errors import UsageError
from rushlight.submodules import path_here, path_of_class, spec_of


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("run", help="run a PyTorch script unchanged: its `import torch` imports rushlight")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="given to the script")
    parser.set_defaults(function=run)


_PACKAGES = ("torch", "torchvision")


class TorchFinder(importlib.abc.MetaPathFinder):
    """Finds `torch` and `torch.x.y` as `rushlight` and `rushlight.x.y`, the same module objects; so `torchvision`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        name = path_here(fullname)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            why = str(error) if not str(error).startswith("No module named") else "this part isn't there"
            raise ModuleNotFoundError(f"{fullname} is asked for, and {why}", name=fullname) from None
        return spec_of(fullname, module)


class SpellingFinder(importlib.abc.MetaPathFinder):
    """Finds our modules as they are found anyway, and has their classes called as PyTorch calls them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "rushlight":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                loader: Any = spec.loader  # this module's alone
                loader.exec_module = functools.partial(_execute, loader.exec_module)
                return spec
        return None


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    execute(module)
    _spell(module)


_OURS = ("cli", "compiler", "core", "errors", "io", "ops")  # what PyTorch's users don't see, or know as ours


def _spell(module: ModuleType) -> None:
    """Gives the classes of a module of ours the path that PyTorch has them under, which `print(type(x))` shows."""
    if module.__name__.split(".")[1:2] in ([name] for name in _OURS):
        return
    for item in list(vars(module).values()):
        if isinstance(item, type) and item.__module__ == module.__name__:
            item.__module__ = path_of_class(item)


def torch_is_rushlight() -> None:
    """From now on, `import torch` in this process imports rushlight, unless PyTorch is imported already."""
    if not any(isinstance(finder, TorchFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchFinder())


def spell_as_pytorch() -> None:
    """From now on, for the rest of the process, our classes are called as PyTorch calls them."""
    sys.meta_path.insert(0, SpellingFinder())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "rushlight":
            _spell(module)


def run(options: argparse.Namespace) -> int:
    """Runs the script as `__main__` with `torch` standing for rushlight; an error's traceback begins in the script."""
    if not options.script.is_file():
        raise UsageError(f"{options.script} is no file")
    torch_is_rushlight()
    spell_as_pytorch()
    settings.refusals_run_eagerly = True
    sys.argv = [str(options.script), *options.arguments]
    sys.path.insert(0, str(options.script.resolve().parent))
    try:
        runpy.run_path(str(options.script), run_name="__main__")
    except Exception as error:
        if isinstance(error, ImportError):
            _explain(error)
        part = _from(str(options.script), error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(part), part)
        return 1
    return 0


def _from(script: str, traceback: TracebackType | None) -> TracebackType | None:
    """The part of the traceback that begins in the script; nothing where the script can't be compiled."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename != script:
        traceback = traceback.tb_next
    return traceback


def _explain(error: ImportError) -> None:
    package = (error.name or "").partition(".")[0]
    if package.startswith("torch") and package not in _PACKAGES or package in ("lightning", "pytorch_lightning"):
        error.add_note(
            f"{package} is built on PyTorch's own core and doesn't run on rushlight: read data with NumPy or Pillow "
            "into a torch.utils.data.Dataset, and define the network in the script"
        )
    elif package == "rushlight" and (name := re.match("cannot import name '([^']+)'", str(error))):
        try:
            getattr(sys.modules[error.name or ""], name[1])
        except AttributeError as reason:  # what `from ... import` has replaced
            error.add_note(str(reason))

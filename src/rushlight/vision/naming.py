"""What is said of names of torchvision that aren't here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def missing(module: str, name: str, there: Iterable[str]) -> AttributeError:
    """The error for `module.name`, which tells what is there."""
    names = sorted(there)
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    near = difflib.get_close_matches(name, names, 1, 0.8)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return AttributeError(f"{module} has no {name}; {hint}")

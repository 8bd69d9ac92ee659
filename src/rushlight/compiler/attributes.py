"""Attributes that a compiled function sets to tensors which it makes: `self.attention = weights` in a forward.

So are entries of dictionaries: `activations["conv1"] = output` in a hook. They are results of the program beside those
that the function returns, and each run sets them, to tensors outside the graph. The guards look at what stood there
when the function was traced, not at what a run or the user has put in its place since. So it has to be a tensor whose
memory the function doesn't read: else it would be one that the last call left for this one. Where there is none yet,
the call runs eagerly, and the next one finds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rushlight.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


class Attribute:
    """One of them: the dictionary that it stands in, its name, and what stood there before the trace."""

    def __init__(self, attributes: dict[Any, Any], name: Any, before: Any) -> None:
        self.attributes = attributes
        self.name = name
        self.before = before

    def put_back(self) -> Any:
        """Makes it what it was before the trace, where it is a tensor; what it is now."""
        value = self.attributes.get(self.name)
        if isinstance(value, Tensor):
            self.attributes[self.name] = self.before
        return value

    def set(self, value: Any) -> None:
        """Sets it to what a run has computed, or what it was before it was put back."""
        self.attributes[self.name] = value


class NotYet(Exception):
    """Attributes that the function sets aren't what they will be yet: this call runs eagerly, which makes them so.

    settled: whether the next call will surely find them so.
    """

    def __init__(self, settled: bool = False) -> None:
        super().__init__()
        self.settled = settled


def set_while_tracing(
    dictionaries: Iterable[tuple[dict[Any, Any], dict[Any, Any]]], is_computed: Callable[[Array], bool]
) -> dict[Attribute, Tensor]:
    """The attributes that hold a traced function's tensors now; given are dictionaries, now and as they were before."""
    return {
        Attribute(now, name, before.get(name)): value
        for now, before in dictionaries
        for name, value in now.items()
        if isinstance(value, Tensor) and before.get(name) is not value and is_computed(value.array)
    }


def results_among(found: dict[Attribute, Tensor], read: Sequence[Array], waits: bool) -> dict[Attribute, Tensor]:
    """Those that can be results of the program. `read`: the memory that the function reads.

    Raises NotYet where some aren't tensors yet, and if it `waits` also where the function reads what they are.
    """
    if not all(isinstance(attribute.before, Tensor) for attribute in found):
        raise NotYet
    known = {
        attribute: tensor
        for attribute, tensor in found.items()
        if not any(np.may_share_memory(attribute.before.array, array) for array in read)
    }
    if waits and len(known) < len(found):  # what is a view of a parameter won't be one then
        raise NotYet
    return known

"""Attributes that a compiled function sets to tensors which it makes: `self.attention = weights` in a forward.

So are entries of dictionaries: `activations["conv1"] = output` in a hook. They are results of the program beside those
that the function returns, and each run sets them, to tensors outside the graph. The guards look at what stood there
when the function was traced, not at what a run or the user has put in its place since: at a tensor whose memory the
function doesn't read. Where it does read it, as in `self.state = self.cell(x, self.state)`, what stands there is an
argument beside those that the function is called with: it is *carried* from call to call. Where there is no tensor yet,
the call runs eagerly, and the next one finds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Carried(Exception):
    """Attributes that the function reads and then sets: they are to be arguments, too."""

    def __init__(self, attributes: list[Attribute]) -> None:
        super().__init__()
        self.attributes = attributes


def results_among(found: dict[Attribute, Tensor], read: Sequence[Array], waits: bool) -> dict[Attribute, Tensor]:
    """Those that are results of the program. `read`: the memory that the function reads.

    Raises NotYet where some aren't tensors yet, and if it `waits` also where the function reads what they are (what is
    a parameter now won't be one then); Carried if it doesn't wait.
    """
    if not all(isinstance(attribute.before, Tensor) for attribute in found):
        raise NotYet
    carried = [
        attribute for attribute in found if any(np.may_share_memory(attribute.before.array, array) for array in read)
    ]
    if carried and waits:
        raise NotYet
    if carried:
        raise Carried(carried)
    return found


class Carrying:
    """The attributes that a program takes from one call to the next, as its last arguments."""

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._before = [attribute.before for attribute in attributes]  # tensors, which the gradient may flow into
        self.tensors = [tensor.detach() for tensor in self._before]
        self._attributes = attributes
        self._kinds = [_kind(tensor) for tensor in self.tensors]
        self.names = [str(attribute.name) for attribute in attributes]
        self._places: list[int] = []  # among all attributes that the program sets

    def stand_in(self) -> None:
        """Puts tensors outside the graph in the place of what the attributes are."""
        for attribute, tensor in zip(self._attributes, self.tensors, strict=True):
            attribute.set(tensor)

    def put_back(self) -> None:
        """Makes the attributes what they were."""
        for attribute, tensor in zip(self._attributes, self._before, strict=True):
            attribute.set(tensor)

    def refusal(
        self, found: Sequence[Attribute], tensors: Sequence[Tensor], seen: Mapping[Tensor, int], walked: bool
    ) -> str:
        """The name of one that can't be; "" if all can. Finds the attributes among those that the program sets.

        tensors: the other arguments. seen: what the function can see, and in how many places. walked: whether a
        backward pass has run in the function, so that no gradient flows to an earlier call.
        """
        places = {(id(attribute.attributes), attribute.name): place for place, attribute in enumerate(found)}
        for attribute, tensor, before in zip(self._attributes, self.tensors, self._before, strict=True):
            place = places.get((id(attribute.attributes), attribute.name))
            others = (*tensors, *[other for other in seen if other is not tensor])
            alone = seen[tensor] == 1 and not any(np.may_share_memory(tensor.array, other.array) for other in others)
            if place is None or not alone or (before._requires_grad and not walked):
                return str(attribute.name)
            self._places.append(place)
        return ""

    def take(self, values: Sequence[Any], tensors: Sequence[Tensor]) -> list[Tensor] | None:
        """The arguments, among what the attributes are; None where they aren't of the kinds that they were."""
        found = [values[place] for place in self._places]
        for value, kind in zip(found, self._kinds, strict=True):
            if not isinstance(value, Tensor) or _kind(value) != kind:
                return None
            if any(np.may_share_memory(value.array, other.array) for other in tensors):
                return None
        return found


def _kind(tensor: Tensor) -> Any:
    array = tensor.array
    return array.shape, array.dtype, array.flags.c_contiguous or array.strides, tensor._requires_grad

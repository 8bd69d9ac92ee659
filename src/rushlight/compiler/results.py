"""What a compiled function gives back: its result, and what it has changed in the containers that it was called with.

A tensor that is an argument, or state, or a view of one, or of another result, is that in each call: it shares memory
with it, as in an eager call. Only the others are results of the program.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import is_
from typing import Any, NamedTuple

from rushlight.autograd.eager import refresh
from rushlight.autograd.modes import enable_grad
from rushlight.compiler.structure import (
    TENSOR,
    Packing,
    can_be_made,
    containers_in,
    entries_of,
    is_data,
    rebuild,
    refill,
)
from rushlight.compiler.trace import Trace
from rushlight.ops.declare import Operation
from rushlight.tensor.tensor import Tensor

Views = tuple[tuple[Operation, dict[str, Any]], ...]


class _Way(NamedTuple):
    """How a tensor comes about after a run.

    kind: "computed", "argument" or "before": a tensor that was put together before this one.
    place: which of them. source: a tensor that exists, in their place.
    detached: whether it is outside the graph where that one is in it.
    """

    kind: str
    place: int = 0
    source: Tensor | None = None
    views: Views = ()
    detached: bool = False

    @property
    def is_itself(self) -> bool:
        """Whether it is that tensor, and no other one for its memory."""
        return not self.views and not self.detached


class Arguments:
    """What the traced function is called with: containers of its own, around the tensors that it is given."""

    def __init__(self, args: Any, options: Any, tensors: Sequence[Tensor]) -> None:
        structure = Packing(is_data).take_apart((args, options), [])
        self.args, self.options = rebuild(structure, iter(tensors))
        self.containers = _containers(self.args, self.options)
        self._own = [mine is not its for mine, its in zip(self.containers, _containers(args, options), strict=True)]
        self._before = [entries_of(container) for container in self.containers]

    def changed(self) -> list[int]:
        """Which of the containers hold something else than at the start."""
        return [
            place
            for place, (container, own, before) in enumerate(zip(self.containers, self._own, self._before, strict=True))
            if own and not _same_entries(entries_of(container), before)
        ]


class Results:
    """How the results of a program become those of the function.

    computed: the tensors that the program has to compute. is_one_tensor: whether one of these is the result, as it is.
    """

    def __init__(
        self, result: Any, attributes: Sequence[Tensor], called: Arguments, given: Sequence[Tensor], seen: set[int]
    ) -> None:
        """given: the tensors that the function was called with. seen: what it could see, by identity."""
        packing = Packing(lambda item: id(item) not in seen and can_be_made(item), called.containers)
        tensors: list[Tensor] = []
        self._structure = packing.take_apart(result, tensors)
        self._changed = [(place, packing.contents(called.containers[place], tensors)) for place in called.changed()]
        self._attributes = len(attributes)
        tensors.extend(attributes)
        self.computed: list[Tensor] = []
        self._tensors = tensors
        self._given = given
        self._ways: list[_Way] = []
        self._uses_containers = bool(called.containers)

    def find_ways(self, trace: Trace, seen: Collection[int]) -> None:
        """Finds out what of them the program has to compute. seen: the tensors that the function could see."""
        known = _Known()
        for place, tensor in enumerate(self._given):
            known.add(tensor, _Way("argument", place))
        for tensor, _, _ in trace.met():
            if id(tensor) in seen:
                known.add(tensor, _Way("state", source=tensor))
        for place, tensor in enumerate(self._tensors):
            refresh(tensor)
            for state in (tensor, _root(tensor)):
                if id(state) in seen:
                    known.add(state, _Way("state", source=state))
            way = known.way_to(tensor)
            if way is None:
                way = _Way("computed", len(self.computed))
                self.computed.append(tensor)
            self._ways.append(way)
            known.add(tensor, _Way("before", place))
        self._all_computed = len(self.computed) == len(self._ways)
        self.is_one_tensor = self._structure is TENSOR and self._all_computed and len(self._ways) == 1

    def forget(self) -> None:
        """Lets go of the trace's tensors."""
        self.computed, self._tensors, self._given = [], [], ()

    def put_together(
        self, computed: Sequence[Tensor], tensors: Sequence[Tensor], args: Any, options: Any
    ) -> tuple[Any, list[Tensor]]:
        """The function's result, and the tensors that attributes are to be set to.

        computed: by the program. tensors, args, options: what it was called with.
        """
        if self._all_computed:
            made = list(computed)
        else:
            made = self._made(computed, tensors)
        left = iter(made)
        containers = _containers(args, options) if self._uses_containers else ()
        result = rebuild(self._structure, left, containers)
        for place, contents in self._changed:
            refill(containers[place], rebuild(contents, left, containers))
        return result, list(left)

    def _made(self, computed: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
        made: list[Tensor] = []
        for way in self._ways:
            if way.kind == "computed":
                made.append(computed[way.place])
                continue
            source = way.source
            if source is None:
                source = tensors[way.place] if way.kind == "argument" else made[way.place]
            made.append(source if way.is_itself else _seen_through(source, way))
        return made


class _Known:
    """Tensors that exist when a program has run, and the ways to them."""

    def __init__(self) -> None:
        self._of_memory: dict[int, list[tuple[Tensor, _Way]]] = {}  # by the identity of the root's memory

    def add(self, tensor: Tensor, way: _Way) -> None:
        for array in {id(tensor.array), id(_root(tensor).array)}:
            self._of_memory.setdefault(array, []).append((tensor, way))

    def way_to(self, tensor: Tensor) -> _Way | None:
        """None where there is none, or not one for gradients."""
        root = _root(tensor)
        found: list[tuple[Tensor, _Way]] = [
            *self._of_memory.get(id(tensor.array), ()),
            *self._of_memory.get(id(root.array), ()),
        ]
        for source, way in found:
            if source is tensor:
                return way
            if root is not _root(source) and tensor._requires_grad:
                continue
            if tensor.array is source.array and not tensor._requires_grad:
                return _Way(way.kind, way.place, way.source, detached=True)
            chain, before = tensor._views, source._views
            if len(chain) > len(before) and all(map(is_, chain, before)):
                detached = source._requires_grad and not tensor._requires_grad
                return _Way(way.kind, way.place, way.source, chain[len(before) :], detached)
        return None


def _root(tensor: Tensor) -> Tensor:
    return tensor if tensor._base is None else tensor._base


def _seen_through(source: Tensor, way: _Way) -> Tensor:
    """A view of the source, or the source outside the graph."""
    found = source.detach() if way.detached else source
    with enable_grad():
        for operation, options in way.views:
            found = operation(found, **options)
    return found


def _containers(args: Any, options: Any) -> list[Any]:
    return containers_in((args, tuple(options.values())))


def _same_entries(found: Any, before: Any) -> bool:
    if isinstance(found, list):
        return len(found) == len(before) and all(a is b for a, b in zip(found, before, strict=True))
    return list(found) == list(before) and all(found[name] is before[name] for name in found)

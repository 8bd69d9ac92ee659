"""The `.grad` of leaves around the runs of a program: memory in its arena, for as long as nobody else holds it.

What somebody keeps of the last run's gradients must stay what it was. A tensor that is held elsewhere gets a copy;
where memory is held (a NumPy array, another tensor), the program is to take new memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rushlight.compiler.graph import Input
from rushlight.compiler.program import Program
from rushlight.compiler.watch import Watch
from rushlight.tensor.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]


class Gradients:
    """The gradients that a program leaves at leaves.

    left: for each leaf, what a run leaves there: nothing, memory of the program, or a tensor that existed before.
    """

    def __init__(self, left: Iterable[tuple[Tensor, Input | Tensor | None]]) -> None:
        found = list(left)
        self._made = [(leaf, kept) for leaf, kept in found if isinstance(kept, Input)]
        self._others = [(leaf, None if t is None else t.array) for leaf, t in found if not isinstance(t, Input)]
        self._leaves = [leaf for leaf, _ in self._made]
        self._memories: list[Array] = []
        self._tensors: list[Tensor] = []  # those that were last put there
        self._counts: list[int] = []  # of references to them and to their memory, after the last run; empty: to count
        self._programs = 0
        self._watch = Watch()  # whether all is where the last run has put it
        self._placed = False  # whether a run will find all where it is to leave it

    @property
    def any(self) -> bool:
        """Whether there are leaves whose gradients a run changes or takes away."""
        return bool(self._made or self._others)

    def lie(self, gradients: dict[Input, Array]) -> None:
        """Takes the memory that a program has for them."""
        self._memories = [gradients[kept] for _, kept in self._made]
        self._tensors = [wrap(memory) for memory in self._memories]
        self._counts = []

    def _count(self) -> list[int]:
        return [*map(sys.getrefcount, self._tensors), *map(sys.getrefcount, self._memories)]

    def leave_to_others(self, known_to_others: Callable[[Array], bool]) -> bool:
        """Before a run: gives tensors that are held memory of their own; False where memory itself is held.

        known_to_others: whether another program depends on that memory.
        """
        if not self._leaves:
            self._placed = True
            return True
        counts = self._count()
        self._placed = bool(self._counts) and counts == self._counts and self._watch.same()
        if self._placed or not self._counts:
            return True
        free = True
        size = len(self._leaves)
        for place, (leaf, memory) in enumerate(zip(self._leaves, self._memories, strict=True)):
            tensor = self._tensors[place]
            there, known = leaf._grad is tensor, tensor.array is memory
            of_tensor = counts[place] - self._counts[place] + (not there)
            of_memory = counts[size + place] - self._counts[size + place] + (not known)
            if of_tensor > 0 and known:
                tensor.array = memory.copy()
                self._tensors[place] = wrap(memory)
            # A program that was made since the last run may read it: that is to see what comes.
            if of_memory > 0 and (Program.made == self._programs or not known_to_others(memory)):
                free = False
        self._counts = []
        return free

    def put(self) -> None:
        """After a run: what it has left is the leaves' `.grad`."""
        if not self._placed or self._others:
            self._set()
        if self._leaves and (not self._counts or Program.made != self._programs):
            self._watch = self._watch_places()
            self._counts = self._count()  # while no variable refers to any of them
            self._programs = Program.made

    def _set(self) -> None:
        for leaf, tensor in zip(self._leaves, self._tensors, strict=True):
            leaf._grad = tensor
        for leaf, memory in self._others:
            if memory is None:
                leaf._grad = None
            elif leaf._grad is None or leaf._grad.array is not memory:
                leaf._grad = wrap(memory)

    def _watch_places(self) -> Watch:
        watch = Watch()
        for leaf, tensor in zip(self._leaves, self._tensors, strict=True):
            watch.attributes(leaf, ("_grad",))
            watch.attributes(tensor, ("array",))
        return watch

    def lose(self) -> None:
        """After a run that has failed: what stood there is gone."""
        for leaf, tensor in zip(self._leaves, self._tensors, strict=True):
            if leaf._grad is tensor:
                leaf._grad = None

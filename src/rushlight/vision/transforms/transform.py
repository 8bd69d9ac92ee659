"""What all transforms are: modules that draw what they need, and change an image by it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar

import rushlight as torch
from rushlight import nn


class Transform(nn.Module):
    """Changes an image: a PIL image, or a tensor (..., C, H, W).

    A subclass defines `transform(inpt, params)`, and `make_params([image])` where it draws random numbers.
    """

    _shown: ClassVar[tuple[str, ...]] = ()  # what repr shows
    _shown_unless: ClassVar[dict[str, Any]] = {}  # and what it shows where it isn't this

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is drawn anew for each call."""
        return {}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image, changed by what was drawn."""
        raise NotImplementedError(f"{type(self).__name__} must define transform")

    def _happens(self) -> bool:
        """Whether anything is to be done this time."""
        return True

    def forward(self, img: Any) -> Any:
        return self.transform(img, self.make_params([img])) if self._happens() else img

    def __repr__(self) -> str:
        shown = list(self._shown)
        shown += [name for name, default in self._shown_unless.items() if getattr(self, name) != default]
        return f"{type(self).__name__}({', '.join(f'{name}={_short(getattr(self, name))}' for name in shown)})"


def _short(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class RandomTransform(Transform):
    """A transform that happens with probability `p`."""

    _shown: ClassVar[tuple[str, ...]] = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"`p` should be a floating point value in the interval [0.0, 1.0], not {p}")
        self.p = p

    def _happens(self) -> bool:
        return chance(self.p)


def chance(p: float) -> bool:
    """True with probability `p`."""
    return torch.rand(1).item() < p


def uniform(low: float, high: float) -> float:
    """A number between the two."""
    return torch.empty(1).uniform_(float(low), float(high)).item()


def whole(low: int, high: int) -> int:
    """A whole number from `low` to below `high`."""
    return torch.randint(low, high, (1,)).item()


def pair(value: Any, name: str, lengths: tuple[int, ...] = (2,)) -> list[float]:
    """[-value, value] of a number; a sequence of one of the lengths as it is."""
    if isinstance(value, int | float):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [-float(value), float(value)]
    return [float(number) for number in checked(value, name, lengths)]


def checked(value: Any, name: str, lengths: tuple[int, ...] = (2,)) -> Any:
    """`value`, a sequence of one of the lengths."""
    if not isinstance(value, Sequence) or len(value) not in lengths:
        kind = TypeError if not isinstance(value, Sequence) else ValueError
        raise kind(f"{name} should be a sequence of length {' or '.join(map(str, lengths))}.")
    return value

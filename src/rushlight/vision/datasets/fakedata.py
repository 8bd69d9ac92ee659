"""Random pictures, to try a program with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.tensor import random
from rushlight.vision.datasets.vision import VisionDataset
from rushlight.vision.transforms.functional import to_pil_image


class FakeData(VisionDataset):
    """Pictures of noise with random labels, always the same ones, drawn when they are asked for.

    Args:
        size: how many.
        image_size: (channels, height, width).
        num_classes: labels are below this.
        random_offset: added to a sample's index, which seeds it.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size = size
        self.num_classes = num_classes
        self.image_size = image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= self.size:
            raise IndexError(f"{type(self).__name__}: index {index} of {self.size} samples")
        state = random.get_rng_state()
        random.manual_seed(index + self.random_offset)
        image = random.randn(*self.image_size)
        target = int(random.randint(0, self.num_classes, (1,)))
        random.set_rng_state(state)
        return self._transformed(to_pil_image(image), target)

    def __len__(self) -> int:
        return self.size

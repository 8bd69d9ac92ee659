"""Pictures in folders, one folder for each class: `root/cat/1.png`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rushlight.vision.datasets.vision import Root, VisionDataset
from rushlight.vision.pillow import pillow

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether the name ends in one of the extensions, in small or capital letters."""
    return filename.lower().endswith(extensions if isinstance(extensions, str) else tuple(extensions))


def is_image_file(filename: str) -> bool:
    """Whether the name is that of a picture."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: Root) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in `directory`, in order, and the label of each. Raises FileNotFoundError for none."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: label for label, name in enumerate(classes)}


def make_dataset(
    directory: Root,
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """The samples (path, label) in the folders of the classes, in order of their names.

    Files count that end in one of `extensions`, or for which `is_valid_file` holds. Raises FileNotFoundError where a
    class has none, unless `allow_empty`.
    """
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        class_to_idx = find_classes(directory)[1]
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
    counts = is_valid_file or (lambda path: has_file_allowed_extension(path, extensions or ()))
    samples = []
    empty = []
    for name in sorted(class_to_idx):
        paths = [
            os.path.join(folder, file)
            for folder, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True))
            for file in sorted(files)
        ]
        found = [(path, class_to_idx[name]) for path in paths if counts(path)]
        samples += found
        if not found:
            empty.append(name)
    if empty and not allow_empty:
        message = f"Found no valid file for the classes {', '.join(empty)}. "
        if extensions is not None:
            names = extensions if isinstance(extensions, str) else ", ".join(extensions)
            message += f"Supported extensions are: {names}"
        raise FileNotFoundError(message)
    return samples


class DatasetFolder(VisionDataset):
    """Samples from files in folders, one for each class: `samples` (path, label), `targets`, `classes`, `class_to_idx`.

    Args:
        root: the folder of the classes' folders.
        loader: makes a sample from a path.
        extensions: of the files that count; or else
        is_valid_file: whether the file at a path counts.
        transform: a function of the sample.
        target_transform: a function of the label.
        allow_empty: takes classes without files.
    """

    def __init__(
        self,
        root: Root,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader = loader
        self.extensions = extensions
        self.classes, self.class_to_idx = self.find_classes(self.root or "")
        self.samples = self.make_dataset(
            self.root or "", self.class_to_idx, extensions=extensions, is_valid_file=is_valid_file,
            allow_empty=allow_empty,
        )  # fmt: skip
        self.targets = [label for _, label in self.samples]

    make_dataset = staticmethod(make_dataset)

    def find_classes(self, directory: Root) -> tuple[list[str], dict[str, int]]:
        """The classes and their labels; a subclass may choose others."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self._transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


def pil_loader(path: Root) -> Any:
    """The picture in a file, as a PIL image of mode RGB."""
    with pillow().open(path) as image:
        return image.convert("RGB")


default_loader = pil_loader


class ImageFolder(DatasetFolder):
    """Pictures in folders, one for each class; a sample is a PIL image of mode RGB and an int."""

    def __init__(
        self,
        root: Root,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples

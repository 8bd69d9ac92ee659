"""The pictures of a run: its curves, and predictions on test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rushlight.cli.data_sets import DataSet

_SIDE = 10  # test images along one side of the picture


def draw(folder: Path, history: list[dict[str, Any]], data: DataSet, predictions: np.ndarray[Any, Any]) -> bool:
    """Writes curves.svg and, for images, predictions.png; returns False where matplotlib isn't there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    _save(_curves(Figure(figsize=(9, 3.6), layout="constrained"), history), folder / "curves.svg")
    if len(data.shape) == 3 and data.shape[0] in (1, 3):
        figure = _grid(Figure(figsize=(8, 8.6), layout="constrained"), data, predictions)
        _save(figure, folder / "predictions.png")
    return True


def _save(figure: Any, path: Path) -> None:
    temporary = path.with_name(path.name + ".part")
    figure.savefig(temporary, format=path.suffix[1:], dpi=110)
    temporary.replace(path)


def _curves(figure: Any, history: list[dict[str, Any]]) -> Any:
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, color in (("train", "tab:blue"), ("test", "tab:orange")):
            values = [row[f"{part}_{name}"] for row in history]
            axes.plot(epochs, values, marker=".", color=color, label=f"{part} ({values[-1]:.4f})")
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _grid(figure: Any, data: DataSet, predictions: np.ndarray[Any, Any]) -> Any:
    """A square of test images, the wrongly predicted ones first and in red: predicted, and in brackets the truth."""
    labels = data.test_labels
    wrong = np.flatnonzero(predictions != labels)
    right = np.flatnonzero(predictions == labels)
    chosen = np.concatenate([wrong[: _SIDE * _SIDE // 2], right])[: _SIDE * _SIDE]
    figure.suptitle(
        f"{len(wrong)} of {len(labels)} test images are predicted wrongly (red: predicted, in brackets true)"
    )
    for position, axes in enumerate(figure.subplots(_SIDE, _SIDE).flat):
        axes.axis("off")
        if position >= len(chosen):
            continue
        index = chosen[position]
        image = data.test_samples[index]
        axes.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray_r")
        if predictions[index] == labels[index]:
            axes.set_title(f"{predictions[index]}", fontsize=8, pad=2)
        else:
            axes.set_title(f"{predictions[index]} ({labels[index]})", fontsize=8, pad=2, color="red", weight="bold")
    return figure

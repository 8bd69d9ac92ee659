"""`SummaryWriter`: curves, histograms, pictures, texts, precision and recall, embeddings."""

from __future__ import annotations

import os
import socket
import time
import warnings
import weakref
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np

from rushlight.tensor.tensor import Tensor
from rushlight.utils.tensorboard.events import EventFile, double, doubles, integer, message, png, single, text

Array = np.ndarray[Any, Any]
_FLOAT, _STRING = 1, 7  # dtypes of TensorFlow


def _array(values: Any) -> Array:
    array = values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "biufV":
        raise TypeError(f"numbers are written for TensorBoard, not {type(values).__name__}")
    return array.astype(np.float32) if array.dtype.kind == "V" else array


class SummaryWriter:
    """Writes event files into `log_dir`, by default `runs/DATE_HOST` with `comment`.

    Args:
        purge_step, max_queue: taken for PyTorch's sake.
        flush_secs: how long something may wait to be written.
        filename_suffix: how the files' names end.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            log_dir = os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self._files: dict[str, EventFile] = {}
        self._file(self.log_dir)

    def _file(self, folder: str) -> EventFile:
        if folder not in self._files:
            file = EventFile(folder, self.filename_suffix, self.flush_secs)
            weakref.finalize(self, file.close)  # for those who don't close()
            self._files[folder] = file
        return self._files[folder]

    def _write(self, tag: str, *value: bytes, step: Any, walltime: float | None, folder: str | None = None) -> None:
        step = None if step is None else int(step)
        self._file(folder or self.log_dir).write(message(1, text(1, tag), *value), step, walltime)

    def get_logdir(self) -> str:
        """The folder that is written to."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A point of the curve `tag`. Raises ValueError for a tensor of several elements."""
        array = _array(scalar_value)
        if array.size != 1:
            raise ValueError(f"add_scalar: one number is expected, not a tensor of shape {array.shape}")
        self._write(tag, single(2, float(array.reshape(()))), step=global_step, walltime=walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Points of several curves in one plot; each has a folder of its own."""
        for tag, value in tag_scalar_dict.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            number = single(2, float(_array(value).reshape(())))
            self._write(main_tag, number, step=global_step, walltime=walltime, folder=folder)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """How the values are distributed. Raises ValueError for none."""
        array = _array(values).astype(np.float64).ravel()
        if not array.size:
            raise ValueError("The input has no element.")
        counts, limits = np.histogram(array, _BINS if isinstance(bins, str) and bins == "tensorflow" else bins)
        used = np.flatnonzero(counts)
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, counts.size)
        counts = np.concatenate([[0], counts[first:last]])  # it begins with an empty one, at the least value
        limits = limits[first : last + 1]
        parts = [
            double(number, value)
            for number, value in enumerate((array.min(), array.max(), array.size, array.sum(), array @ array), 1)
        ]
        self._write(
            tag, message(5, *parts, doubles(6, limits), doubles(7, counts)), step=global_step, walltime=walltime
        )

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:  # fmt: skip
        """A picture: bytes, or floating numbers from 0 to 1, its dimensions in the order of `dataformats`."""
        pixels = _pixels(img_tensor, dataformats)
        height, width, channels = pixels.shape
        size = integer(1, height) + integer(2, width) + integer(3, channels)
        self._write(tag, message(4, size, message(4, png(pixels))), step=global_step, walltime=walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:  # fmt: skip
        """Pictures side by side."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_figure(
        self, tag: str, figure: Any, global_step: Any = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """A figure of matplotlib, or a list of them; they are closed afterwards."""
        for one in figure if isinstance(figure, list) else [figure]:
            buffer = BytesIO()
            one.savefig(buffer, format="png", dpi=one.dpi)
            width, height = (int(size) for size in one.get_size_inches() * one.dpi)
            size = integer(1, height) + integer(2, width) + integer(3, 4)
            self._write(tag, message(4, size, message(4, buffer.getvalue())), step=global_step, walltime=walltime)
            if close:
                import matplotlib.pyplot

                matplotlib.pyplot.close(one)

    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """A text in Markdown."""
        tensor = integer(1, _STRING) + message(2, message(2, integer(1, 1))) + text(8, text_string)
        metadata = message(9, message(1, text(1, "text")))
        self._write(f"{tag}/text_summary", metadata, message(8, tensor), step=global_step, walltime=walltime)

    def add_pr_curve(
        self, tag: str, labels: Any, predictions: Any, global_step: Any = None, num_thresholds: int = 127,
        weights: Any = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Precision and recall over thresholds: labels of 0 and 1, and predictions from 0 to 1."""
        truth, scores = _array(labels).ravel().astype(bool), _array(predictions).ravel().astype(np.float64)
        weight = np.ones(truth.size) if weights is None else _array(weights).ravel()
        count = min(num_thresholds, 127)
        bucket = np.floor(scores * (count - 1)).astype(np.int64)
        positive, negative = (
            np.histogram(bucket, count, (0, count - 1), weights=weight * part)[0][::-1].cumsum()[::-1]
            for part in (truth, ~truth)
        )
        table = np.stack([
            positive, negative, negative[0] - negative, positive[0] - positive,
            positive / np.maximum(1e-7, positive + negative), positive / np.maximum(1e-7, positive[0]),
        ])  # fmt: skip
        shape = b"".join(message(2, integer(1, size)) for size in table.shape)
        tensor = integer(1, _FLOAT) + message(2, shape) + message(5, table.astype("<f4").tobytes())
        plugin = message(1, text(1, "pr_curves"), message(2, integer(2, count)))
        self._write(tag, message(9, plugin), message(8, tensor), step=global_step, walltime=walltime)

    def add_hparams(
        self, hparam_dict: dict[str, Any], metric_dict: dict[str, Any], hparam_domain_discrete: Any = None,
        run_name: str | None = None, global_step: Any = None,
    ) -> None:  # fmt: skip
        """Settings, as a table, and what came of them, as curves, in a folder of their own."""
        folder = os.path.join(self.log_dir, run_name or str(time.time()))
        with SummaryWriter(folder) as writer:
            rows = [f"| {name} | {value} |" for name, value in hparam_dict.items()]
            writer.add_text("hparams", "\n".join(["| setting | value |", "| --- | --- |", *rows]), global_step)
            for name, value in metric_dict.items():
                writer.add_scalar(name, value, global_step)

    def add_embedding(
        self, mat: Any, metadata: Any = None, label_img: Any = None, global_step: Any = None, tag: str = "default",
        metadata_header: Any = None,
    ) -> None:  # fmt: skip
        """Points (N, D) for the projector, with a label and a picture (N, C, H, W) for each."""
        step = f"{0 if global_step is None else int(global_step):05}"
        inner = os.path.join(step, tag)
        folder = os.path.join(self.log_dir, inner)
        os.makedirs(folder, exist_ok=True)
        np.savetxt(os.path.join(folder, "tensors.tsv"), _array(mat), "%.9g", delimiter="\t")
        lines = [f'tensor_name: "{tag}:{step}"', f'tensor_path: "{inner}/tensors.tsv"']
        if metadata is not None:
            rows = [list(map(str, row)) if metadata_header else [str(row)] for row in metadata]
            with open(os.path.join(folder, "metadata.tsv"), "w", encoding="utf-8") as file:
                file.writelines("\t".join(row) + "\n" for row in ([metadata_header] if metadata_header else []) + rows)
            lines.append(f'metadata_path: "{inner}/metadata.tsv"')
        if label_img is not None:
            columns = int(np.ceil(np.sqrt(len(label_img))))
            with open(os.path.join(folder, "sprite.png"), "wb") as picture:
                picture.write(png(_pixels(label_img, "NCHW", columns, columns)))
            height, width = _array(label_img).shape[2:]
            lines.append(f'sprite {{ image_path: "{inner}/sprite.png" single_image_dim: {width}')
            lines.append(f"single_image_dim: {height} }}")
        with open(os.path.join(self.log_dir, "projector_config.pbtxt"), "a", encoding="utf-8") as file:
            file.write("\n".join(["embeddings {", *lines, "}", ""]))

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Warns that nothing is drawn; `print(model)` and `rushlight summary` show a model's layers."""
        warnings.warn(
            "add_graph: nothing is drawn; print(model), or rushlight summary, shows the layers of a model", stacklevel=2
        )

    def flush(self) -> None:
        """Writes what waits."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Writes what waits, and ends the files; what is added later goes to new ones."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bins() -> Array:
    """The limits that TensorFlow's histograms have: from 1e-12 on, each a tenth above the one before, both signs."""
    limits = 1e-12 * 1.1 ** np.arange(777)
    return np.concatenate([-limits[::-1], [0.0], limits])


_BINS = _bins()


def _pixels(image: Any, dataformats: str, columns: int = 8, rows: int = 0) -> Array:
    """Bytes (H, W, C) of 1, 3 or 4 channels; many pictures side by side, in as many rows as they need, or more."""
    array, order = _array(image), dataformats.upper()
    if array.ndim != len(order) or len(set(order)) != len(order) or not {"H", "W"} <= set(order) <= set("NCHW"):
        raise ValueError(f"a tensor of shape {array.shape} can't be read as an image of dimensions {dataformats}")
    scale = 1 if array.dtype == np.uint8 else 255
    array = array.transpose([order.index(dim) for dim in "NHWC" if dim in order])
    array = array if "C" in order else array[..., None]
    array = array if "N" in order else array[None]
    if array.shape[3] not in (1, 3, 4):
        raise ValueError(f"an image has 1, 3 or 4 channels, not {array.shape[3]}")
    count, height, width, channels = array.shape
    columns = min(columns, count)
    rows = max(rows, -(-count // columns))
    grid = np.zeros((rows * columns, height, width, channels), array.dtype)
    grid[:count] = array
    joined = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pixels = joined.reshape(rows * height, columns * width, channels)
    clipped: Array = np.clip(pixels * scale, 0, 255).astype(np.uint8)
    return clipped

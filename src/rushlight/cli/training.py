"""One training of a classifier: the loop, its checkpoints, and what it leaves in the run folder."""

from __future__ import annotations

import csv
import functools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rushlight
from rushlight import nn, optim
from rushlight.cli import models, pictures
from rushlight.cli.data_sets import DataSet
from rushlight.cli.errors import UsageError
from rushlight.cli.progress import Progress
from rushlight.tensor import Tensor
from rushlight.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

COLUMNS = (
    "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds", "samples_per_second",
)  # fmt: skip


class Training:
    """Trains the network that `settings` name on `data`, epoch by epoch.

    The order of the samples in an epoch depends on the seed and the epoch's number alone, so that a resumed run goes
    on in the middle of an epoch and ends with the same bits as one that wasn't interrupted.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], data: DataSet) -> None:
        self.folder = folder
        self.settings = settings
        self.data = data
        self.stopping = False  # set by Ctrl-C; the step at work is finished first
        rushlight.manual_seed(settings["seed"])
        self.model = models.build(settings["model"], data.shape, data.classes)
        parameters = list(self.model.parameters())
        if not parameters:
            raise UsageError(f"--model {settings['model']} has no parameters to train")
        classes: dict[str, Callable[..., optim.Optimizer]] = {
            "sgd": functools.partial(optim.SGD, momentum=0.9),
            "adam": optim.Adam,
            "adamw": optim.AdamW,
            "rmsprop": optim.RMSprop,
            "adagrad": optim.Adagrad,
        }
        self.optimizer = classes[settings["optimizer"]](parameters, lr=settings["lr"])
        self.loss = nn.CrossEntropyLoss()
        self.train_set = TensorDataset(
            rushlight.from_numpy(data.train_samples), rushlight.from_numpy(data.train_labels)
        )
        self.test_set = TensorDataset(rushlight.from_numpy(data.test_samples), rushlight.from_numpy(data.test_labels))
        self.history: list[dict[str, Any]] = []  # a row of the metrics for each finished epoch
        self.batches_done = 0  # of the epoch at work
        self.sums = {"loss": 0.0, "correct": 0, "seconds": 0.0}  # over those batches

    def run(self) -> bool:
        """Trains the epochs that lack; returns False where Ctrl-C stopped it, with everything saved."""
        with Progress(self.settings["epochs"], len(self.train_set)) as progress:
            while len(self.history) < self.settings["epochs"]:
                if not self._epoch(progress):
                    self.save()
                    return False
                self.save()
        return True

    def _epoch(self, progress: Progress) -> bool:
        epoch = len(self.history)
        size = self.settings["batch_size"]
        order = rushlight.Generator()
        order.manual_seed(self.settings["seed"] * 1_000_003 + epoch)
        batches = list(BatchSampler(RandomSampler(self.train_set, generator=order), size, drop_last=False))
        loader = DataLoader(self.train_set, batch_sampler=batches[self.batches_done :], generator=order)
        self.model.train()
        done = min(self.batches_done * size, len(self.train_set))
        progress.start(epoch, done)
        for samples, labels in loader:
            began = time.perf_counter()
            self._set_learning_rate(epoch + self.batches_done / len(batches))
            logits = self._logits(samples)
            loss = self.loss(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            count = len(labels)
            self.sums["loss"] += loss.item() * count
            self.sums["correct"] += int((logits.argmax(1) == labels).sum().item())
            self.sums["seconds"] += time.perf_counter() - began
            self.batches_done += 1
            done += count
            progress.step(count, self.sums["loss"] / done, self.sums["correct"] / done)
            if self.stopping and self.batches_done < len(batches):
                return False
        test_loss, predictions = self.evaluate()
        row = {
            "epoch": epoch + 1,
            "train_loss": self.sums["loss"] / done,
            "train_accuracy": self.sums["correct"] / done,
            "test_loss": test_loss,
            "test_accuracy": float(np.mean(predictions == self.data.test_labels)),
            "seconds": self.sums["seconds"],
            "samples_per_second": done / max(self.sums["seconds"], 1e-9),
        }
        self.history.append(row)
        self.batches_done = 0
        self.sums = {"loss": 0.0, "correct": 0, "seconds": 0.0}
        progress.end(row)
        return not (self.stopping and len(self.history) < self.settings["epochs"])

    def _set_learning_rate(self, epochs_done: float) -> None:
        """Half a cosine from the rate of the settings to 0: the last epochs settle what the first have found."""
        rate = self.settings["lr"] * 0.5 * (1 + math.cos(math.pi * epochs_done / self.settings["epochs"]))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _logits(self, samples: Tensor) -> Tensor:
        logits = self.model(samples)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < self.data.classes:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"--model {self.settings['model']}: for a batch of shape {tuple(samples.shape)} it returned {got}; a "
                f"classifier of {self.data.classes} classes must return ({len(samples)}, {self.data.classes})"
            )
        return logits

    @rushlight.no_grad()
    def evaluate(self) -> tuple[float, np.ndarray[Any, Any]]:
        """Mean loss on the test set, and the predicted classes."""
        self.model.eval()
        total = 0.0
        predictions = []
        for samples, labels in DataLoader(self.test_set, batch_size=256, generator=rushlight.Generator()):
            logits = self._logits(samples)
            total += self.loss(logits, labels).item() * len(labels)
            predictions.append(logits.argmax(1).numpy())
        return total / len(self.test_set), np.concatenate(predictions)

    def save(self) -> None:
        """Writes the model, what resuming needs, and the metrics; each file is whole at every moment."""
        rushlight.save(self.model.state_dict(), self.folder / "model.safetensors")
        checkpoint = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": rushlight.get_rng_state(),
            "history": self.history,
            "batches_done": self.batches_done,
            "sums": self.sums,
        }
        rushlight.save(checkpoint, self.folder / "checkpoint.pt")
        _write_text(self.folder / "settings.json", json.dumps(self.settings, indent=2) + "\n")
        temporary = self.folder / "metrics.csv.part"
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.history)
        os.replace(temporary, self.folder / "metrics.csv")

    def resume(self) -> None:
        """Takes over the state that `save` left."""
        path = self.folder / "checkpoint.pt"
        try:
            checkpoint = rushlight.load(path)
            self.model.load_state_dict(checkpoint["model"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            rushlight.set_rng_state(checkpoint["random"])
            self.history = checkpoint["history"]
            self.batches_done = checkpoint["batches_done"]
            self.sums = checkpoint["sums"]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise UsageError(f"{path} can't be resumed from: {error}") from None

    def finish(self) -> None:
        """Draws the pictures, or says what to install for them."""
        _, predictions = self.evaluate()
        drawn = pictures.draw(self.folder, self.history, self.data, predictions)
        if not drawn:
            print("for pictures and a progress bar: pip install 'rushlight[train]'")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    os.replace(temporary, path)

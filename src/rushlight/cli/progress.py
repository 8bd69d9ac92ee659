"""How a training shows its progress: a bar where there is a terminal and tqdm, else a line for each epoch."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Reports the epochs of a training."""

    def __init__(self, epochs: int, samples: int) -> None:
        self.epochs = epochs
        self.samples = samples
        self._bar: Any = None
        self._tqdm: Any = None
        self._shown = 0.0
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                pass
            else:
                self._tqdm = tqdm

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def start(self, epoch: int, done: int) -> None:
        """An epoch begins (counted from 0), `done` of its samples behind it."""
        if self._tqdm is not None:
            self._bar = self._tqdm(
                total=self.samples,
                initial=done,
                desc=f"epoch {epoch + 1}/{self.epochs}",
                unit=" samples",
                unit_scale=True,
                leave=False,
            )

    def step(self, count: int, loss: float, accuracy: float) -> None:
        """`count` samples more; loss and accuracy are means over the epoch so far."""
        if self._bar is not None:
            self._bar.update(count)
            now = time.monotonic()
            if now - self._shown > 0.1:
                self._shown = now
                self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.4f}")

    def end(self, row: dict[str, Any]) -> None:
        """The epoch ended with these metrics."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        print(
            f"epoch {row['epoch']:>2}/{self.epochs}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}"
            f"  test loss {row['test_loss']:.4f}  test accuracy {row['test_accuracy']:.4f}"
            f"  {row['samples_per_second']:,.0f} samples/s",
            flush=True,
        )

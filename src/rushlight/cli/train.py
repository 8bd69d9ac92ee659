"""`rushlight train`: trains a classifier, shows how it goes, and leaves a run folder."""

from __future__ import annotations

import argparse
import datetime
import json
import signal
from pathlib import Path
from typing import Any

from rushlight.cli import data_sets
from rushlight.cli.errors import UsageError

OPTIMIZERS = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2}
"""The optimizers by name, with their default learning rates."""

SETTINGS = ("data", "root", "model", "optimizer", "lr", "batch_size", "epochs", "seed")
"""The options that decide what a run computes; a resumed run takes them over."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network on images and leave a run folder",
        description="Trains a classifier and leaves a run folder: model.safetensors, checkpoint.pt (to resume from), "
        "metrics.csv, and pictures of the curves and of predictions. Ctrl-C saves and stops.",
    )
    parser.add_argument("--out", type=Path, help="the run folder (default: runs/<time>)")
    parser.add_argument("--data", default="digits", help="digits (in the package), mnist, a .csv or a .npz file")
    parser.add_argument("--root", type=Path, help="folder of the data files")
    parser.add_argument("--model", default="mlp", help="mlp, cnn, logistic or path.py:Class (default: mlp)")
    parser.add_argument("--optimizer", default="adam", choices=OPTIMIZERS)
    parser.add_argument("--lr", type=float, help="first learning rate (default: the optimizer's usual one)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, help="default: 30 for the digits, 5 for others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.set_defaults(function=train)


def train(options: argparse.Namespace) -> int:
    """Runs the command; returns 0, or 130 after Ctrl-C."""
    from rushlight.cli.training import Training

    settings = _settings(options)
    folder = options.resume or options.out
    if folder is None:
        folder = Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    if options.resume is None and (folder / "checkpoint.pt").exists():
        raise UsageError(f"{folder} already holds a run: go on with it (--resume {folder}), or name another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the run folder can't be made: {error}") from None

    data = data_sets.load(settings["data"], None if settings["root"] is None else Path(settings["root"]))
    training = Training(folder, settings, data)
    if options.resume is not None:
        training.resume()
    print(
        f"{settings['model']} on {data.name}: {len(data.train_labels):,} samples of shape {data.shape} to train on, "
        f"{len(data.test_labels):,} to test, {data.classes} classes; run folder {folder}",
        flush=True,
    )

    def stop(*_: Any) -> None:
        training.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C doesn't wait

    before = signal.signal(signal.SIGINT, stop)
    try:
        finished = training.run()
    finally:
        signal.signal(signal.SIGINT, before)
    if not finished:
        print(f"\nstopped and saved; go on with: rushlight train --resume {folder}")
        return 130
    training.finish()
    print(f"test accuracy: {training.history[-1]['test_accuracy']:.4f}" if training.history else "nothing to train")
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The run's settings: from the command line, or of the run that is resumed (of which --epochs may be raised)."""
    if options.resume is not None:
        try:
            settings: dict[str, Any] = json.loads((options.resume / "settings.json").read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"--resume {options.resume} holds no run that can go on: {error}") from None
        if set(settings) != set(SETTINGS):
            raise UsageError(f"--resume {options.resume}: settings.json lacks {sorted(set(SETTINGS) - set(settings))}")
        if options.epochs is not None:
            settings["epochs"] = options.epochs
    else:
        settings = {name: getattr(options, name) for name in SETTINGS}
        settings["root"] = None if options.root is None else str(options.root)
        if settings["lr"] is None:
            settings["lr"] = OPTIMIZERS[options.optimizer]
        if settings["epochs"] is None:
            settings["epochs"] = 30 if options.data == "digits" else 5
    if settings["epochs"] < 1:
        raise UsageError(f"--epochs {settings['epochs']}: train for at least one epoch")
    if settings["batch_size"] < 1:
        raise UsageError(f"--batch-size {settings['batch_size']}: a batch has at least one sample")
    if not settings["lr"] > 0:
        raise UsageError(f"--lr {settings['lr']}: the learning rate must be above 0")
    return settings

"""The networks that `rushlight train` knows, and those of the user's files."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

from rushlight import nn
from rushlight.cli.errors import UsageError
from rushlight.cli.run import torch_is_rushlight
from rushlight.tensor import Tensor


class NeuralNetwork(nn.Module):
    """The tutorial's fully connected network: two hidden layers of 512 with ReLU."""

    def __init__(self, inputs: int = 28 * 28, classes: int = 10) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(inputs, 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_relu_stack(self.flatten(x))  # type: ignore[no-any-return]


class LogisticRegression(nn.Module):
    """One linear layer from pixels to classes."""

    def __init__(self, inputs: int = 28 * 28, classes: int = 10) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.flatten(x))  # type: ignore[no-any-return]


class ConvolutionalNetwork(nn.Module):
    """Two 5x5 convolutions with batch norm and pooling, then a linear layer."""

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        channels, height, width = shape
        if height < 4 or width < 4:
            raise UsageError(f"--model cnn pools twice by 2, images of {height}x{width} are too small for it")
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * (height // 4) * (width // 4), classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))  # type: ignore[no-any-return]


def build(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network `name` for samples of `shape`: mlp, cnn, logistic or path.py:Class (made without arguments)."""
    if name == "mlp":
        return NeuralNetwork(math.prod(shape), classes)
    if name == "logistic":
        return LogisticRegression(math.prod(shape), classes)
    if name == "cnn":
        if len(shape) != 3:
            raise UsageError(f"--model cnn needs images (channels, height, width); these samples have shape {shape}")
        return ConvolutionalNetwork(shape, classes)
    if ":" in name:
        return user_class(name)()  # type: ignore[no-any-return]
    raise UsageError(f"--model {name} is not known: it may be mlp, cnn, logistic or path.py:Class")


def user_class(name: str) -> Any:
    """The class that `path.py:Class` names; the file is run to get it, and its `import torch` imports rushlight."""
    path, _, class_name = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{path} (of {name}) is no file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.resolve().parent))
    torch_is_rushlight()
    spec.loader.exec_module(module)
    found = getattr(module, class_name, None)
    if found is None:
        names = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, nn.Module)]
        raise UsageError(f"{path} has no {class_name}; the modules there are {', '.join(names) or 'none'}")
    return found

"""`torchvision.datasets`: the data sets that tutorials train on, with torchvision's signatures and folders."""

from typing import Any

from rushlight.vision.datasets.cifar import CIFAR10 as CIFAR10
from rushlight.vision.datasets.cifar import CIFAR100 as CIFAR100
from rushlight.vision.datasets.fakedata import FakeData as FakeData
from rushlight.vision.datasets.folder import DatasetFolder as DatasetFolder
from rushlight.vision.datasets.folder import ImageFolder as ImageFolder
from rushlight.vision.datasets.mnist import EMNIST as EMNIST
from rushlight.vision.datasets.mnist import KMNIST as KMNIST
from rushlight.vision.datasets.mnist import MNIST as MNIST
from rushlight.vision.datasets.mnist import FashionMNIST as FashionMNIST
from rushlight.vision.datasets.vision import VisionDataset as VisionDataset
from rushlight.vision.naming import missing

__all__ = ["CIFAR10", "CIFAR100", "DatasetFolder", "EMNIST", "FakeData", "FashionMNIST", "ImageFolder", "KMNIST",
           "MNIST", "VisionDataset"]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, __all__)

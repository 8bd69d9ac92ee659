"""The workloads, written once in PyTorch's names and run with either library.

Each builder takes the library's namespace and returns a Workload: the network (whose weights the runner makes equal),
and `step`, one training step or inference, which returns the loss (or a checksum) as a tensor. Networks whose builder
is asked for `channels_last` put themselves and their inputs into that memory format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Workload:
    """`modules` are given the same weights in every library; `step` runs once and returns a tensor of one element."""

    modules: list[Any]
    step: Callable[[], Any]


Builders = dict[str, Callable[..., Workload]]
BUILDERS: Builders = {}  # the ten that design.md names
FURTHER: Builders = {}  # benchmarks/further.py
TINY = "Linear(4,3)-ReLU-Linear(3,1), batch 32, SGD"


def workload(name: str, table: Builders = BUILDERS) -> Callable[[Callable[..., Workload]], Callable[..., Workload]]:
    def register(builder: Callable[..., Workload]) -> Callable[..., Workload]:
        table[name] = builder
        return builder

    return register


def normal(torch: Any, *shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def labels(torch: Any, count: int, classes: int, seed: int = 1) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, count))


def training(torch: Any, net: Any, optimizer: Any, x: Any, y: Any, loss_of: Any, clip: float | None = None) -> Workload:
    """`clip`: the norm to which gradients are clipped."""

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        return loss

    return Workload([net], step)


def _mlp(nn: Any) -> Any:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


@workload("MLP 784-512-512-10, batch 64, SGD")
def mlp_sgd(torch: Any, channels_last: bool = False) -> Workload:
    net = _mlp(torch.nn)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return training(
        torch, net, optimizer, normal(torch, 64, 1, 28, 28), labels(torch, 64, 10), torch.nn.functional.cross_entropy
    )


@workload("MLP 784-512-512-10, batch 64, Adam")
def mlp_adam(torch: Any, channels_last: bool = False) -> Workload:
    net = _mlp(torch.nn)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    return training(
        torch, net, optimizer, normal(torch, 64, 1, 28, 28), labels(torch, 64, 10), torch.nn.functional.cross_entropy
    )


@workload(TINY)
def tiny(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return training(
        torch, net, optimizer, normal(torch, 32, 4), normal(torch, 32, 1, seed=1), torch.nn.functional.mse_loss
    )


def formatted(torch: Any, channels_last: bool, *things: Any) -> list[Any]:
    if not channels_last:
        return list(things)
    return [thing.to(memory_format=torch.channels_last) for thing in things]


@workload("CNN 28x28, 5x5 conv 32 and 64, batch norm, batch 64, SGD")
def cnn(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    )
    net, x = formatted(torch, channels_last, net, normal(torch, 64, 1, 28, 28))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return training(torch, net, optimizer, x, labels(torch, 64, 10), torch.nn.functional.cross_entropy)


def _basic_block(nn: Any, inputs: int, outputs: int, stride: int) -> Any:
    class BasicBlock(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = None
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            identity = x if self.downsample is None else self.downsample(x)
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += identity
            return self.relu(out)

    return BasicBlock()


def _resnet18(nn: Any, small_images: bool, classes: int) -> Any:
    stem = (
        [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
        if small_images
        else [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
    )
    blocks = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [_basic_block(nn, inputs, outputs, stride), _basic_block(nn, outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


@workload("ResNet-18 for 32x32, batch 32, SGD")
def resnet18(torch: Any, channels_last: bool = False) -> Workload:
    net = _resnet18(torch.nn, True, 10)
    net, x = formatted(torch, channels_last, net, normal(torch, 32, 3, 32, 32))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return training(torch, net, optimizer, x, labels(torch, 32, 10), torch.nn.functional.cross_entropy)


def transformer_block(torch: Any, width: int, heads: int, causal: bool = True) -> Any:
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.project = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.project(attended.transpose(1, 2).reshape(batch, length, width))
            return x + self.mlp(self.norm2(x))

    return Block()


@workload("4 transformer blocks, d 256, 16 x 128 tokens, AdamW")
def transformer(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional
    net = nn.Sequential(
        nn.Embedding(128, 256),
        *[transformer_block(torch, 256, 4) for _ in range(4)],
        nn.LayerNorm(256),
        nn.Linear(256, 128),
    )
    tokens = labels(torch, 16 * 129, 128).reshape(16, 129)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    return training(
        torch,
        net,
        optimizer,
        tokens[:, :-1],
        tokens[:, 1:].reshape(-1),
        lambda logits, y: F.cross_entropy(logits.reshape(-1, 128), y),
    )


@workload("chain of norms, activations and pooling, 64x64x56x56")
def chain(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.GroupNorm(8, 64),
        nn.GELU(),
        nn.MaxPool2d(3, 2, 1),
        nn.InstanceNorm2d(64, affine=True),
        nn.SiLU(),
        nn.AvgPool2d(2),
    )
    net, x = formatted(torch, channels_last, net, normal(torch, 64, 64, 56, 56))
    x.requires_grad_(True)

    def step() -> Any:
        net.zero_grad()
        x.grad = None
        loss = net(x).square().mean()
        loss.backward()
        return loss

    return Workload([net], step)


@workload("DCGAN 32x32, batch 64, two Adams")
def dcgan(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional
    generator = nn.Sequential(
        nn.ConvTranspose2d(64, 256, 4, 1, 0, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(True),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(True),
        nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(3, 64, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(256, 1, 4, 1, 0, bias=False),
        nn.Flatten(),
    )
    real, noise = normal(torch, 64, 3, 32, 32), normal(torch, 64, 64, 1, 1, seed=1)
    generator, discriminator, real = formatted(torch, channels_last, generator, discriminator, real)
    of_generator = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_discriminator = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

    def step() -> Any:
        of_discriminator.zero_grad()
        fake = generator(noise)
        loss = F.binary_cross_entropy_with_logits(discriminator(real), ones)
        loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), zeros)
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        deceived = F.binary_cross_entropy_with_logits(discriminator(fake), ones)
        deceived.backward()
        of_generator.step()
        return loss + deceived

    return Workload([generator, discriminator], step)


def _inference(torch: Any, net: Any, x: Any) -> Workload:
    net.eval()

    def step() -> Any:
        with torch.no_grad():
            return net(x).square().sum()

    return Workload([net], step)


@workload("inference: MLP, batch 1")
def mlp_inference(torch: Any, channels_last: bool = False) -> Workload:
    return _inference(torch, _mlp(torch.nn), normal(torch, 1, 1, 28, 28))


@workload("inference: ResNet-18 for 224x224, batch 1")
def resnet18_inference(torch: Any, channels_last: bool = False) -> Workload:
    net = _resnet18(torch.nn, False, 1000)
    net, x = formatted(torch, channels_last, net, normal(torch, 1, 3, 224, 224))
    return _inference(torch, net, x)

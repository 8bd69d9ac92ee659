"""More workloads, of the kinds that the ten of workloads.py leave out: odd sizes, depthwise, dilated, 1-d and 3-d
convolutions, skips across resolutions, patches, few and many channels, attention by hand, recurrent networks.
`python -m benchmarks --further` runs them.
"""

from __future__ import annotations

from typing import Any

from benchmarks.workloads import FURTHER, Workload, formatted, labels, normal, training, transformer_block, workload


@workload("U-Net 64x64, 16 to 128 channels, batch 8, Adam", FURTHER)
def unet(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional

    def twice(inputs: int, outputs: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    class UNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            widths = (16, 32, 64, 128)
            self.down = nn.ModuleList([twice(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1]])
            self.join = nn.ModuleList([twice(2 * w, w) for w in widths[-2::-1]])
            self.head = nn.Conv2d(widths[0], 2, 1)

        def forward(self, x: Any) -> Any:
            skips = []
            for index, block in enumerate(self.down):
                x = block(x if index == 0 else F.max_pool2d(x, 2))
                skips.append(x)
            for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
                x = join(torch.cat([skip, up(x)], 1))
            return self.head(x)

    net, x = formatted(torch, channels_last, UNet(), normal(torch, 8, 3, 64, 64))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    return training(torch, net, optimizer, x, labels(torch, 8 * 64 * 64, 2).reshape(8, 64, 64), F.cross_entropy)


@workload("ViT 32x32, patches of 4, d 192, 6 blocks, batch 16, AdamW", FURTHER)
def vit(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn

    class ViT(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 192, 4, 4)
            self.token = nn.Parameter(torch.zeros(1, 1, 192))
            self.position = nn.Parameter(torch.zeros(1, 65, 192))
            self.blocks = nn.Sequential(*[transformer_block(torch, 192, 3, causal=False) for _ in range(6)])
            self.norm = nn.LayerNorm(192)
            self.head = nn.Linear(192, 10)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
            return self.head(self.norm(self.blocks(x))[:, 0])

    net, x = formatted(torch, channels_last, ViT(), normal(torch, 16, 3, 32, 32))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    return training(torch, net, optimizer, x, labels(torch, 16, 10), torch.nn.functional.cross_entropy)


@workload("inverted bottlenecks (depthwise) 56x56, batch 8, SGD", FURTHER)
def depthwise(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            wide = 6 * inputs
            self.residual = stride == 1 and inputs == outputs
            self.layers = nn.Sequential(
                nn.Conv2d(inputs, wide, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(inplace=True),
                nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(inplace=True),
                nn.Conv2d(wide, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.residual else self.layers(x)

    sizes = ((16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(inplace=True),
        *[Block(*size) for size in sizes],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.0),
        nn.Linear(64, 10),
    )
    net, x = formatted(torch, channels_last, net, normal(torch, 8, 3, 112, 112))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return training(torch, net, optimizer, x, labels(torch, 8, 10), torch.nn.functional.cross_entropy)


@workload("dilated 1-d convolutions, 48 channels, length 1000, batch 16, Adam", FURTHER)
def dilated(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(1, 48, 1)
            self.layers = nn.ModuleList([nn.Conv1d(48, 48, 3, dilation=2**i, padding=2**i) for i in range(6)])
            self.last = nn.Conv1d(48, 1, 1)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            for layer in self.layers:
                x = x + F.relu(layer(x))
            return self.last(x)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    return training(torch, net, optimizer, normal(torch, 16, 1, 1000), normal(torch, 16, 1, 1000, seed=1), F.mse_loss)


@workload("3-d convolutions, 16x32x32 volumes, batch 4, Adam", FURTHER)
def volumes(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(16, 32, 3, padding=1),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    x = normal(torch, 4, 1, 16, 32, 32)
    return training(torch, net, optimizer, x, labels(torch, 4, 5), torch.nn.functional.cross_entropy)


@workload("LeNet with odd sizes, 29x31, batch 33, SGD", FURTHER)
def odd(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 7, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(7, 19, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(19 * 5 * 6, 121),
        nn.ReLU(),
        nn.Linear(121, 11),
    )
    net, x = formatted(torch, channels_last, net, normal(torch, 33, 3, 29, 31))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return training(torch, net, optimizer, x, labels(torch, 33, 11), torch.nn.functional.cross_entropy)


@workload("VGG-like 64x64, batch 8, Adam", FURTHER)
def vgg(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    layers: list[Any] = []
    inputs = 3
    for outputs in (64, 64, 0, 128, 128, 0, 256, 256, 0):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)] if outputs else [nn.MaxPool2d(2)]
        inputs = outputs or inputs
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 8 * 8, 256), nn.ReLU(), nn.Linear(256, 10))
    net, x = formatted(torch, channels_last, net, normal(torch, 8, 3, 64, 64))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    return training(torch, net, optimizer, x, labels(torch, 8, 10), torch.nn.functional.cross_entropy)


@workload("axial attention by hand, heads in the batch, 16x16 positions of 64, batch 4, Adam", FURTHER)
def axial(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.query, self.memory = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
            self.out = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            batch, length, width = x.shape
            features = width // self.heads

            def split(y: Any) -> Any:
                y = y.reshape(batch, length, self.heads, features).transpose(1, 2)
                return y.reshape(batch * self.heads, length, features)

            q, k, v = map(split, (self.query(x), *self.memory(x).chunk(2, -1)))
            weights = (torch.bmm(q, k.transpose(1, 2)) * features**-0.5).softmax(-1)
            y = torch.bmm(weights, v).reshape(batch, self.heads, length, features).transpose(1, 2)
            return self.out(y.reshape(batch, length, width))

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, width: int) -> None:
            super().__init__()
            self.rows, self.columns = Attention(width, 4), Attention(width, 4)
            self.before_rows, self.before_columns = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            batch, height, width, features = x.shape
            x = x + self.rows(self.before_rows(x).flatten(0, 1)).reshape(x.shape)
            y = self.columns(self.before_columns(x).transpose(1, 2).flatten(0, 1))
            return x + y.reshape(batch, width, height, features).transpose(1, 2)

    net = nn.Sequential(nn.Linear(12, 64), *[Block(64) for _ in range(3)], nn.Linear(64, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, y = normal(torch, 4, 16, 16, 12), normal(torch, 4, 16, 16, 3, seed=1)
    return training(torch, net, optimizer, x, y, torch.nn.functional.mse_loss)


@workload("LSTM language model, 2 layers of 256, 64 x 16 tokens, Adam", FURTHER)
def language_model(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 256)
            self.layers = nn.LSTM(256, 256, 2)
            self.head = nn.Linear(256, 1000)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.layers(self.embedding(tokens))[0]).flatten(0, 1)

    net = Model()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    tokens = labels(torch, 64 * 16, 1000, seed=0).reshape(64, 16)
    return training(
        torch, net, optimizer, tokens, labels(torch, 64 * 16, 1000), torch.nn.functional.cross_entropy, clip=0.5
    )


@workload("bidirectional GRU of 128, 100 steps, batch 32, Adam", FURTHER)
def bidirectional(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn

    class Classifier(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(40, 128, batch_first=True, bidirectional=True)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.layer(x)[0].mean(1))

    net = Classifier()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    x = normal(torch, 32, 100, 40)
    return training(torch, net, optimizer, x, labels(torch, 32, 10), torch.nn.functional.cross_entropy)


@workload("translation with cells and attention, 20 + 20 steps of 128, batch 32, Adam", FURTHER)
def translation(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional

    class Translator(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(500, 128), nn.Embedding(500, 128)
            self.encoder, self.decoder = nn.GRUCell(128, 128), nn.LSTMCell(256, 128)
            self.head = nn.Linear(256, 500)

        def forward(self, tokens: Any) -> Any:
            h = torch.zeros(tokens.shape[1], 128)
            states = []
            for x in self.source(tokens):
                h = self.encoder(x, h)
                states.append(h)
            memory = torch.stack(states, 1)
            c, context, results = torch.zeros_like(h), torch.zeros_like(h), []
            for x in self.target(tokens):
                h, c = self.decoder(torch.cat([x, context], 1), (h, c))
                weights = torch.softmax((memory @ h.unsqueeze(2)).squeeze(2), 1)
                context = (weights.unsqueeze(1) @ memory).squeeze(1)
                results.append(self.head(torch.cat([h, context], 1)))
            return torch.stack(results).flatten(0, 1)

    net = Translator()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    tokens = labels(torch, 20 * 32, 500, seed=0).reshape(20, 32)
    return training(torch, net, optimizer, tokens, labels(torch, 20 * 32, 500), F.cross_entropy)


@workload("variational autoencoder 784-400-20, batch 128, Adam", FURTHER)
def autoencoder(torch: Any, channels_last: bool = False) -> Workload:
    nn, F = torch.nn, torch.nn.functional

    class VAE(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.mean, self.deviation = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.back, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

        def forward(self, x: Any) -> Any:
            h = F.relu(self.hidden(x))
            mean, log_variance = self.mean(h), self.deviation(h)
            z = mean + noise * torch.exp(0.5 * log_variance)
            return torch.sigmoid(self.out(F.relu(self.back(z)))), mean, log_variance

    def loss(result: Any, x: Any) -> Any:
        image, mean, log_variance = result
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return F.binary_cross_entropy(image, x, reduction="sum") + divergence

    net, x, noise = VAE(), torch.sigmoid(normal(torch, 128, 784)), normal(torch, 128, 20, seed=1)
    return training(torch, net, torch.optim.Adam(net.parameters(), lr=1e-4), x, x, loss)


@workload("inference: depthwise and pointwise 1x32x112x112", FURTHER)
def depthwise_inference(torch: Any, channels_last: bool = False) -> Workload:
    nn = torch.nn
    net = nn.Sequential(
        *[
            layer
            for _ in range(4)
            for layer in (
                nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Conv2d(32, 32, 1, bias=False),
                nn.BatchNorm2d(32),
                nn.ReLU(),
            )
        ]
    ).eval()
    net, x = formatted(torch, channels_last, net, normal(torch, 1, 32, 112, 112))

    def step() -> Any:
        with torch.no_grad():
            return net(x).square().sum()

    return Workload([net], step)

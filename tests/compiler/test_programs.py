"""Programs as people write them, eager and compiled, step by step: architectures, training tricks, ways to call."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from compiled_comparison import batch, classes, mlp, numbers, same_as_eager, step_of

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F

# Architectures


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([self.block(1, 4), self.block(4, 8)])
        self.middle = self.block(8, 8)
        self.rise = nn.ModuleList([nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)])
        self.up = nn.ModuleList([self.block(16, 4), self.block(8, 4)])
        self.out = nn.Conv2d(4, 1, 1)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, x: Any) -> Any:
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for rise, block in zip(self.rise, self.up, strict=True):
            x = block(rl.cat([rise(x), kept.pop()], dim=1))
        return self.out(x)


def u_net() -> Any:
    net = UNet()
    optimizer = optim.AdamW(net.parameters(), lr=1e-2)
    return step_of(net, optimizer, F.binary_cross_entropy_with_logits), net, optimizer


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(rl.randn(1, 1, 16) * 0.02)
        self.position = nn.Parameter(rl.randn(1, 5, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = rl.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.encoder(x)[:, 0])


def vit() -> Any:
    net = ViT()
    # The gradient of the keys' bias is zero but for rounding: eps keeps it from being blown up.
    optimizer = optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05, eps=1e-4)
    return step_of(net, optimizer), net, optimizer


class CharacterLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(12, 11)

    def forward(self, tokens: Any, state: Any = None) -> Any:
        found, state = self.lstm(self.embedding(tokens), state)
        return self.head(found), state


def lstm_with_a_state_that_is_handed_on() -> Any:
    net = CharacterLSTM()
    optimizer = optim.RMSprop(net.parameters(), lr=1e-2)
    state = (rl.zeros(2, 3, 12), rl.zeros(2, 3, 12))

    def step(tokens: Any) -> Any:
        optimizer.zero_grad()
        scores, following = net(tokens[:, :-1], tuple(s.detach() for s in state))
        loss = F.cross_entropy(scores.reshape(-1, 11), tokens[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        with rl.no_grad():
            for mine, now in zip(state, following, strict=True):
                mine.copy_(now)
        return loss

    return step, net, optimizer, list(state)


def gan() -> Any:
    generator = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 5), nn.Tanh())
    critic = nn.Sequential(nn.Linear(5, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(8, 1))
    of_generator = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    of_critic = optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))

    def step(real: Any) -> Any:
        noise = rl.randn(real.shape[0], 4)
        fake = generator(noise)
        of_critic.zero_grad()
        loss_critic = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
        loss_critic.backward()
        of_critic.step()
        of_generator.zero_grad()
        loss_generator = F.softplus(-critic(fake)).mean()
        loss_generator.backward()
        of_generator.step()
        return {"critic": loss_critic.detach(), "generator": loss_generator.detach()}

    return step, generator, critic, of_generator, of_critic


def gradient_penalty() -> Any:
    critic = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.Adam(critic.parameters(), lr=1e-2)

    def step(real: Any) -> Any:
        optimizer.zero_grad()
        mixed = (real + 0.1 * rl.randn(real.shape)).requires_grad_()
        (slope,) = rl.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = critic(real).mean() + 10 * penalty
        loss.backward()
        optimizer.step()
        return loss, penalty.detach()

    return step, critic, optimizer


def autoencoder_with_tied_weights() -> Any:
    weight = nn.Parameter(rl.randn(3, 6) * 0.3)
    biases = nn.ParameterList([nn.Parameter(rl.zeros(3)), nn.Parameter(rl.zeros(6))])
    optimizer = optim.SGD([weight, *biases], lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        hidden = rl.sigmoid(F.linear(x, weight, biases[0]))
        loss = F.mse_loss(F.linear(hidden, weight.t(), biases[1]), x)
        loss.backward()
        optimizer.step()
        return loss

    return step, weight, biases, optimizer


def language_model_with_tied_embedding() -> Any:
    embedding, norm, head = nn.Embedding(9, 6), nn.LayerNorm(6), nn.Linear(6, 9, bias=False)
    head.weight = embedding.weight
    optimizer = optim.Adam([*embedding.parameters(), *norm.parameters()], lr=1e-2)

    def step(tokens: Any) -> Any:
        optimizer.zero_grad()
        scores = head(norm(embedding(tokens[:, :-1])))
        loss = F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten(), label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss

    return step, embedding, norm, optimizer


def variational_autoencoder() -> Any:
    encoder, decoder = nn.Linear(6, 4), nn.Linear(2, 6)
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        mean, log_variance = encoder(x).chunk(2, dim=1)
        sample = mean + rl.randn_like(mean) * rl.exp(0.5 * log_variance)
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1).mean()
        loss = F.mse_loss(decoder(sample), x) + 0.1 * divergence
        loss.backward()
        optimizer.step()
        return loss, divergence.detach()

    return step, encoder, decoder, optimizer


def recommender_of_bags() -> Any:
    bags = nn.ModuleList([nn.EmbeddingBag(9, 4, mode=mode, padding_idx=2) for mode in ("sum", "mean", "max")])
    head = nn.Linear(12, 1)
    optimizer = optim.Adagrad([*bags.parameters(), *head.parameters()], lr=0.1)

    def step(ids: Any, starts: Any, y: Any) -> Any:
        optimizer.zero_grad()
        found = rl.cat([bag(ids, starts) for bag in bags], dim=1)
        loss = F.binary_cross_entropy_with_logits(head(found).squeeze(1), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, bags, head, optimizer


ARCHITECTURES: dict[str, tuple[Callable[[], Any], Callable[[int], tuple[Any, ...]]]] = {
    "U-Net": (u_net, lambda n: (numbers(2, 1, 8, 8, seed=n), (numbers(2, 1, 8, 8, seed=n) > 0).float())),
    "ViT": (vit, lambda n: (numbers(4, 3, 8, 8, seed=n), classes(3, 4, seed=n))),
    "LSTM": (lstm_with_a_state_that_is_handed_on, lambda n: (classes(11, 3, 6, seed=n),)),
    "GAN": (gan, lambda n: (numbers(6, 5, seed=n),)),
    "gradient penalty": (gradient_penalty, lambda n: (numbers(6, 5, seed=n),)),
    "tied autoencoder": (autoencoder_with_tied_weights, lambda n: (numbers(7, 6, seed=n),)),
    "tied embedding": (language_model_with_tied_embedding, lambda n: (classes(9, 3, 7, seed=n),)),
    "VAE": (variational_autoencoder, lambda n: (numbers(5, 6, seed=n),)),
    "recommender": (
        recommender_of_bags,
        lambda n: (classes(9, 12, seed=n), rl.tensor([[0, 0, 5, n], [0, 7, 7, 12]][n % 2]).sort().values, rl.ones(4)),
    ),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name: str) -> None:
    build, inputs = ARCHITECTURES[name]
    same_as_eager(build, inputs, calls=5)


# Ways to train


def accumulated_in_one_call() -> Any:
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        total = rl.zeros(())
        for part, wanted in zip(x.chunk(3), y.chunk(3), strict=True):
            loss = F.cross_entropy(net(part), wanted) / 3
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    return step, net, optimizer


def zeroed_in_place() -> Any:
    net = mlp()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, net, optimizer


def clipped_by_value() -> Any:
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.5)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.02)
        optimizer.step()
        return loss

    return step, net, optimizer


def clipped_by_norm() -> Any:
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.5)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        optimizer.step()
        return loss, norm

    return step, net, optimizer


def averaged_weights() -> Any:
    net = mlp()
    average = copy.deepcopy(net).requires_grad_(False)
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        with rl.no_grad():
            for mine, now in zip(average.parameters(), net.parameters(), strict=True):
                mine.mul_(0.9).add_(now, alpha=0.1)
        return loss, average(x)

    return step, net, average, optimizer


def frozen_layers() -> Any:
    net = mlp()
    net[0].requires_grad_(False)
    optimizer = optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.5)
    return step_of(net, optimizer), net, optimizer


def groups_of_parameters() -> Any:
    net = mlp()
    optimizer = optim.AdamW(
        [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "weight_decay": 0.5}], lr=0.01
    )
    return step_of(net, optimizer), net, optimizer


def a_parameter_without_gradient() -> Any:
    net, unused = mlp(), nn.Parameter(rl.ones(3))
    optimizer = optim.Adam([*net.parameters(), unused], lr=0.01)
    return step_of(net, optimizer), net, unused, optimizer


def mixed_training_and_evaluation() -> Any:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        net.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        net.eval()
        with rl.no_grad():
            right = (net(x).argmax(1) == y).float().mean()
        net.train()
        return loss, right

    return step, net, optimizer


def distilled() -> Any:
    teacher, pupil = mlp().eval(), mlp()
    optimizer = optim.SGD(pupil.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        with rl.no_grad():
            wanted = F.softmax(teacher(x) / 2, dim=1)
        optimizer.zero_grad()
        scores = pupil(x)
        loss = F.kl_div(F.log_softmax(scores / 2, 1), wanted, reduction="batchmean") + F.cross_entropy(scores, y)
        loss.backward()
        optimizer.step()
        return loss

    return step, teacher, pupil, optimizer


def contrastive() -> Any:
    net = nn.Linear(4, 5)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        a, b = F.normalize(net(x), dim=1), F.normalize(net(x + 0.1), dim=1)
        scores = a @ b.t() / 0.5
        loss = F.cross_entropy(scores, rl.arange(x.shape[0]))
        loss.backward()
        optimizer.step()
        return loss, scores.detach()

    return step, net, optimizer


def policy_gradient() -> Any:
    net = mlp()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        log_p = F.log_softmax(net(x), dim=1)
        chosen = log_p.gather(1, y[:, None]).squeeze(1)
        rewards = (y == 1).float()
        advantage = (rewards - rewards.mean()) / (rewards.std() + 1e-5)
        loss = -(chosen * advantage).mean() + 0.01 * (log_p.exp() * log_p).sum(1).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, net, optimizer


def gradients_looked_at_and_changed() -> Any:
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        norms = [p.grad.norm() for p in net.parameters()]
        for p in net.parameters():
            p.grad.add_(0.01 * p.detach().sign())
        net[0].bias.grad = None
        optimizer.step()
        return loss, norms

    return step, net, optimizer


def parameters_moved_by_hand() -> Any:
    net = mlp()

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        with rl.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
                p.grad.zero_()
        return loss

    return step, net


def sharpness_aware() -> Any:
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        F.cross_entropy(net(x), y).backward()
        with rl.no_grad():
            norm = sum(p.grad.pow(2).sum() for p in net.parameters()).sqrt()  # type: ignore[union-attr]
            moves = [0.05 * p.grad / (norm + 1e-12) for p in net.parameters()]
            for p, move in zip(net.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        with rl.no_grad():
            for p, move in zip(net.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step, net, optimizer


TRAINING = {
    build.__name__: build
    for build in (
        accumulated_in_one_call, zeroed_in_place, clipped_by_value, clipped_by_norm, averaged_weights, frozen_layers,
        groups_of_parameters, a_parameter_without_gradient, mixed_training_and_evaluation, distilled, contrastive,
        policy_gradient, gradients_looked_at_and_changed, parameters_moved_by_hand, sharpness_aware,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINING)
def test_training(name: str) -> None:
    # Where gradients are there already, another program adds to them.
    traced = 2 if name in ("zeroed_in_place", "parameters_moved_by_hand") else 1
    same_as_eager(TRAINING[name], batch, calls=5, traced=traced)

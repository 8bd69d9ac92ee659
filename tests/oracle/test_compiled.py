"""Compiled training steps against PyTorch's eager ones, from the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


def mlp(lib: Any) -> Any:
    nn = lib.nn
    net = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))
    return net, lib.optim.AdamW(net.parameters(), lr=0.01)


def convolutions(lib: Any) -> Any:
    nn = lib.nn
    net = nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 2, groups=4), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    return net, lib.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)


def recurrent(lib: Any) -> Any:
    nn = lib.nn

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            hidden, _ = self.lstm(x.view(-1, 3, 2))
            return self.head(hidden[:, -1])

    net = Net()
    return net, lib.optim.RMSprop(net.parameters(), lr=0.01, centered=True)


def attention(lib: Any) -> Any:
    nn = lib.nn

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
            self.head = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.layer(x.unsqueeze(0)).squeeze(0))

    net = Net()
    # Not an adaptive optimizer: the gradient of the keys' bias is zero, but for rounding.
    return net, lib.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


@pytest.mark.parametrize("make", [mlp, convolutions, recurrent, attention])
def test_losses_and_weights(make: Any) -> None:
    found = []
    for lib in (torch, rushlight):
        lib.manual_seed(0)
        net, optimizer = make(lib)
        scheduler = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)

        def step(x: Any, y: Any, net: Any = net, optimizer: Any = optimizer, lib: Any = lib) -> Any:
            optimizer.zero_grad()
            loss = lib.nn.functional.cross_entropy(net(x), y, label_smoothing=0.1)
            loss.backward()
            norm = lib.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            return loss.detach(), norm

        if lib is rushlight:
            step = lib.compile(step)
        losses = []
        for _ in range(8):
            losses.append([float(v) for v in step(lib.randn(12, 6), lib.randint(0, 3, (12,)))])
            scheduler.step()
        found.append((losses, [p.detach().numpy() for p in net.parameters()]))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=2e-4)
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_states_of_modules_that_pytorch_compiled(tmp_path: Any) -> None:
    """Their keys begin with _orig_mod, which our compiled modules' don't."""
    theirs = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)))
    torch.save(theirs.state_dict(), tmp_path / "state.pt")
    state = rushlight.load(tmp_path / "state.pt")
    nn = rushlight.nn
    ours = rushlight.compile(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    assert all(key.startswith("_orig_mod.") for key in state)
    assert str(ours.load_state_dict(state)) == "<All keys matched successfully>"
    assert ours[0].weight.tolist() == state["_orig_mod.0.weight"].tolist()
    ours.load_state_dict(ours.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for 0.weight"):
        rushlight.compile(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(3))).load_state_dict(state)

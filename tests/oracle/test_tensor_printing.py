"""How tensors print, against PyTorch."""

import random
import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def _shape(rng):
    if rng.random() < 0.1:
        return rng.choice([(1500,), (40, 40), (1001,), (12, 12, 12), (2, 3, 400), (7, 1, 200)])
    return tuple(rng.choice([0, 1, 2, 3, 5, 8, 13]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4])))


def _values(rng, numbers, shape, dtype):
    values = np.asarray(numbers.normal(size=shape) * 10.0 ** rng.randint(-6, 9))
    kind = rng.random()
    if kind < 0.3:
        values = np.round(values)
    elif kind < 0.4:
        values = values.round(2)
    elif kind < 0.5:
        values = np.where(numbers.random(shape) < 0.5, 0, values)
    elif kind < 0.6:
        values = np.zeros(shape)
    if rng.random() < 0.2:
        values = np.where(numbers.random(shape) < 0.3, rng.choice([np.nan, np.inf, -np.inf]), values)
    if "int" in dtype:
        values = np.clip(np.nan_to_num(values), 0 if dtype == "uint8" else -100, 120)
    return np.array(values > 0 if dtype == "bool" else values)


@pytest.mark.parametrize("seed", range(10))
def test_repr(seed):
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    try:
        for _ in range(100):
            dtype = rng.choice(DTYPES)
            options = {}
            if rng.random() < 0.2:
                options = {
                    "precision": rng.randint(1, 7), "threshold": rng.choice([5, 100, 1000]),
                    "edgeitems": rng.randint(1, 4), "linewidth": rng.choice([40, 80, 120]),
                    "sci_mode": rng.choice([None, True, False]),
                }  # fmt: skip
            values = _values(rng, numbers, _shape(rng), dtype)
            requires_grad = "float" in dtype and rng.random() < 0.3
            texts = []
            for library in (rushlight, torch):
                library.set_printoptions(profile="default", **options)
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tensor = library.from_numpy(values.copy()).to(getattr(library, dtype))
                texts.append(repr(tensor.requires_grad_(requires_grad)))
            assert texts[0] == texts[1]
    finally:
        rushlight.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 1)])
def test_empty(dtype, shape):
    assert repr(rushlight.zeros(shape, dtype=getattr(rushlight, dtype))) == repr(
        torch.zeros(shape, dtype=getattr(torch, dtype))
    )


@pytest.mark.parametrize(
    "text",
    ["w * 2", "w + 1", "w - 1", "w / 2", "w ** 2", "-w", "w.exp()", "w.sum()", "w.sum(0)", "w.mean()", "w.mean(1)",
     "w.relu()", "w @ w.t()", "w.view(-1)", "w.clone()", "w.softmax(0)", "w.abs()", "w[1:]", "w.double()"],
)  # fmt: skip
def test_grad_fn(text):
    shown = []
    for library in (rushlight, torch):
        shown.append(repr(eval(text, {"w": library.ones(2, 3, requires_grad=True)})))
    assert shown[0] == shown[1]

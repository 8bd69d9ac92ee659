"""Subscripts against PyTorch: reading, writing, gradients, errors."""

import random

import pytest

pytest.importorskip("torch")
from expressions import check

pytestmark = pytest.mark.oracle

ITEMS = ["0", "-1", "1", "2", "3", "7", "-7", ":", "1:", ":-1", "::2", "1:1", "5:9", "-2:", "None", "...", "[0, 1]",
         "[-1, 0, 0]", "[[0, 1], [1, 0]]", "k", "k[:2]", "j[0, :3]", "torch.tensor(1)", "b[0]", "b[:, 0]", "b", "True",
         "np.array([0, 1])", "np.int64(1)", "torch.tensor([], dtype=torch.int64)", "[True, False, True]"]  # fmt: skip


def subscripts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        yield ", ".join(rng.choice(ITEMS) for _ in range(rng.choice([1, 1, 2, 2, 3, 4])))


@pytest.mark.parametrize("tensor", ["x", "z", "v", "i", "s"])
def test_reading(tensor):
    for text in subscripts(250, tensor):
        check(f"{tensor}[{text}]")


def test_gradients_of_reading():
    for text in subscripts(250, 1):
        check(f"(z * 1)[{text}]", gradients=True)


@pytest.mark.parametrize("value", ["7.0", "s", "v", "True", "torch.tensor([1.0])", "torch.ones(1, 1, 4)"])
def test_writing(value):
    for text in subscripts(150, value):
        check(f"r = z.clone(); r[{text}] = {value}")


def test_gradients_of_writing():
    for text in subscripts(200, 2):
        if "k" not in text and "-1, 0, 0" not in text:  # a place written twice keeps either value
            check(f"r = z * 1; r[{text}] = s * 2; r = r * r", gradients=True)


@pytest.mark.parametrize("text", ["x[::-1]", "x[1.0]", "x['a']", "x[x]", "x[0.5:]", "x[5]", "x[:, 4]",
                                  "x[0, 0, 0]", "s[0]", "x[torch.tensor(5)]", "x[torch.tensor([5])]", "x[b[0]]",
                                  "x[(0, 1)]", "x[[(0, 1), (1, 2)]]", "x[...]", "x[()]", "x[None]", "x[b]", "x[~b]",
                                  "x[i > 0]", "x[0][1]", "x[x > 0]", "x[b, 0]", "z[:, b]", "z[0, b]", "z[:, [0], [1]]",
                                  "z[[0], :, [1]]", "z[0, :, [1, 2]]", "u[u > 100]"])  # fmt: skip
def test_corner_cases(text):
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        "r = x.clone(); r[0] = v",
        "r = x.clone(); r[:, 1] += 5",
        "r = x.clone(); r[b] *= 2",
        "r = x.clone(); r[b] = x[b] + 1",
        "r = x.clone(); r[0] = 'a'",
        "r = x.clone(); r[0] = torch.ones(3)",
        "r = i.clone(); r[0] = 2.7",
        "r = i.clone(); r[b] = 1.5",
        "r = x.clone(); r[[0, 2]] = torch.zeros(2, 4)",
        "r = x.clone(); r[b] = torch.zeros(2)",
        "r = x.clone(); r[:] = 0",
        "r = x.clone(); r[...] = y",
        "r = x.clone(); r[0, 1] = np.float64(3)",
        "r = x.clone(); r.t()[0] = torch.ones(3)",
        "r = x.clone(); r[b] = i[b]",
        "r = x.clone(); r[1:] = r[:-1].clone()",
        "r = x.clone(); r[[0, 1], [2, 3]] = torch.tensor([1.0, 2.0])",
        "r = i.clone(); r[0] = x[0]",
        "r = x.clone(); r[0] = i[0]",
        "r = b.clone(); r[0] = True",
        "r = x.clone(); r[0] = None",
        "r = x.clone(); r.diagonal().fill_(9)",
        "r = x.clone(); r.view(-1)[3] = 9",
    ],
)
def test_assignments(text):
    check(text)

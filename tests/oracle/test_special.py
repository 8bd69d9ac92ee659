"""Special functions that are written out here, against PyTorch's: values, first and second gradients."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

NUMBERS = np.concatenate([np.linspace(-40, 40, 161), [0.0, 1e-8, 19.99, 20.01]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e"])
def test_bessel_functions(name, dtype):
    found = []
    for library in (torch, rushlight):
        x = library.tensor(NUMBERS.astype(dtype), requires_grad=True)
        y = getattr(library.special, name)(x)
        (g,) = library.autograd.grad(y.sum(), x, create_graph=True)
        found.append([y.detach().numpy(), g.detach().numpy()])
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4 if dtype == np.float32 else 1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e"])
def test_second_gradients_of_bessel_functions(name):
    x = rushlight.tensor([-2.0, 0.4, 30.0], dtype=rushlight.float64, requires_grad=True)
    scale = (-x.detach().abs()).exp() if not name.endswith("e") else 1.0
    assert rushlight.autograd.gradgradcheck(lambda x: getattr(rushlight.special, name)(x) * scale, x)


def test_integers():
    assert rushlight.i0(rushlight.tensor([0, 1])).tolist() == pytest.approx([1.0, 1.2660658])

"""How gamma, beta and Dirichlet numbers move with their concentrations, against PyTorch's and finite differences."""

import numpy as np
import pytest

import rushlight
from rushlight.distributions.implicit import beta_slope, gamma_slope

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("a", [0.01, 0.3, 1.0, 4.0, 30.0, 2000.0])
def test_gamma_numbers(a):
    x = np.maximum(RANDOM.gamma(a, size=300), 1e-200)
    shapes = np.full(300, a)
    found = gamma_slope(x, shapes)
    expected = torch._standard_gamma_grad(torch.from_numpy(shapes), torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-8)  # PyTorch's is no better than that
    if a < 0.1:
        return
    # Finite differences of the distribution function, by which the move is defined.
    step = 1e-5 * a
    at = torch.from_numpy(x)
    by_shape = (torch.special.gammainc(torch.tensor(a + step, dtype=torch.float64), at)
                - torch.special.gammainc(torch.tensor(a - step, dtype=torch.float64), at)) / (2 * step)  # fmt: skip
    density = (
        torch.distributions.Gamma(torch.tensor(a, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        .log_prob(at)
        .exp()
    )
    typical = (density * at > 1e-3).numpy()
    assert typical.sum() > 200
    np.testing.assert_allclose(found[typical], (-by_shape / density).numpy()[typical], rtol=1e-4)


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.2), (0.5, 3.0), (1.0, 1.0), (10.0, 3.0), (300.0, 2.0), (800.0, 900.0)])
def test_beta_numbers(a, b):
    x = np.clip(RANDOM.beta(a, b, size=300), 1e-12, 1 - 1e-12)
    found = beta_slope(x, np.full(300, a), np.full(300, b)) / (1 - x)
    expected = torch._dirichlet_grad(
        torch.from_numpy(x), torch.full((300,), a).double(), torch.full((300,), a + b).double()
    )
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=1e-8)


@pytest.mark.parametrize("name", ["Gamma", "Beta", "FisherSnedecor", "InverseGamma", "StudentT", "Chi2", "Dirichlet"])
def test_gradients_through_samples(name):
    gradients = []
    for library in (torch, rushlight):
        library.manual_seed(0)
        a = library.tensor([0.7, 2.0, 9.0], requires_grad=True)
        b = library.tensor([1.5, 2.0, 0.7], requires_grad=True)
        two = name in ("Gamma", "Beta", "FisherSnedecor", "InverseGamma")
        samples = getattr(library.distributions, name)(*((a, b) if two else (a,))).rsample((4,))
        (samples.log() if name != "StudentT" else samples).pow(2).sum().backward()
        gradients.append([a.grad.numpy(), *([b.grad.numpy()] if two else [])])
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-4)

"""Gradients of products where factors are zero, which dividing by the factor can't give."""

import numpy as np
import pytest

import rushlight
from rushlight.ops import reduction


@pytest.mark.parametrize("zeros", [[], [1], [0, 3], [0, 1, 2, 3]])
def test_gradients_of_products(zeros: list[int]) -> None:
    values = np.array([1.5, -2.0, 0.5, 3.0])
    values[zeros] = 0
    x = rushlight.tensor(values, requires_grad=True)
    reduction.prod(x).backward()
    others = [np.prod(np.delete(values, i)) for i in range(4)]
    np.testing.assert_allclose(x.grad.numpy(), others)

    x.grad = None
    weights = np.array([1.0, -3.0, 2.0, 0.5])
    (reduction.cumprod(x, dim=0) * rushlight.tensor(weights)).sum().backward()
    expected = [sum(weights[i] * np.prod(np.delete(values[: i + 1], k)) for i in range(4) if i >= k) for k in range(4)]
    np.testing.assert_allclose(x.grad.numpy(), expected)

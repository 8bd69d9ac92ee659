"""scaled_dot_product_attention: what every rank, mask and dtype comes to, and where its result lies."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.nn import functional as F
from rushlight.nn.functional import attention as module


def formula(q, k, v, mask=None, causal=False):
    scores = q @ k.swapaxes(-2, -1) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("mask_shape", [None, (4, 5), (1, 5), (4, 1), (5,)])
def test_ranks_and_masks(lead, mask_shape):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((*lead, tokens, 6)) for tokens in (4, 5, 5))
    for kind in ("bool", "added"):
        mask = None
        if mask_shape is not None:
            mask = rng.standard_normal(mask_shape)
            mask = (mask > -2) if kind == "bool" else mask
        given = None if mask is None else torch.from_numpy(mask)
        found = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), given)
        np.testing.assert_allclose(found.numpy(), formula(q, k, v, mask), rtol=1e-10)
    causal = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), is_causal=True)
    np.testing.assert_allclose(causal.numpy(), formula(q, k, v, causal=True), rtol=1e-10)


def test_broadcast_heads_and_half_precision_are_composed():
    q, k = torch.randn(2, 3, 4, 8), torch.randn(2, 1, 5, 8)
    found = F.scaled_dot_product_attention(q, k, k)
    np.testing.assert_allclose(found.numpy(), formula(q.numpy(), k.numpy(), k.numpy()), rtol=1e-4, atol=1e-6)
    half = F.scaled_dot_product_attention(q.half(), q.half(), q.half())
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half.float().numpy(), formula(*[q.numpy()] * 3), atol=5e-3)


def test_the_gradient_of_a_mask(monkeypatch):
    torch.manual_seed(0)
    operands = [torch.randn(2, 3, n, 4, dtype=torch.float64) for n in (5, 6, 6)]
    mask = torch.randn(1, 3, 5, 6, dtype=torch.float64)

    def gradients():
        leaves = [t.detach().clone().requires_grad_() for t in (*operands, mask)]
        F.scaled_dot_product_attention(*leaves).square().sum().backward()
        return [leaf.grad.numpy() for leaf in leaves]

    found = gradients()
    monkeypatch.setattr(module, "_fits_kernel", lambda *_: False)
    for one, other in zip(found, gradients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)


def test_the_heads_lie_side_by_side():
    q = torch.randn(2, 7, 3 * 4).view(2, 7, 3, 4).transpose(1, 2)
    result = F.scaled_dot_product_attention(q, q, q)
    assert result.shape == (2, 3, 7, 4)
    assert result.transpose(1, 2).is_contiguous()

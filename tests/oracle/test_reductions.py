"""Reductions as PyTorch spells them: values, dtypes and shapes."""

import warnings
from typing import Any

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

EXPRESSIONS = [
    "x.sum(0)",
    "x.sum((0,2),keepdim=True)",
    "x.sum(dim=-1)",
    "x.max()",
    "x.max(1)[0]",
    "x.max(1).indices",
    "x.max(dim=2,keepdim=True).values",
    "T.max(x,1)[1]",
    "T.max(x,x*2)",
    "x.min(-1)[1]",
    "x.argmax()",
    "x.argmax(1)",
    "x.argmin(dim=0,keepdim=True)",
    "x.std()",
    "x.std(0)",
    "x.var(1,unbiased=False)",
    "x.var(dim=(0,1),correction=0)",
    "x.std(False)",
    "T.std_mean(x,1)[1]",
    "x.norm()",
    "x.norm(1)",
    "x.norm(3,1)",
    'x.norm(float("inf"),0)',
    "x.norm(dim=1,p=2)",
    "x.logsumexp(1)",
    "x.cumsum(1)",
    "x.cumprod(2)",
    "x.cummax(1)[0]",
    "x.cummax(1).indices",
    "x.cummin(2)[1]",
    "T.logcumsumexp(x,1)",
    "(x>0).all()",
    "(x>0).any(1)",
    "(x>0).sum()",
    "(x>0).sum(1)",
    "x.prod(1)",
    "x.amax((0,1))",
    "x.amin()",
    "x.aminmax().min",
    "x.mean()",
    "x.mean((1,2))",
    "x.mean(axis=1)",
    "(x>0).float().mean()",
    "x.int().sum(0)",
    "T.var_mean(x,dim=0)[0]",
    "x.nansum()",
    "x.long().max()",
    "x.long().max(0)[1]",
    "(x>0).cumsum(0)",
    "x.double().prod()",
    "x.sum(dtype=T.float64)",
    "(x>0).max()",
    "x.half().sum(1)",
    "x.bfloat16().mean(1).float()",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_reduction(expression: str) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    values[1, 2, 3] = values.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degrees of freedom
        expected = _evaluate(expression, torch, torch.from_numpy(values.copy()))
    found = _evaluate(expression, rushlight, rushlight.tensor(values))
    assert str(found.dtype) == str(expected.dtype)
    assert tuple(found.shape) == tuple(expected.shape)
    tolerance = 1e-2 if "half" in expression or "bfloat16" in expression else 1e-5
    wanted = expected.numpy().astype(np.float64)
    np.testing.assert_allclose(found.numpy().astype(np.float64), wanted, rtol=tolerance, atol=1e-5)


def _evaluate(expression: str, library: Any, x: Any) -> Any:
    return eval(expression, {"T": library, "x": x})

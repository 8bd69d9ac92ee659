"""Matrix products and their compositions: values and gradients as PyTorch has them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight
import rushlight.nn.functional

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

Shape = tuple[int, ...]


def compare(call: Callable[..., Any], *shapes: Shape) -> None:
    """`call(library, *tensors)` gives the same in both libraries, and so do the gradients."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(s) for s in shapes]
    results = []
    weights = None
    for library in (rushlight, torch):
        tensors = [library.tensor(a, requires_grad=True) for a in arrays]
        y = call(library, *tensors)
        weights = random.standard_normal(tuple(y.shape)) if weights is None else weights
        (y * library.tensor(weights)).sum().backward()
        results.append([y.detach().numpy(), *(t.grad.numpy() for t in tensors)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((4,), (4,)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((3, 4), (2, 4, 2)),
        ((0, 4), (4, 3)),
        ((3, 0), (0, 2)),
        ((2, 0, 4), (4, 3)),
    ],
)
def test_matmul(shapes: tuple[Shape, Shape]) -> None:
    compare(lambda library, a, b: library.matmul(a, b), *shapes)


EQUATIONS: list[tuple[str, tuple[Shape, ...]]] = [
    ("ij,jk->ik", ((3, 4), (4, 5))),
    ("bij,bjk", ((2, 3, 4), (2, 4, 5))),
    ("ii->i", ((3, 3),)),
    ("ii", ((3, 3),)),
    ("iij->ij", ((3, 3, 2),)),
    ("i,j->ij", ((3,), (4,))),
    ("bji,bi->ibj", ((2, 3, 4), (2, 4))),
    ("bi,bji->bij", ((2, 4), (2, 3, 4))),
    ("ab,cd->dacb", ((2, 3), (4, 5))),
    ("bthd,bhde,bth->bthe", ((2, 3, 4, 5), (2, 4, 5, 6), (2, 3, 4))),
    ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
    ("...ij,...jk->...ik", ((7, 2, 3, 4), (2, 4, 5))),
    ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5))),
    ("ij->ji", ((3, 4),)),
    ("ba", ((3, 4),)),
    ("ij->", ((3, 4),)),
    ("a,ab,b->", ((3,), (3, 4), (4,))),
    ("...i,i->...", ((2, 3, 4), (4,))),
    ("ijk,ikl,l->jl", ((2, 3, 4), (2, 4, 5), (5,))),
    ("bij,bjk->bik", ((1, 3, 4), (2, 4, 5))),
    ("i...->...", ((3, 2),)),
    (" i j , j -> i ", ((3, 4), (4,))),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: tuple[Shape, ...]) -> None:
    compare(lambda library, *tensors: library.einsum(equation, *tensors), *shapes)


@pytest.mark.parametrize(
    ("expression", "shapes"),
    [
        ("torch.einsum(a, [0, 1], b, [1, 2], [0, 2])", ((3, 4), (4, 5))),
        ("torch.einsum('ij,jk', [a, b])", ((3, 4), (4, 5))),
        ("torch.mm(a, b)", ((3, 4), (4, 5))),
        ("torch.bmm(a, b)", ((2, 3, 4), (2, 4, 5))),
        ("torch.mv(a, b)", ((3, 4), (4,))),
        ("torch.dot(a, b)", ((4,), (4,))),
        ("torch.outer(a, b)", ((4,), (3,))),
        ("torch.addmm(a, b, c, beta=0.5, alpha=2)", ((5,), (3, 4), (4, 5))),
        ("torch.addmv(a, b, c)", ((3,), (3, 4), (4,))),
        ("torch.addr(a, b, c, alpha=3)", ((3, 4), (3,), (4,))),
        ("torch.baddbmm(a, b, c, beta=2)", ((2, 3, 5), (2, 3, 4), (2, 4, 5))),
        ("torch.addbmm(a, b, c, beta=2)", ((3, 5), (2, 3, 4), (2, 4, 5))),
        ("torch.nn.functional.linear(a, b)", ((2, 3, 4), (5, 4))),
        ("torch.nn.functional.linear(a, b, c)", ((4,), (5, 4), (5,))),
        ("torch.nn.functional.bilinear(a, b, c, d)", ((2, 3, 4), (2, 3, 5), (6, 4, 5), (6,))),
    ],
)
def test_compositions(expression: str, shapes: tuple[Shape, ...]) -> None:
    code = compile(expression, "<expression>", "eval")
    compare(
        lambda library, *tensors: eval(code, {"torch": library, **dict(zip("abcd", tensors, strict=False))}), *shapes
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("torch.ones(2, 3) @ torch.ones(2, 3)", r"shapes cannot be multiplied \(2x3 and 2x3\)"),
        ("torch.matmul(torch.ones(()), torch.ones(3))", "both arguments need to be at least 1D"),
        ("torch.matmul(torch.ones(2, 3, 4), torch.ones(3, 4, 5))", "batch dimensions"),
        ("torch.nn.functional.linear(torch.ones(32, 1024), torch.ones(512, 784))", "last dimension of 784"),
        ("torch.ones(2, 2) @ torch.ones(2, 2).double()", "same dtype"),
        ("torch.einsum('ij,jk->ik', torch.ones(2, 3), torch.ones(2, 3))", "don't broadcast"),
        ("torch.einsum('ij->k', torch.ones(2, 3))", "does not appear"),
        ("torch.einsum('ijk', torch.ones(2, 3))", "number of subscripts"),
        ("torch.bmm(torch.ones(2, 3), torch.ones(2, 3))", "3D"),
    ],
)
def test_errors(expression: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        eval(expression, {"torch": rushlight})

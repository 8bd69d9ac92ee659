"""Linear algebra against PyTorch's: values, gradients, errors."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

from layer_comparison import compare, same_errors  # noqa: E402

RANDOM = np.random.default_rng(0)
SQUARE = RANDOM.standard_normal((2, 3, 3)) + 3 * np.eye(3)
POSITIVE = SQUARE @ SQUARE.swapaxes(-1, -2)
TALL = RANDOM.standard_normal((4, 2))
WIDE = np.ascontiguousarray(TALL.T)
RIGHT = RANDOM.standard_normal((2, 3, 2))

CASES = {
    "inv": (lambda t, a: t.linalg.inv(a), SQUARE),
    "det": (lambda t, a: t.linalg.det(a), SQUARE),
    "slogdet": (lambda t, a: t.linalg.slogdet(a).logabsdet, SQUARE),
    "logdet": (lambda t, a: t.logdet(a), POSITIVE),
    "solve": (lambda t, a, b: t.linalg.solve(a, b), SQUARE, RIGHT),
    "solve a vector": (lambda t, a, b: t.linalg.solve(a, b), SQUARE[0], RIGHT[0, :, 0].copy()),
    "solve from the right": (lambda t, a, b: t.linalg.solve(a, b.mT, left=False), SQUARE, RIGHT),
    "solve_triangular": (lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True), SQUARE, RIGHT),
    "solve_triangular, ones": (
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False, unitriangular=True), SQUARE, RIGHT,
    ),
    "cholesky": (lambda t, a: t.linalg.cholesky((a + a.mT) / 2), POSITIVE),
    "cholesky, upper": (lambda t, a: t.linalg.cholesky((a + a.mT) / 2, upper=True), POSITIVE),
    "cholesky_solve": (lambda t, a, b: t.cholesky_solve(b, t.linalg.cholesky((a + a.mT) / 2)), POSITIVE, RIGHT),
    "eigh": (lambda t, a: t.linalg.eigh((a + a.mT) / 2).eigenvectors ** 2, POSITIVE),
    "eigvalsh": (lambda t, a: t.linalg.eigvalsh((a + a.mT) / 2), POSITIVE),
    "svd": (lambda t, a: t.linalg.svd(a, full_matrices=False).U ** 2, TALL),
    "svd, full": (lambda t, a: t.linalg.svd(a).Vh ** 2, TALL),
    "svdvals": (lambda t, a: t.linalg.svdvals(a), WIDE),
    "older svd": (lambda t, a: t.svd(a).V ** 2, WIDE),
    "qr": (lambda t, a: t.linalg.qr(a).R, TALL),
    "qr, wide": (lambda t, a: t.linalg.qr(a).R, WIDE),
    "pinv": (lambda t, a: t.linalg.pinv(a), TALL),
    "lstsq": (lambda t, a, b: t.linalg.lstsq(a, b).solution, TALL, RANDOM.standard_normal((4, 3))),
    "lu": (lambda t, a: sum((i + 1) * part for i, part in enumerate(t.linalg.lu(a))), SQUARE),
    "lu, tall": (lambda t, a: t.linalg.lu(a.detach()).L, TALL),
    "lu, wide": (lambda t, a: t.linalg.lu(a.detach()).U, WIDE),
    "lu_factor": (lambda t, a: t.linalg.lu_factor(a).LU, SQUARE),
    "pivots": (lambda t, a: t.linalg.lu_factor(a).pivots, SQUARE),
    "lu_unpack": (lambda t, a: t.lu_unpack(*t.linalg.lu_factor(a)).P @ a, SQUARE),
    "lu_solve": (lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b), SQUARE, RIGHT),
    "lu_solve, adjoint": (lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b, adjoint=True), SQUARE, RIGHT),
    "lu_solve from the right": (
        lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b.mT, left=False), SQUARE, RIGHT,
    ),
    "triangular_solve": (lambda t, a, b: t.triangular_solve(b, a, upper=False).solution, SQUARE, RIGHT),
    "triangular_solve, transposed": (lambda t, a, b: t.triangular_solve(b, a, transpose=True).solution, SQUARE, RIGHT),
    "matrix_exp": (lambda t, a: t.matrix_exp(a), SQUARE),
    "matrix_power": (lambda t, a: t.linalg.matrix_power(a, -2), SQUARE),
    "householder_product": (lambda t, a, b: t.linalg.householder_product(a, b), TALL, np.array([0.3, 0.7])),
    "nuclear norm": (lambda t, a: t.linalg.matrix_norm(a, "nuc"), SQUARE),
    "spectral norm, kept": (lambda t, a: t.linalg.matrix_norm(a, 2, keepdim=True), SQUARE),
    "smallest row": (lambda t, a: t.linalg.matrix_norm(a, -float("inf")), SQUARE),
    "cond": (lambda t, a: t.linalg.cond(a), SQUARE),
    "cov": (lambda t, a: t.cov(a), WIDE),
    "corrcoef": (lambda t, a: t.corrcoef(a), WIDE),
    "trapezoid": (lambda t, a: t.trapezoid(a, dx=0.5), WIDE),
    "cumulative_trapezoid": (lambda t, a: t.cumulative_trapezoid(a, dim=0), TALL),
    "renorm": (lambda t, a: t.renorm(a, 2, 0, 0.5), TALL),
    "cdist": (lambda t, a, b: t.cdist(a, b), RIGHT, RIGHT[:, :2] + 1),
    "cdist of many": (lambda t, a, b: t.cdist(a, b), RANDOM.standard_normal((40, 3)), RANDOM.standard_normal((30, 3))),
    "cdist, p 1": (lambda t, a, b: t.cdist(a, b, p=1), RIGHT, RIGHT[:, :2] + 1),
    "cdist of itself": (lambda t, a: t.cdist(a, a.detach()), TALL),
    "pdist": (lambda t, a: t.pdist(a), TALL),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    function, *arrays = CASES[name]
    compare(lambda *t: function(rushlight, *t), lambda *t: function(torch, *t), *arrays, tolerance=1e-6)


def test_rank() -> None:
    matrix = np.outer([1.0, 2, 3], [1.0, 1, 2])
    assert int(rushlight.linalg.matrix_rank(rushlight.tensor(matrix))) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.linalg.inv(t.zeros(2, 3)),
        lambda t: t.linalg.det(t.zeros(3)),
        lambda t: t.cdist(t.zeros(2, 3), t.zeros(2, 4)),
    ],
)
def test_errors(call) -> None:
    same_errors(lambda: call(rushlight), lambda: call(torch))


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.linalg.inv(t.zeros(2, 2)),
        lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
        lambda t: t.linalg.cholesky(-t.eye(2)),
    ],
)
def test_no_solution(call) -> None:
    for t in (rushlight, torch):
        with pytest.raises(t.linalg.LinAlgError):
            call(t)

"""Constraints: which values a parameter or a sample of a distribution may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.tensor.tensor import Tensor


class Constraint:
    """A set of values. `check(value)` says for each event whether it lies within.

    Args:
        name: how it prints, such as "GreaterThan(lower_bound=0.0)".
        check: a function from a tensor to a tensor of bools.
        event_dim: the number of dimensions of one event, which `check` reduces.
        is_discrete: whether the values are integers.
    """

    def __init__(
        self, name: str, check: Callable[[Tensor], Any], *, event_dim: int = 0, is_discrete: bool = False
    ) -> None:
        self.name = name
        self._check = check
        self.event_dim = event_dim
        self.is_discrete = is_discrete

    def check(self, value: Tensor) -> Tensor:
        """A bool for each event of `value`."""
        result: Tensor = self._check(value)
        return result

    def __repr__(self) -> str:
        return self.name


def _all(value: Any, dims: int) -> Any:
    return value.flatten(value.dim() - dims).all(-1) if dims else value


def independent(base: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """`base` for each of the last dimensions, which make one event together."""
    return Constraint(
        f"IndependentConstraint({base}, {reinterpreted_batch_ndims})",
        lambda x: _all(base.check(x), reinterpreted_batch_ndims),
        event_dim=base.event_dim + reinterpreted_batch_ndims,
        is_discrete=base.is_discrete,
    )


def greater_than(lower_bound: Any) -> Constraint:
    """x > lower_bound."""
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """x >= lower_bound."""
    return Constraint(f"GreaterThanEq(lower_bound={lower_bound})", lambda x: x >= lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """x < upper_bound."""
    return Constraint(f"LessThan(upper_bound={upper_bound})", lambda x: x < upper_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """lower_bound <= x <= upper_bound."""
    return Constraint(
        f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x >= lower_bound) & (x <= upper_bound),
    )


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """lower_bound <= x < upper_bound."""
    return Constraint(
        f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x >= lower_bound) & (x < upper_bound),
    )


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """The integers from lower_bound to upper_bound, both included."""
    return Constraint(
        f"IntegerInterval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x % 1 == 0) & (x >= lower_bound) & (x <= upper_bound),
        is_discrete=True,
    )


def integer_greater_than(lower_bound: Any) -> Constraint:
    """The integers from lower_bound on."""
    return Constraint(
        f"IntegerGreaterThan(lower_bound={lower_bound})",
        lambda x: (x % 1 == 0) & (x >= lower_bound),
        is_discrete=True,
    )


def multinomial(upper_bound: int) -> Constraint:
    """Vectors of counts whose sum is at most upper_bound."""
    return Constraint(
        "Multinomial()", lambda x: (x >= 0).all(-1) & (x.sum(-1) <= upper_bound), event_dim=1, is_discrete=True
    )


def _symmetric(x: Any) -> Any:
    return (x - x.mT).abs().flatten(-2).amax(-1) <= 1e-6 * (1 + x.abs().flatten(-2).amax(-1))


def _positive_definite(x: Any) -> Any:
    from rushlight import linalg

    return _symmetric(x) & (linalg.eigvalsh(x) > 0).all(-1)


real = Constraint("Real()", lambda x: x == x)
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), is_discrete=True)
nonnegative_integer = integer_greater_than(0)
positive_integer = integer_greater_than(1)
simplex = Constraint("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), event_dim=1)
one_hot = Constraint(
    "OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), event_dim=1, is_discrete=True
)
lower_cholesky = Constraint(
    "LowerCholesky()",
    lambda x: (x.tril() == x).flatten(-2).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1),
    event_dim=2,
)
positive_definite = Constraint("PositiveDefinite()", _positive_definite, event_dim=2)

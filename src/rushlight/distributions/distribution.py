"""Distribution, the base of them all, and what their definitions share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar, overload

import numpy as np

from rushlight import dtypes
from rushlight.autograd.modes import no_grad
from rushlight.distributions.constraints import Constraint
from rushlight.tensor import data, joining
from rushlight.tensor import random as randoms
from rushlight.tensor.limits import finfo
from rushlight.tensor.size import Size
from rushlight.tensor.tensor import Tensor
from rushlight.tensor.unread import has_values

Value = TypeVar("Value")


class lazy_property(Generic[Value]):
    """A property that is computed when it is first read, and kept from then on as an attribute."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function = function
        self.__doc__ = function.__doc__
        self._name = function.__name__

    @overload
    def __get__(self, instance: None, owner: Any = None) -> lazy_property[Value]: ...
    @overload
    def __get__(self, instance: object, owner: Any = None) -> Value: ...
    def __get__(self, instance: object | None, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = self._function(instance)
        instance.__dict__[self._name] = value
        return value


class Distribution:
    """A distribution of random values, or a batch of them.

    `batch_shape` is the shape of the batch, one distribution for each of the parameters given; `event_shape` that of
    one draw. A sample has the shape `sample_shape + batch_shape + event_shape`, and `log_prob` takes the events away.

    Subclasses say in `arg_constraints` what their parameters may be and in `support` what their samples are, and define
    `rsample` (with a gradient for the parameters) or `sample`, `log_prob`, and what else has a formula.
    """

    has_rsample: bool = False
    has_enumerate_support: bool = False
    arg_constraints: ClassVar[dict[str, Any]] = {}
    support: Any = None
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where a distribution doesn't say `validate_args`."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args takes True or False, not {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            if name not in self.__dict__ or not isinstance(constraint, Constraint):
                continue
            value = self.__dict__[name]
            if isinstance(value, Tensor) and has_values(value) and not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    # Shapes

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions as a batch of a larger shape, to which theirs broadcasts."""
        new = object.__new__(type(self))
        batch_shape = Size(batch_shape)
        own = len(self._batch_shape)
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor):
                value = value.expand(*batch_shape, *value.shape[own:])
            elif isinstance(value, Distribution):
                value = value.expand((*batch_shape, *value.batch_shape[own:]))
            new.__dict__[name] = value
        new._batch_shape = batch_shape
        return new

    # What subclasses define

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws a sample of shape `sample_shape + batch_shape + event_shape`, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """As `sample`, with a gradient for the parameters: a function of them and of random numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample(): a gradient doesn't pass its samples")

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob()")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf()")

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise NotImplementedError(f"{type(self).__name__} has no icdf()")

    def entropy(self) -> Tensor:
        """The entropy, in nats, of each distribution of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy()")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError(f"{type(self).__name__} has no enumerate_support()")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError(f"{type(self).__name__} has no mean")

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self).__name__} has no mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def perplexity(self) -> Tensor:
        """e to the entropy."""
        return self.entropy().exp()

    # Checks and printing

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        first = value.dim() - len(self._event_shape)
        if tuple(value.shape[max(first, 0) :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        try:
            np.broadcast_shapes(tuple(value.shape[:first]), tuple(self._batch_shape))
        except ValueError:
            raise ValueError(
                f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {self._extended_shape()}."
            ) from None
        support = self.support
        if support is not None and has_values(value) and not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
            elif value is not None:
                shown.append(f"{name}: {value}")
        return f"{type(self).__name__}({', '.join(shown)})"


# What definitions share


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the dtype of the tensors, or the default one."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    for value in values:
        if not isinstance(value, (Tensor, int, float, np.number)):
            raise ValueError(
                f"Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                f"__torch_function__, not {type(value).__name__}."
            )
    dtype = tensors[0].dtype if tensors else dtypes.get_default_dtype()
    made = [value if isinstance(value, Tensor) else data.tensor(value, dtype=dtype) for value in values]
    return tuple(joining.broadcast_tensors(*made)) if len(made) > 1 else tuple(made)


def standard_normal(shape: Any, like: Tensor) -> Tensor:
    """Normal numbers of mean 0 and deviation 1, in the dtype of `like`."""
    return randoms.randn(tuple(shape), dtype=like.dtype)


def uniform(shape: Any, like: Tensor) -> Tensor:
    """Numbers from [0, 1), in the dtype of `like`."""
    return randoms.rand(tuple(shape), dtype=like.dtype)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept an epsilon away from 0 and 1, whose logarithms are finite."""
    eps = epsilon(probs)
    return probs.clamp(min=eps, max=1 - eps)


def epsilon(like: Tensor) -> float:
    """The distance from 1 to the next number of the dtype of `like`."""
    return float(finfo(like.dtype).eps)


def smallest(like: Tensor) -> float:
    """The smallest normal number of the dtype of `like`."""
    return float(finfo(like.dtype).tiny)


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last `dims` dimensions."""
    return value if dims == 0 else value.flatten(value.dim() - dims).sum(-1)


LOG_TWO_PI = math.log(2 * math.pi)

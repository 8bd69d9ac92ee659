"""Activation layers. All take and return tensors of any shape unless they say otherwise."""

from __future__ import annotations

from typing import Any

from rushlight.errors import ShapeError
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.modules import __getattr__ as __getattr__  # what PyTorch has in this file, too
from rushlight.nn.modules.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops import elementwise
from rushlight.tensor.creation import empty
from rushlight.tensor.tensor import Tensor


class _InPlace(Module):
    """An activation without settings but `inplace`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


def _with_inplace(settings: str, inplace: bool) -> str:
    return f"{settings}, inplace=True" if inplace else settings


class ReLU(_InPlace):
    """Applies max(x, 0).

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, 2010.

    Example:
        >>> nn.ReLU()(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.inplace:
            return elementwise.relu(input, out=input)
        return elementwise.relu(input)


class Threshold(Module):
    """Applies x where x > threshold, `value` elsewhere.

    Args:
        threshold: what x is compared with.
        value: what stands in its place.
        inplace: overwrite the input, which saves memory.

    Example:
        >>> nn.Threshold(0.1, 20.0)(torch.tensor([-1.0, 0.5]))
        tensor([20.0000,  0.5000])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"threshold={self.threshold}, value={self.value}", self.inplace)


class RReLU(Module):
    """Leaky ReLU whose slope is drawn from U(lower, upper) in training, and is their mean in evaluation.

    Args:
        lower, upper: bounds of the slope.
        inplace: overwrite the input, which saves memory.

    Paper: Xu et al., Empirical evaluation of rectified activations in convolution network, 2015.

    Example:
        >>> nn.RReLU(0.1, 0.3).eval()(torch.tensor([-1.0, 2.0]))
        tensor([-0.2000,  2.0000])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"lower={self.lower}, upper={self.upper}", self.inplace)


class Hardtanh(Module):
    """Applies min(max(x, min_val), max_val).

    Args:
        min_val, max_val: the bounds; min_val must be the smaller.
        inplace: overwrite the input, which saves memory.

    Example:
        >>> nn.Hardtanh(-2, 2)(torch.tensor([-3.0, 1.0]))
        tensor([-2.,  1.])
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        self.min_val = min_val if min_value is None else min_value  # min_value, max_value: PyTorch's older names
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.min_val >= self.max_val:
            raise ShapeError(f"Hardtanh: max_val must be larger than min_val, got {self.min_val} and {self.max_val}")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"min_val={self.min_val}, max_val={self.max_val}", self.inplace)


class ReLU6(Hardtanh):
    """Applies min(max(x, 0), 6).

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Howard et al., MobileNets, 2017.

    Example:
        >>> nn.ReLU6()(torch.tensor([-1.0, 2.0, 8.0]))
        tensor([0., 2., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """Applies 1 / (1 + exp(-x)).

    Example:
        >>> nn.Sigmoid()(torch.tensor([0.0, 1.0]))
        tensor([0.5000, 0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        return elementwise.sigmoid(input)


class Hardsigmoid(Module):
    """Applies min(max(x + 3, 0), 6) / 6.

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Howard et al., Searching for MobileNetV3, 2019.

    Example:
        >>> nn.Hardsigmoid()(torch.tensor([-4.0, 0.0]))
        tensor([0.0000, 0.5000])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Tanh(Module):
    """Applies (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Example:
        >>> nn.Tanh()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return elementwise.tanh(input)


class SiLU(_InPlace):
    """Applies x sigmoid(x), also called swish.

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Hendrycks and Gimpel, Gaussian error linear units, 2016; Ramachandran et al., Swish, 2017.

    Example:
        >>> nn.SiLU()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """Applies x tanh(log(1 + exp(x))).

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Misra, Mish: a self regularized non-monotonic neural activation function, 2019.

    Example:
        >>> nn.Mish()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8651])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Hardswish(Module):
    """Applies x min(max(x + 3, 0), 6) / 6.

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Howard et al., Searching for MobileNetV3, 2019.

    Example:
        >>> nn.Hardswish()(torch.tensor([-4.0, 3.0]))
        tensor([-0.,  3.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class ELU(Module):
    """Applies max(x, 0) + min(alpha (exp(x) - 1), 0).

    Args:
        alpha: what it tends to, negated, for small x.
        inplace: overwrite the input, which saves memory.

    Paper: Clevert et al., Fast and accurate deep network learning by exponential linear units, 2016.

    Example:
        >>> nn.ELU()(torch.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"alpha={self.alpha}", self.inplace)


class CELU(Module):
    """Applies max(x, 0) + min(alpha (exp(x / alpha) - 1), 0).

    Args:
        alpha: what it tends to, negated, for small x; not 0.
        inplace: overwrite the input, which saves memory.

    Paper: Barron, Continuously differentiable exponential linear units, 2017.

    Example:
        >>> nn.CELU()(torch.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"alpha={self.alpha}", self.inplace)


class SELU(_InPlace):
    """Applies scale (max(x, 0) + min(alpha (exp(x) - 1), 0)), with scale 1.0507... and alpha 1.6733...

    Args:
        inplace: overwrite the input, which saves memory.

    Paper: Klambauer et al., Self-normalizing neural networks, 2017.

    Example:
        >>> nn.SELU()(torch.tensor([-1.0, 2.0]))
        tensor([-1.1113,  2.1014])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class GLU(Module):
    """Applies a sigmoid(b), where a is the first half of the input along a dimension, b the second.

    Args:
        dim: the dimension, of even size.

    Shape:
        Input (*, 2 N, *), output (*, N, *).

    Paper: Dauphin et al., Language modeling with gated convolutional networks, 2017.

    Example:
        >>> nn.GLU()(torch.randn(4, 6)).size()
        torch.Size([4, 3])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GELU(Module):
    """Applies x Phi(x), where Phi is the distribution function of the normal distribution.

    Args:
        approximate: "none", or "tanh" for 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).

    Paper: Hendrycks and Gimpel, Gaussian error linear units, 2016.

    Example:
        >>> nn.GELU()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardshrink(Module):
    """Applies x where |x| > lambd, 0 elsewhere.

    Args:
        lambd: the bound.

    Example:
        >>> nn.Hardshrink()(torch.tensor([-1.0, 0.2]))
        tensor([-1.,  0.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class LeakyReLU(Module):
    """Applies max(x, 0) + negative_slope min(x, 0).

    Args:
        negative_slope: the slope for negative x.
        inplace: overwrite the input, which saves memory.

    Paper: Maas et al., Rectifier nonlinearities improve neural network acoustic models, 2013.

    Example:
        >>> nn.LeakyReLU(0.1)(torch.tensor([-1.0, 2.0]))
        tensor([-0.1000,  2.0000])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _with_inplace(f"negative_slope={self.negative_slope}", self.inplace)


class LogSigmoid(Module):
    """Applies log(1 / (1 + exp(-x))).

    Example:
        >>> nn.LogSigmoid()(torch.tensor([0.0, 1.0]))
        tensor([-0.6931, -0.3133])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softplus(Module):
    """Applies log(1 + exp(beta x)) / beta, a smooth ReLU; x itself where beta x > threshold.

    Args:
        beta: how sharp the bend is.
        threshold: where it becomes linear.

    Example:
        >>> nn.Softplus()(torch.tensor([0.0, 30.0]))
        tensor([ 0.6931, 30.0000])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    """Applies x - lambd where x > lambd, x + lambd where x < -lambd, 0 elsewhere.

    Args:
        lambd: the bound, not negative.

    Example:
        >>> nn.Softshrink()(torch.tensor([-1.0, 0.2]))
        tensor([-0.5000,  0.0000])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if lambd < 0:
            raise ShapeError(f"Softshrink: lambd must be greater or equal to 0, got {lambd}")
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class PReLU(Module):
    """Applies max(x, 0) + a min(x, 0), where a is learned. Don't decay it: that would make it a ReLU.

    Args:
        num_parameters: 1, or the number of channels (dimension 1) for one a each.
        init: the initial a.

    Paper: He et al., Delving deep into rectifiers, 2015.

    Example:
        >>> nn.PReLU()(torch.tensor([-1.0, 2.0]))
        tensor([-0.2500,  2.0000], grad_fn=<PreluKernelBackward0>)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every a to its initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softsign(Module):
    """Applies x / (1 + |x|).

    Example:
        >>> nn.Softsign()(torch.tensor([-1.0, 3.0]))
        tensor([-0.5000,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """Applies x - tanh(x).

    Example:
        >>> nn.Tanhshrink()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class Softmin(Module):
    """Applies exp(-x) / sum(exp(-x)).

    Args:
        dim: the dimension along which the results add up to 1.

    Example:
        >>> nn.Softmin(dim=0)(torch.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """Applies exp(x) / sum(exp(x)).

    Args:
        dim: the dimension along which the results add up to 1.

    Example:
        >>> nn.Softmax(dim=0)(torch.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Applies softmax over the channels at each place of an image.

    Shape:
        (N, C, H, W) or (C, H, W).

    Example:
        >>> nn.Softmax2d()(torch.zeros(2, 4, 1, 1)).sum()
        tensor(2.)
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)


class LogSoftmax(Module):
    """Applies log(exp(x) / sum(exp(x))).

    Args:
        dim: the dimension along which the results add up to 1.

    Example:
        >>> nn.LogSoftmax(dim=0)(torch.tensor([0.0, 0.0]))
        tensor([-0.6931, -0.6931])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

"""`rushlight.special`: the special functions under SciPy's names."""

from rushlight.ops.elementwise import digamma as digamma
from rushlight.ops.elementwise import digamma as psi
from rushlight.ops.elementwise import erf as erf
from rushlight.ops.elementwise import erfc as erfc
from rushlight.ops.elementwise import erfinv as erfinv
from rushlight.ops.elementwise import exp2 as exp2
from rushlight.ops.elementwise import expm1 as expm1
from rushlight.ops.elementwise import lgamma as gammaln
from rushlight.ops.elementwise import log1p as log1p
from rushlight.ops.elementwise import sigmoid as expit
from rushlight.ops.elementwise import sinc as sinc
from rushlight.ops.elementwise import xlogy as xlogy
from rushlight.tensor.pointwise import log_softmax as log_softmax
from rushlight.tensor.pointwise import logit as logit
from rushlight.tensor.pointwise import round as round
from rushlight.tensor.pointwise import softmax as softmax

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p", "log_softmax", "logit", "psi",
    "round", "sinc", "softmax", "xlogy",
]  # fmt: skip

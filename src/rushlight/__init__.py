"""PyTorch's programming model without its weight: tensors, gradients and neural networks on NumPy.

`import rushlight as torch` serves code that was written for PyTorch. Nothing is defined here: this is the public face,
in PyTorch's names, file by file in alphabetical order; where PyTorch has a second name for a thing, a second import
follows. What is seldom needed is imported when it is first used.
"""

# fmt: off
# ruff: noqa: A004, F401, I001
from rushlight.autograd import eager as _eager  # noqa: F401 (it makes itself the interpreter of operations)

# Gradients
from rushlight.autograd.modes import (
    enable_grad as enable_grad, inference_mode as inference_mode, is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled, no_grad as no_grad, set_grad_enabled as set_grad_enabled,
)

# Tensors, dtypes, devices
from rushlight.dtypes import (
    bfloat16 as bfloat16, can_cast as can_cast, dtype as dtype, float16 as float16, float32 as float32,
    float64 as float64, get_default_dtype as get_default_dtype, int16 as int16, int32 as int32, int64 as int64,
    int8 as int8, promote_types as promote_types, set_default_dtype as set_default_dtype, uint8 as uint8,
)
from rushlight.dtypes import (
    bool_ as bool, float64 as double, float32 as float, float16 as half, int32 as int, int64 as long, int16 as short,
)
from rushlight.tensor.device import (
    device as device, get_default_device as get_default_device, set_default_device as set_default_device,
)
from rushlight.errors import OutOfMemoryError as OutOfMemoryError
from rushlight.tensor.limits import finfo as finfo, iinfo as iinfo
from rushlight.tensor.size import Size as Size
from rushlight.tensor.tensor import Tensor as Tensor
from rushlight.tensor.queries import (
    get_device as get_device, is_complex as is_complex, is_conj as is_conj, is_floating_point as is_floating_point,
    is_inference as is_inference, is_neg as is_neg, is_nonzero as is_nonzero, is_same_size as is_same_size,
    is_signed as is_signed, is_storage as is_storage, is_tensor as is_tensor, numel as numel,
    result_type as result_type, set_default_tensor_type as set_default_tensor_type, typename as typename,
)

# Constants
from math import e as e, inf as inf, nan as nan, pi as pi
from rushlight.tensor.subscript import newaxis as newaxis

# Creation
from rushlight.tensor.data import (
    as_tensor as as_tensor, asarray as asarray, from_dlpack as from_dlpack, from_numpy as from_numpy,
    frombuffer as frombuffer, scalar_tensor as scalar_tensor, tensor as tensor,
)
from rushlight.tensor.creation import (
    arange as arange, empty as empty, empty_like as empty_like, empty_strided as empty_strided, eye as eye,
    full as full, full_like as full_like, linspace as linspace, logspace as logspace, ones as ones,
    ones_like as ones_like, zeros as zeros, zeros_like as zeros_like,
)
from rushlight.tensor.creation import inclusive_range as range
from rushlight.tensor.legacy import (
    BFloat16Tensor as BFloat16Tensor, BoolTensor as BoolTensor, ByteTensor as ByteTensor, CharTensor as CharTensor,
    DoubleTensor as DoubleTensor, FloatTensor as FloatTensor, HalfTensor as HalfTensor, IntTensor as IntTensor,
    LongTensor as LongTensor, ShortTensor as ShortTensor,
)
from rushlight.tensor.windows import (
    bartlett_window as bartlett_window, blackman_window as blackman_window, hamming_window as hamming_window,
    hann_window as hann_window, kaiser_window as kaiser_window,
)
from rushlight.tensor.layout import (
    channels_last as channels_last, channels_last_3d as channels_last_3d, contiguous_format as contiguous_format,
    layout as layout, memory_format as memory_format, preserve_format as preserve_format, strided as strided,
)

# Random numbers
from rushlight.tensor import random as random
from rushlight.tensor.generator import Generator as Generator
from rushlight.tensor.random import (
    bernoulli as bernoulli, binomial as binomial, default_generator as default_generator,
    get_rng_state as get_rng_state, initial_seed as initial_seed, manual_seed as manual_seed,
    multinomial as multinomial, normal as normal, poisson as poisson, rand as rand, rand_like as rand_like,
    randint as randint, randint_like as randint_like, randn as randn, randn_like as randn_like, randperm as randperm,
    seed as seed, set_rng_state as set_rng_state,
)

# Elementwise
from rushlight.ops.elementwise import (
    absolute as absolute, acos as acos, acosh as acosh, asin as asin, asinh as asinh, atan as atan, atan2 as atan2,
    atanh as atanh, bitwise_and as bitwise_and, bitwise_left_shift as bitwise_left_shift, bitwise_not as bitwise_not,
    bitwise_or as bitwise_or, bitwise_right_shift as bitwise_right_shift, bitwise_xor as bitwise_xor, ceil as ceil,
    clamp_max as clamp_max, clamp_min as clamp_min, copysign as copysign, cos as cos, cosh as cosh, deg2rad as deg2rad,
    digamma as digamma, erf as erf, erfc as erfc, erfinv as erfinv, exp as exp, exp2 as exp2, expm1 as expm1,
    floor as floor, floor_divide as floor_divide, fmax as fmax, fmin as fmin, fmod as fmod, frac as frac, gcd as gcd,
    greater as greater, greater_equal as greater_equal, heaviside as heaviside, hypot as hypot, isfinite as isfinite,
    isinf as isinf, isnan as isnan, isneginf as isneginf, isposinf as isposinf, lcm as lcm, lerp as lerp, less as less,
    less_equal as less_equal, lgamma as lgamma, log as log, log10 as log10, log1p as log1p, log2 as log2,
    logaddexp as logaddexp, logaddexp2 as logaddexp2, logical_and as logical_and, logical_not as logical_not,
    logical_or as logical_or, logical_xor as logical_xor, maximum as maximum, minimum as minimum, negative as negative,
    nextafter as nextafter, not_equal as not_equal, rad2deg as rad2deg, reciprocal as reciprocal, relu as relu,
    remainder as remainder, rsqrt as rsqrt, selu as selu, sigmoid as sigmoid, sign as sign, signbit as signbit,
    sin as sin, sinc as sinc, sinh as sinh, sqrt as sqrt, square as square, tan as tan, tanh as tanh, trunc as trunc,
    xlogy as xlogy,
)
from rushlight.ops.elementwise import (
    absolute as abs, acos as arccos, acosh as arccosh, asin as arcsin, asinh as arcsinh, atan as arctan,
    atan2 as arctan2, atanh as arctanh, equal as eq, trunc as fix, greater_equal as ge, greater as gt,
    less_equal as le, less as lt, not_equal as ne, negative as neg, sign as sgn,
)
from rushlight.tensor.pointwise import (
    add as add, addcdiv as addcdiv, addcmul as addcmul, angle as angle, clamp as clamp, cross as cross, diff as diff,
    dist as dist, div as div, fill as fill, float_power as float_power, frexp as frexp, inner as inner, ldexp as ldexp,
    isreal as isreal, kron as kron, log_softmax as log_softmax, logit as logit, mul as mul, nan_to_num as nan_to_num,
    positive as positive, pow as pow, round as round, rsub as rsub, softmax as softmax, sub as sub,
)
from rushlight.tensor.pointwise import (
    positive as conj, positive as conj_physical, positive as real, positive as resolve_conj, positive as resolve_neg,
)
from rushlight.tensor.pointwise import (
    clamp as clip, div as divide, mul as multiply, sub as subtract, div as true_divide,
)

# Reductions and comparison
from rushlight.tensor.reducing import (
    all as all, amax as amax, amin as amin, aminmax as aminmax, any as any, argmax as argmax, argmin as argmin,
    cummax as cummax, cummin as cummin, cumprod as cumprod, cumsum as cumsum, logcumsumexp as logcumsumexp,
    logsumexp as logsumexp, max as max, mean as mean, min as min, nanmean as nanmean, nansum as nansum, norm as norm,
    prod as prod, std as std, std_mean as std_mean, sum as sum, var as var, var_mean as var_mean,
)
from rushlight.tensor.comparing import allclose as allclose, equal as equal, isclose as isclose

# Linear algebra
from rushlight.ops.linear import (
    addbmm as addbmm, addmm as addmm, addmv as addmv, addr as addr, baddbmm as baddbmm, bilinear as bilinear,
    bmm as bmm, dot as dot, einsum as einsum, matmul as matmul, mm as mm, mv as mv, outer as outer,
    tensordot as tensordot, vdot as vdot,
)
from rushlight.linalg import (
    cholesky_inverse as cholesky_inverse, cholesky_solve as cholesky_solve, det as det, householder_product as orgqr,
    inv as inverse, logdet as logdet, matrix_exp as matrix_exp, matrix_power as matrix_power,
    older_cholesky as cholesky, older_qr as qr, older_slogdet as slogdet, older_svd as svd, older_pinv as pinverse,
    chain_matmul as chain_matmul, lu_unpack as lu_unpack, older_lu as lu, older_lu_solve as lu_solve,
    triangular_solve as triangular_solve, pca_lowrank as pca_lowrank, svd_lowrank as svd_lowrank,
)
from rushlight.tensor.statistics import (
    cdist as cdist, corrcoef as corrcoef, cov as cov, cumulative_trapezoid as cumulative_trapezoid, pdist as pdist,
    gradient as gradient, renorm as renorm, trapezoid as trapezoid, trapezoid as trapz, unravel_index as unravel_index,
)
from rushlight.ops.linear import outer as ger

# Shape
from rushlight.tensor.shaping import (
    as_strided as as_strided, atleast_1d as atleast_1d, atleast_2d as atleast_2d, atleast_3d as atleast_3d,
    broadcast_to as broadcast_to, chunk as chunk, diagonal as diagonal, dsplit as dsplit, flatten as flatten,
    hsplit as hsplit, movedim as movedim, narrow as narrow, permute as permute, ravel as ravel, reshape as reshape,
    select as select, split as split, squeeze as squeeze, t as t, tensor_split as tensor_split, transpose as transpose,
    unbind as unbind, unflatten as unflatten, unsqueeze as unsqueeze, vsplit as vsplit,
)
from rushlight.tensor.shaping import (
    chunk as unsafe_chunk, matrix_transpose as adjoint, narrow_copy as narrow_copy, split as split_with_sizes,
    split as unsafe_split, split as unsafe_split_with_sizes,
)
from rushlight.tensor.shaping import movedim as moveaxis, swapaxes as swapaxes, transpose as swapdims
from rushlight.tensor.joining import (
    block_diag as block_diag, broadcast_shapes as broadcast_shapes, broadcast_tensors as broadcast_tensors,
    cartesian_prod as cartesian_prod, cat as cat, column_stack as column_stack, combinations as combinations,
    diag as diag, diag_embed as diag_embed, diagflat as diagflat, dstack as dstack, flip as flip, fliplr as fliplr,
    flipud as flipud, hstack as hstack, meshgrid as meshgrid, repeat_interleave as repeat_interleave, roll as roll,
    rot90 as rot90, stack as stack, tile as tile, trace as trace, tril as tril, tril_indices as tril_indices,
    triu as triu, triu_indices as triu_indices, vander as vander, vstack as vstack,
)
from rushlight.tensor.joining import cat as concat, cat as concatenate, vstack as row_stack
from rushlight.tensor.conversion import clone as clone, detach as detach

# Choosing and ordering
from rushlight.tensor.choosing import (
    argwhere as argwhere, count_nonzero as count_nonzero, diagonal_scatter as diagonal_scatter, gather as gather,
    index_add as index_add, index_copy as index_copy, index_fill as index_fill, index_put as index_put,
    index_reduce as index_reduce, index_select as index_select, masked_fill as masked_fill,
    masked_scatter as masked_scatter, masked_select as masked_select, nonzero as nonzero, put as put,
    scatter as scatter, scatter_add as scatter_add, scatter_reduce as scatter_reduce, select_scatter as select_scatter,
    slice_scatter as slice_scatter, take as take, take_along_dim as take_along_dim, where as where,
)
from rushlight.tensor.ordering import (
    argsort as argsort, bincount as bincount, bucketize as bucketize, histc as histc, histogram as histogram,
    isin as isin, kthvalue as kthvalue, median as median, mode as mode, msort as msort, nanmedian as nanmedian,
    nanquantile as nanquantile, quantile as quantile, searchsorted as searchsorted, sort as sort, topk as topk,
    unique as unique, unique_consecutive as unique_consecutive,
)

# Printing, files, threads, settings
from rushlight.tensor.printing import get_printoptions as get_printoptions, set_printoptions as set_printoptions
from rushlight.io import load as load, save as save
from rushlight.settings import (
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
    get_float32_matmul_precision as get_float32_matmul_precision, get_num_interop_threads as get_num_interop_threads,
    get_num_threads as get_num_threads, set_float32_matmul_precision as set_float32_matmul_precision,
    set_flush_denormal as set_flush_denormal, set_num_interop_threads as set_num_interop_threads,
    set_num_threads as set_num_threads, use_deterministic_algorithms as use_deterministic_algorithms,
)

# fmt: on
from rushlight.submodules import __version__ as __version__
from rushlight.submodules import lazily as __getattr__  # noqa: F401 (nn, optim, cuda and their kin, when first used)

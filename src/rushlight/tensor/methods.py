"""The methods of Tensor that are functions and operations defined elsewhere: this is only the table of them."""

from __future__ import annotations

from rushlight import linalg
from rushlight.ops import elementwise, linear
from rushlight.tensor import (
    choosing,
    comparing,
    conversion,
    creation,
    data,
    joining,
    legacy,
    ordering,
    pointwise,
    queries,
    random,
    reducing,
    shaping,
    statistics,
)
from rushlight.tensor import storage as storages
from rushlight.tensor.arithmetic import inplace, overwriting


class Methods:
    """What a Tensor can do, by family. A function is called with the tensor as its first argument."""

    # Elementwise

    add = pointwise.add
    sub = subtract = pointwise.sub
    mul = multiply = pointwise.mul
    div = divide = true_divide = pointwise.div
    floor_divide = elementwise.floor_divide
    remainder = elementwise.remainder
    fmod = elementwise.fmod
    pow = pointwise.pow
    float_power = pointwise.float_power
    neg = negative = elementwise.negative
    positive = conj = conj_physical = resolve_conj = resolve_neg = pointwise.positive
    angle = pointwise.angle
    reciprocal = elementwise.reciprocal
    abs = absolute = elementwise.absolute
    sign = sgn = elementwise.sign
    signbit = elementwise.signbit
    copysign = elementwise.copysign
    nextafter = elementwise.nextafter
    frexp = pointwise.frexp
    addcmul = pointwise.addcmul
    addcdiv = pointwise.addcdiv
    lerp = elementwise.lerp
    floor = elementwise.floor
    ceil = elementwise.ceil
    trunc = fix = elementwise.trunc
    round = pointwise.round
    frac = elementwise.frac
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    fmax = elementwise.fmax
    fmin = elementwise.fmin
    clamp = clip = pointwise.clamp
    clamp_min = elementwise.clamp_min
    clamp_max = elementwise.clamp_max
    nan_to_num = pointwise.nan_to_num
    heaviside = elementwise.heaviside
    gcd = elementwise.gcd
    lcm = elementwise.lcm
    sqrt = elementwise.sqrt
    rsqrt = elementwise.rsqrt
    square = elementwise.square
    hypot = elementwise.hypot
    dist = pointwise.dist
    diff = pointwise.diff
    cross = pointwise.cross
    inner = pointwise.inner
    kron = pointwise.kron
    exp = elementwise.exp
    exp2 = elementwise.exp2
    expm1 = elementwise.expm1
    log = elementwise.log
    log2 = elementwise.log2
    log10 = elementwise.log10
    log1p = elementwise.log1p
    logaddexp = elementwise.logaddexp
    logaddexp2 = elementwise.logaddexp2
    xlogy = elementwise.xlogy
    logit = pointwise.logit
    sin = elementwise.sin
    cos = elementwise.cos
    tan = elementwise.tan
    asin = arcsin = elementwise.asin
    acos = arccos = elementwise.acos
    atan = arctan = elementwise.atan
    atan2 = arctan2 = elementwise.atan2
    sinh = elementwise.sinh
    cosh = elementwise.cosh
    tanh = elementwise.tanh
    asinh = arcsinh = elementwise.asinh
    acosh = arccosh = elementwise.acosh
    atanh = arctanh = elementwise.atanh
    sinc = elementwise.sinc
    deg2rad = elementwise.deg2rad
    rad2deg = elementwise.rad2deg
    erf = elementwise.erf
    erfc = elementwise.erfc
    erfinv = elementwise.erfinv
    lgamma = elementwise.lgamma
    mvlgamma = pointwise.mvlgamma
    polygamma = pointwise.polygamma
    digamma = elementwise.digamma
    sigmoid = elementwise.sigmoid
    relu = elementwise.relu
    prelu = pointwise.prelu
    hardshrink = pointwise.hardshrink
    ldexp = pointwise.ldexp
    ldexp_ = overwriting(pointwise.ldexp)
    softmax = pointwise.softmax
    log_softmax = pointwise.log_softmax
    eq = elementwise.equal
    ne = not_equal = elementwise.not_equal
    lt = less = elementwise.less
    le = less_equal = elementwise.less_equal
    gt = greater = elementwise.greater
    ge = greater_equal = elementwise.greater_equal
    isnan = elementwise.isnan
    isinf = elementwise.isinf
    isfinite = elementwise.isfinite
    isposinf = elementwise.isposinf
    isneginf = elementwise.isneginf
    isreal = pointwise.isreal
    logical_and = elementwise.logical_and
    logical_or = elementwise.logical_or
    logical_xor = elementwise.logical_xor
    logical_not = elementwise.logical_not
    bitwise_and = elementwise.bitwise_and
    bitwise_or = elementwise.bitwise_or
    bitwise_xor = elementwise.bitwise_xor
    bitwise_not = elementwise.bitwise_not
    bitwise_left_shift = elementwise.bitwise_left_shift
    bitwise_right_shift = elementwise.bitwise_right_shift

    # Elementwise, in place

    add_ = inplace(pointwise.add)
    sub_ = subtract_ = inplace(pointwise.sub)
    mul_ = multiply_ = inplace(pointwise.mul)
    div_ = divide_ = true_divide_ = inplace(pointwise.div)
    floor_divide_ = inplace(elementwise.floor_divide)
    remainder_ = inplace(elementwise.remainder)
    fmod_ = inplace(elementwise.fmod)
    pow_ = inplace(pointwise.pow)
    float_power_ = inplace(pointwise.float_power)
    neg_ = negative_ = inplace(elementwise.negative)
    reciprocal_ = inplace(elementwise.reciprocal)
    abs_ = absolute_ = inplace(elementwise.absolute)
    sign_ = sgn_ = inplace(elementwise.sign)
    copysign_ = inplace(elementwise.copysign)
    addcmul_ = inplace(pointwise.addcmul)
    addcdiv_ = inplace(pointwise.addcdiv)
    lerp_ = inplace(elementwise.lerp)
    floor_ = inplace(elementwise.floor)
    ceil_ = inplace(elementwise.ceil)
    trunc_ = fix_ = inplace(elementwise.trunc)
    round_ = inplace(pointwise.round)
    frac_ = inplace(elementwise.frac)
    clamp_ = clip_ = inplace(pointwise.clamp)
    clamp_min_ = inplace(elementwise.clamp_min)
    clamp_max_ = inplace(elementwise.clamp_max)
    nan_to_num_ = inplace(pointwise.nan_to_num)
    gcd_ = inplace(elementwise.gcd)
    lcm_ = inplace(elementwise.lcm)
    sqrt_ = inplace(elementwise.sqrt)
    rsqrt_ = inplace(elementwise.rsqrt)
    square_ = inplace(elementwise.square)
    hypot_ = inplace(elementwise.hypot)
    exp_ = inplace(elementwise.exp)
    exp2_ = inplace(elementwise.exp2)
    expm1_ = inplace(elementwise.expm1)
    log_ = inplace(elementwise.log)
    log2_ = inplace(elementwise.log2)
    log10_ = inplace(elementwise.log10)
    log1p_ = inplace(elementwise.log1p)
    xlogy_ = inplace(elementwise.xlogy)
    logit_ = inplace(pointwise.logit)
    sin_ = inplace(elementwise.sin)
    cos_ = inplace(elementwise.cos)
    tan_ = inplace(elementwise.tan)
    asin_ = arcsin_ = inplace(elementwise.asin)
    acos_ = arccos_ = inplace(elementwise.acos)
    atan_ = arctan_ = inplace(elementwise.atan)
    atan2_ = arctan2_ = inplace(elementwise.atan2)
    sinh_ = inplace(elementwise.sinh)
    cosh_ = inplace(elementwise.cosh)
    tanh_ = inplace(elementwise.tanh)
    asinh_ = arcsinh_ = inplace(elementwise.asinh)
    acosh_ = arccosh_ = inplace(elementwise.acosh)
    atanh_ = arctanh_ = inplace(elementwise.atanh)
    sinc_ = inplace(elementwise.sinc)
    deg2rad_ = inplace(elementwise.deg2rad)
    rad2deg_ = inplace(elementwise.rad2deg)
    erf_ = inplace(elementwise.erf)
    erfc_ = inplace(elementwise.erfc)
    erfinv_ = inplace(elementwise.erfinv)
    lgamma_ = inplace(elementwise.lgamma)
    digamma_ = inplace(elementwise.digamma)
    sigmoid_ = inplace(elementwise.sigmoid)
    relu_ = inplace(elementwise.relu)
    eq_ = inplace(elementwise.equal)
    ne_ = not_equal_ = inplace(elementwise.not_equal)
    lt_ = less_ = inplace(elementwise.less)
    le_ = less_equal_ = inplace(elementwise.less_equal)
    gt_ = greater_ = inplace(elementwise.greater)
    ge_ = greater_equal_ = inplace(elementwise.greater_equal)
    logical_and_ = inplace(elementwise.logical_and)
    logical_or_ = inplace(elementwise.logical_or)
    logical_xor_ = inplace(elementwise.logical_xor)
    logical_not_ = inplace(elementwise.logical_not)
    bitwise_and_ = inplace(elementwise.bitwise_and)
    bitwise_or_ = inplace(elementwise.bitwise_or)
    bitwise_xor_ = inplace(elementwise.bitwise_xor)
    bitwise_not_ = inplace(elementwise.bitwise_not)
    bitwise_left_shift_ = inplace(elementwise.bitwise_left_shift)
    bitwise_right_shift_ = inplace(elementwise.bitwise_right_shift)
    heaviside_ = inplace(elementwise.heaviside)
    nextafter_ = inplace(elementwise.nextafter)

    # Reductions and linear algebra

    sum = reducing.sum
    mean = reducing.mean
    nansum = reducing.nansum
    nanmean = reducing.nanmean
    prod = reducing.prod
    max = reducing.max
    min = reducing.min
    amax = reducing.amax
    amin = reducing.amin
    aminmax = reducing.aminmax
    argmax = reducing.argmax
    argmin = reducing.argmin
    all = reducing.all
    any = reducing.any
    var = reducing.var
    std = reducing.std
    norm = reducing.norm
    logsumexp = reducing.logsumexp
    cumsum = reducing.cumsum
    cumprod = reducing.cumprod
    cummax = reducing.cummax
    cummin = reducing.cummin
    logcumsumexp = reducing.logcumsumexp
    cumsum_ = inplace(reducing.cumsum)
    cumprod_ = inplace(reducing.cumprod)
    matmul = linear.matmul
    mm = linear.mm
    bmm = linear.bmm
    mv = linear.mv
    dot = linear.dot
    outer = ger = linear.outer
    addmm = linear.addmm
    addmv = linear.addmv
    addr = linear.addr
    baddbmm = linear.baddbmm
    addbmm = linear.addbmm
    addmm_ = overwriting(linear.addmm)
    addmv_ = overwriting(linear.addmv)
    addr_ = overwriting(linear.addr)
    baddbmm_ = overwriting(linear.baddbmm)
    addbmm_ = overwriting(linear.addbmm)
    vdot = linear.vdot
    det = linalg.det
    logdet = linalg.logdet
    slogdet = linalg.older_slogdet
    inverse = linalg.inv
    pinverse = linalg.older_pinv
    matrix_power = linalg.matrix_power
    matrix_exp = linalg.matrix_exp
    cholesky = linalg.older_cholesky
    cholesky_solve = linalg.cholesky_solve
    cholesky_inverse = linalg.cholesky_inverse
    lu = linalg.older_lu
    lu_solve = linalg.older_lu_solve
    triangular_solve = linalg.triangular_solve
    qr = linalg.older_qr
    svd = linalg.older_svd
    cov = statistics.cov
    corrcoef = statistics.corrcoef
    renorm = statistics.renorm
    renorm_ = overwriting(statistics.renorm)
    trace = joining.trace
    diag = joining.diag
    diag_embed = joining.diag_embed
    diagflat = joining.diagflat
    tril = joining.tril
    triu = joining.triu
    tril_ = inplace(joining.tril)
    triu_ = inplace(joining.triu)
    equal = comparing.equal
    isclose = comparing.isclose
    allclose = comparing.allclose

    # Shape

    reshape = shaping.reshape
    view = shaping.view
    view_as = shaping.view_as
    reshape_as = shaping.reshape_as
    flatten = shaping.flatten
    ravel = shaping.ravel
    unflatten = shaping.unflatten
    squeeze = shaping.squeeze
    unsqueeze = shaping.unsqueeze
    permute = shaping.permute
    transpose = swapdims = shaping.transpose
    swapaxes = shaping.swapaxes
    t = shaping.t
    movedim = moveaxis = shaping.movedim
    T = property(shaping.reversed_dims)
    real = property(pointwise.positive)
    mT = mH = property(shaping.matrix_transpose)
    H = property(shaping.matrix_transpose)
    adjoint = shaping.matrix_transpose
    expand = shaping.expand
    expand_as = shaping.expand_as
    broadcast_to = shaping.broadcast_to
    select = shaping.select
    narrow = shaping.narrow
    split = shaping.split_method
    chunk = shaping.chunk
    tensor_split = shaping.tensor_split
    split_with_sizes = unsafe_split = unsafe_split_with_sizes = shaping.split
    unsafe_chunk = shaping.chunk
    hsplit = shaping.hsplit
    vsplit = shaping.vsplit
    dsplit = shaping.dsplit
    unbind = shaping.unbind
    diagonal = shaping.diagonal
    unfold = shaping.unfold
    narrow_copy = shaping.narrow_copy
    sum_to_size = reducing.sum_to_size
    as_strided = shaping.as_strided

    squeeze_ = shaping.in_place(shaping.squeeze)
    unsqueeze_ = shaping.in_place(shaping.unsqueeze)
    transpose_ = swapaxes_ = swapdims_ = shaping.in_place(shaping.transpose)
    t_ = shaping.in_place(shaping.t)
    as_strided_ = shaping.in_place(shaping.as_strided)
    resize_ = shaping.resize_
    resize_as_ = shaping.resize_as_
    repeat = joining.repeat
    tile = joining.tile
    repeat_interleave = joining.repeat_interleave
    flip = joining.flip
    fliplr = joining.fliplr
    flipud = joining.flipud
    roll = joining.roll
    rot90 = joining.rot90

    # Choosing and ordering

    gather = choosing.gather
    take_along_dim = choosing.take_along_dim
    scatter = choosing.scatter
    scatter_ = choosing.scatter_
    scatter_add = choosing.scatter_add
    scatter_add_ = choosing.scatter_add_
    scatter_reduce = choosing.scatter_reduce
    scatter_reduce_ = choosing.scatter_reduce_
    index_select = choosing.index_select
    index_add = choosing.index_add
    index_add_ = choosing.index_add_
    index_reduce = choosing.index_reduce
    index_reduce_ = choosing.index_reduce_
    index_copy = choosing.index_copy
    index_copy_ = choosing.index_copy_
    index_fill = choosing.index_fill
    index_fill_ = choosing.index_fill_
    index_put = choosing.index_put
    index_put_ = choosing.index_put_
    take = choosing.take
    put = choosing.put
    put_ = choosing.put_
    masked_fill = choosing.masked_fill
    masked_fill_ = choosing.masked_fill_
    masked_select = choosing.masked_select
    masked_scatter = choosing.masked_scatter
    masked_scatter_ = choosing.masked_scatter_
    where = choosing.where_method
    nonzero = choosing.nonzero
    argwhere = choosing.argwhere
    count_nonzero = choosing.count_nonzero
    select_scatter = choosing.select_scatter
    slice_scatter = choosing.slice_scatter
    diagonal_scatter = choosing.diagonal_scatter
    fill_diagonal_ = choosing.fill_diagonal_
    sort = ordering.sort
    argsort = ordering.argsort
    msort = ordering.msort
    topk = ordering.topk
    kthvalue = ordering.kthvalue
    median = ordering.median
    nanmedian = ordering.nanmedian
    mode = ordering.mode
    quantile = ordering.quantile
    nanquantile = ordering.nanquantile
    unique = ordering.unique
    unique_consecutive = ordering.unique_consecutive
    bincount = ordering.bincount
    histc = ordering.histc
    histogram = ordering.histogram

    # Conversions and copies

    to = conversion.to
    float = conversion.float_
    double = conversion.double
    half = conversion.half
    bfloat16 = conversion.bfloat16
    long = conversion.long
    int = conversion.int_
    short = conversion.short
    char = conversion.char
    byte = conversion.byte
    bool = conversion.bool_
    type = conversion.type_
    type_as = conversion.type_as
    cpu = conversion.cpu
    cuda = conversion.cuda
    clone = conversion.clone
    contiguous = conversion.contiguous
    to_dense = conversion.to_dense
    to_sparse = to_sparse_coo = conversion.to_sparse
    is_contiguous = conversion.is_contiguous
    copy_ = conversion.copy_
    fill_ = conversion.fill_
    zero_ = conversion.zero_
    pin_memory = conversion.cpu
    share_memory_ = conversion.cpu
    is_pinned = conversion.is_never
    is_shared = conversion.is_never
    is_nonzero = queries.is_nonzero
    is_same_size = queries.is_same_size
    is_set_to = queries.is_set_to
    is_inference = conversion.is_never
    is_neg = is_conj = conversion.is_never
    get_device = queries.get_device
    is_signed = queries.is_signed
    untyped_storage = storages.untyped_storage
    storage = storages.storage
    apply_ = conversion.apply_
    map_ = conversion.map_
    set_ = conversion.set_
    item = conversion.item
    tolist = conversion.tolist
    numpy = conversion.numpy
    uniform_ = random.uniform_
    normal_ = random.normal_
    random_ = random.random_
    bernoulli_ = random.bernoulli_
    bernoulli = random.bernoulli
    multinomial = random.multinomial
    exponential_ = random.exponential_
    cauchy_ = random.cauchy_
    log_normal_ = random.log_normal_
    geometric_ = random.geometric_
    new = legacy.new
    new_tensor = data.new_tensor
    new_zeros = creation.new_zeros
    new_ones = creation.new_ones
    new_empty = creation.new_empty
    new_full = creation.new_full

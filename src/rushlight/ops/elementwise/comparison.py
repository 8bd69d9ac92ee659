"""Comparison, logic, bits and choice."""

from rushlight.ops.declare import Sample, elementwise

# Comparison


@elementwise(promotion="boolean", differentiable=False)
def equal(xp, x, y):
    """Whether x equals y."""
    return xp.equal(x, y)


@elementwise(promotion="boolean", differentiable=False)
def not_equal(xp, x, y):
    """Whether x differs from y."""
    return xp.not_equal(x, y)


@elementwise(promotion="boolean", differentiable=False)
def less(xp, x, y):
    """Whether x < y."""
    return xp.less(x, y)


@elementwise(promotion="boolean", differentiable=False)
def less_equal(xp, x, y):
    """Whether x <= y."""
    return xp.less_equal(x, y)


@elementwise(promotion="boolean", differentiable=False)
def greater(xp, x, y):
    """Whether x > y."""
    return xp.greater(x, y)


@elementwise(promotion="boolean", differentiable=False)
def greater_equal(xp, x, y):
    """Whether x >= y."""
    return xp.greater_equal(x, y)


@elementwise(promotion="boolean", differentiable=False)
def isnan(xp, x):
    """Whether x is NaN."""
    return xp.not_equal(x, x)


@elementwise(promotion="boolean", differentiable=False)
def isinf(xp, x):
    """Whether x is infinite."""
    return xp.isinf(x)


@elementwise(promotion="boolean", differentiable=False)
def isfinite(xp, x):
    """Whether x is neither infinite nor NaN."""
    return xp.isfinite(x)


@elementwise(promotion="boolean", differentiable=False)
def isposinf(xp, x):
    """Whether x is +infinity."""
    return xp.logical_and(xp.isinf(x), xp.greater(x, 0))


@elementwise(promotion="boolean", differentiable=False)
def isneginf(xp, x):
    """Whether x is -infinity."""
    return xp.logical_and(xp.isinf(x), xp.less(x, 0))


@elementwise(promotion="boolean", differentiable=False)
def signbit(xp, x):
    """Whether x is negative, or -0."""
    return xp.signbit(x)


# Logic


@elementwise(promotion="boolean", differentiable=False)
def logical_and(xp, x, y):
    """Whether neither x nor y is zero."""
    return xp.logical_and(x, y)


@elementwise(promotion="boolean", differentiable=False)
def logical_or(xp, x, y):
    """Whether x or y isn't zero."""
    return xp.logical_or(x, y)


@elementwise(promotion="boolean", differentiable=False)
def logical_xor(xp, x, y):
    """Whether just one of x and y is zero."""
    return xp.logical_xor(x, y)


@elementwise(promotion="boolean", differentiable=False)
def logical_not(xp, x):
    """Whether x is zero."""
    return xp.logical_not(x)


# Bits


@elementwise(differentiable=False)
def bitwise_and(xp, x, y):
    """x & y, of integers bit by bit, of booleans logically."""
    return x & y


@elementwise(differentiable=False)
def bitwise_or(xp, x, y):
    """x | y, of integers bit by bit, of booleans logically."""
    return x | y


@elementwise(differentiable=False)
def bitwise_xor(xp, x, y):
    """x ^ y, of integers bit by bit, of booleans logically."""
    return x ^ y


@elementwise(differentiable=False)
def bitwise_not(xp, x):
    """~x, of integers bit by bit, of booleans logically."""
    return ~x


@elementwise(differentiable=False)
def bitwise_left_shift(xp, x, y):
    """x shifted left by y bits."""
    return x << y


@elementwise(differentiable=False)
def bitwise_right_shift(xp, x, y):
    """x shifted right by y bits, arithmetically."""
    return x >> y


for _integral in (bitwise_and, bitwise_or, bitwise_xor, bitwise_left_shift, bitwise_right_shift):

    @_integral.samples
    def _(make):
        yield Sample((make(3, 4, low=0, high=9, dtype="int64"), make(4, low=0, high=9, dtype="int64")))
        yield Sample((make(5, low=0, high=7, dtype="uint8"), 3))


@bitwise_not.samples
def _(make):
    yield Sample((make(3, 4, low=0, high=9, dtype="int64"),))


# Choice


@elementwise(promotion="where")
def where(xp, condition, x, y):
    """x where condition holds, y elsewhere."""
    return xp.where(condition, x, y)


@where.gradient
def _(g, _y, condition, _a, _b):
    return None, lambda: where(condition, g, 0.0), lambda: where(condition, 0.0, g)

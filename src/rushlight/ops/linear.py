"""Matrix products: matmul and linear as operations, and everything composed of them, up to einsum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError, InputError, ShapeError
from rushlight.ops.declare import OPERATIONS, Sample, Spec, differentiated, operation
from rushlight.ops.elementwise import add, gelu, gelu_tanh, multiply, relu, sigmoid, silu, tanh, where
from rushlight.ops.movement import expand, permute, reshape, slice_
from rushlight.ops.reduction import sum_, sum_to


def check_dtypes(name: str, *tensors: Any) -> None:
    """Raises DtypeError unless all tensors have one dtype; None stands for a tensor that isn't given."""
    found = [dtypes.of_numpy(t.dtype).name for t in tensors if t is not None]
    if len(set(found)) > 1:
        raise DtypeError(
            f"{name}: the tensors must have the same dtype, but got {' and '.join(found)}; convert one with .to(dtype)"
        )


def in_wide_arithmetic(xp: Any, compute: Any, *arrays: Any) -> Any:
    """`compute(*arrays)`, in float32 where they have a half precision, slow or unknown to NumPy."""
    dtype = arrays[0].dtype
    if dtypes.of_numpy(dtype) in (dtypes.float16, dtypes.bfloat16):
        arrays = tuple(a.astype(np.float32) for a in arrays)
    return xp.asarray(compute(*arrays)).astype(dtype)


def swap_last(x: Any) -> Any:
    """x with its last two dimensions swapped."""
    return permute(x, dims=(*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2))


def _shaped(x: Any, shape: Sequence[int]) -> Any:
    """x in this shape; x itself where it has it."""
    return x if tuple(x.shape) == tuple(shape) else reshape(x, shape=tuple(shape))


@operation(kernel="matmul")
def matmul(xp: Any, a: Any, b: Any) -> Any:
    """Matrix product: a (..., m, k) times b (..., k, n) -> (..., m, n), leading dimensions broadcast.

    A vector is a row on the left and a column on the right, and its dimension is missing from the result.
    """
    if xp is np and math.prod(a.shape) * math.prod(b.shape) == 0:
        return np.zeros(matmul.shape_rule(a, b).shape, a.dtype)  # type: ignore[misc]
    return in_wide_arithmetic(xp, xp.matmul, a, b)


@matmul.shape
def _(a: Any, b: Any) -> Spec:
    left, right = tuple(a.shape), tuple(b.shape)
    if not left or not right:
        raise ShapeError(
            f"matmul: both arguments need to be at least 1D, but they are {len(left)}D and {len(right)}D; "
            "use * for numbers"
        )
    check_dtypes("matmul", a, b)
    if left[-1] != right[-2 if len(right) > 1 else 0]:
        raise ShapeError(
            f"matmul: mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, left))} and "
            f"{'x'.join(map(str, right))}): the last dimension of the first, {left[-1]}, must equal "
            f"{'dimension -2 of ' if len(right) > 1 else 'the length of '}the second, "
            f"{right[-2 if len(right) > 1 else 0]}"
        )
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul: the batch dimensions {left[:-2]} of {left} and {right[:-2]} of {right} don't broadcast"
        ) from None
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    return Spec((*batch, *rows, *columns), a.dtype)


@matmul.gradient
def _(g: Any, _y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    if a.ndim == 2 and b.ndim == 2:
        return lambda: linear(g, b, None), lambda: matmul(swap_last(a), g)
    rows, columns = tuple(a.shape), tuple(b.shape)
    left = reshape(a, shape=(1, *rows)) if len(rows) == 1 else a
    right = reshape(b, shape=(*columns, 1)) if len(columns) == 1 else b
    batch = np.broadcast_shapes(rows[:-2], columns[:-2])
    m, k, n = left.shape[-2], rows[-1], right.shape[-1]
    full = _shaped(g, (*batch, m, n))

    def of_a() -> Any:
        return _shaped(sum_to(matmul(full, swap_last(right)), tuple(left.shape)), rows)

    def of_b() -> Any:
        if right.ndim == 2 and left.ndim > 2 and k > 0 and n > 0:  # one tall product sums over the batch
            count = math.prod(batch) * m
            product = matmul(swap_last(reshape(left, shape=(count, k))), reshape(full, shape=(count, n)))
        else:
            product = sum_to(matmul(swap_last(left), full), tuple(right.shape))
        return _shaped(product, columns)

    return of_a, of_b


@matmul.samples
def _(make: Any) -> Iterator[Sample]:
    yield Sample((make(5, 7), make(7, 3)))
    yield Sample((make(2, 3, 4), make(4, 5)))
    yield Sample((make(2, 1, 3, 4), make(3, 4, 2)))
    yield Sample((make(3, 4), make(2, 4, 2)))
    yield Sample((make(4), make(4)))
    yield Sample((make(4), make(2, 4, 3)))
    yield Sample((make(2, 3, 4), make(4)))
    yield Sample((make(0, 4), make(4, 3)))
    yield Sample((make(3, 0), make(0, 2)))
    yield Sample((make(17, 33), make(33, 9)))


@operation(kernel="linear")
def linear(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """x (..., in_features) times the transpose of weight (out_features, in_features), plus bias (out_features)."""
    if bias is None:
        return in_wide_arithmetic(xp, lambda a, w: xp.matmul(a, w.T), x, weight)
    return in_wide_arithmetic(xp, lambda a, w, b: xp.matmul(a, w.T) + b, x, weight, bias)


@linear.shape
def _(x: Any, weight: Any, bias: Any = None) -> Spec:
    if len(weight.shape) != 2:
        raise ShapeError(f"linear: needs a weight (out_features, in_features), but got shape {tuple(weight.shape)}")
    out_features, in_features = weight.shape
    if not x.shape or x.shape[-1] != in_features:
        shapes = f"mat1 and mat2 shapes cannot be multiplied ({_as_matrix(x.shape)} and {in_features}x{out_features})"
        raise ShapeError(
            f"linear: got an input of shape {tuple(x.shape)}, needed a last dimension of {in_features} to go with the "
            f"weight {tuple(weight.shape)}; {shapes}"
        )
    if bias is not None and tuple(bias.shape) != (out_features,):
        raise ShapeError(
            f"linear: got a bias of shape {tuple(bias.shape)}, needed ({out_features},) to go with the weight "
            f"{tuple(weight.shape)}"
        )
    check_dtypes("linear", x, weight, bias)
    return Spec((*x.shape[:-1], out_features), x.dtype)


def _as_matrix(shape: Sequence[int]) -> str:
    return f"{math.prod(shape[:-1])}x{shape[-1] if shape else 1}"


@linear.gradient
def _(g: Any, _y: Any, x: Any, weight: Any, _bias: Any = None) -> tuple[Any, ...]:
    def of_weight() -> Any:
        if g.ndim == 2 and x.ndim == 2:
            return matmul(swap_last(g), x)
        rows = math.prod(x.shape[:-1])
        return matmul(swap_last(reshape(g, shape=(rows, g.shape[-1]))), reshape(x, shape=(rows, x.shape[-1])))

    def of_bias() -> Any:
        return sum_(g, dim=tuple(range(g.ndim - 1))) if g.ndim > 1 else g

    return lambda: matmul(g, weight), of_weight, of_bias


@linear.samples
def _(make: Any) -> Iterator[Sample]:
    yield Sample((make(5, 4), make(3, 4), make(3)))
    yield Sample((make(2, 3, 4), make(5, 4), None))
    yield Sample((make(4), make(3, 4), make(3)))
    yield Sample((make(0, 4), make(3, 4), make(3)))
    yield Sample((make(3, 0), make(2, 0), make(2)))
    yield Sample((make(33, 17), make(9, 17), make(9)))


def activated(activation: str, x: Any) -> Any:
    """`activation` ("none", or the name of an operation that kernels apply to their results) of a tensor or spec."""
    operations = {operation.name: operation for operation in (relu, gelu, gelu_tanh, sigmoid, tanh, silu)}
    if activation == "none":
        return x
    if activation not in operations:
        raise InputError(f"activation: {activation!r} is none of none, {', '.join(operations)}")
    return operations[activation].spec(x) if isinstance(x, Spec) else operations[activation](x)


def finished(xp: Any, result: Any, residual: Any, activation: str) -> Any:
    """The meaning of a kernel's last steps: activation(result + residual)."""
    if residual is not None:
        result = result + residual
    if activation == "none":
        return result
    return xp.asarray(OPERATIONS[activation].meaning(xp, result)).astype(result.dtype)


def check_residual(name: str, spec: Spec, residual: Any) -> None:
    """Raises ShapeError unless the residual is None or like the result."""
    if residual is not None and (tuple(residual.shape), residual.dtype) != spec:
        raise ShapeError(
            f"{name}: got a residual of shape {tuple(residual.shape)} and dtype {residual.dtype}, needed {spec.shape} "
            f"and {spec.dtype}"
        )


@operation(kernel="linear")
def linear_activation(xp: Any, x: Any, weight: Any, bias: Any, residual: Any, *, activation: str) -> Any:
    """activation(linear(x, weight, bias) + residual), in one sweep: what `compile` makes of these steps.

    bias, residual: may be None. activation: "none", "relu", "gelu", "gelu_tanh", "sigmoid", "tanh" or "silu".
    """
    return finished(xp, linear.meaning(xp, x, weight, bias), residual, activation)


@linear_activation.shape
def _(x: Any, weight: Any, bias: Any, residual: Any, *, activation: str) -> Spec:
    spec: Spec = linear.spec(x, weight, bias)
    check_residual("linear_activation", spec, residual)
    activated(activation, spec)
    return spec


@differentiated
def _composed(x: Any, weight: Any, bias: Any, residual: Any, *, activation: str) -> Any:
    result = linear(x, weight, bias)
    return activated(activation, result if residual is None else result + residual)


linear_activation.gradient(_composed)


@linear_activation.samples
def _(make: Any) -> Iterator[Sample]:
    yield Sample((make(5, 4), make(3, 4), make(3), make(5, 3)), {"activation": "none"})
    yield Sample((make(2, 3, 4), make(5, 4), None, make(2, 3, 5)), {"activation": "gelu"})
    yield Sample((make(5, 4), make(3, 4), make(3), None), {"activation": "sigmoid"})
    yield Sample((make(5, 4), make(3, 4), make(3), make(5, 3)), {"activation": "tanh"})
    yield Sample((make(0, 4), make(3, 4), make(3), None), {"activation": "silu"})


@operation(kernel="linear_relu_gradient")
def linear_relu_gradient(xp: Any, g: Any, weight: Any, y: Any) -> Any:
    """linear(g, weight) through the gradient of the relu whose result is y: what `compile` makes of these steps."""
    return xp.where(y <= 0, 0, linear.meaning(xp, g, weight, None)).astype(g.dtype)


@linear_relu_gradient.shape
def _(g: Any, weight: Any, y: Any) -> Spec:
    spec: Spec = linear.spec(g, weight, None)
    check_residual("linear_relu_gradient", spec, y)
    return spec


@differentiated
def _relu_gradient(g: Any, weight: Any, y: Any) -> Any:
    return where(y <= 0, 0.0, linear(g, weight, None))


linear_relu_gradient.gradient(_relu_gradient)


@linear_relu_gradient.samples
def _(make: Any) -> Iterator[Sample]:
    yield Sample((make(5, 4), make(3, 4), make(5, 3)))
    yield Sample((make(2, 3, 4), make(17, 4), make(2, 3, 17)))


# Compositions.


def _needs_dims(name: str, **tensors: tuple[Any, int]) -> None:
    for argument, (tensor, ndim) in tensors.items():
        if len(tensor.shape) != ndim:
            raise ShapeError(f"{name}: {argument} must be a {ndim}D tensor, but got shape {tuple(tensor.shape)}")


def _into(out: Any) -> dict[str, Any]:
    return {} if out is None else {"out": out}


def mm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """Product of two matrices."""
    _needs_dims("mm", self=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2, **_into(out))


def bmm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """Products of two batches of matrices: (b, n, m) and (b, m, p) -> (b, n, p)."""
    _needs_dims("bmm", batch1=(input, 3), batch2=(mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm: the batches have sizes {input.shape[0]} and {mat2.shape[0]}; they must be equal")
    result = matmul(input, mat2, **_into(out))
    if getattr(result, "_node", None) is not None:
        result._node.shown = "BmmBackward0"
    return result


def mv(input: Any, vec: Any, *, out: Any = None) -> Any:
    """Product of a matrix and a vector."""
    _needs_dims("mv", self=(input, 2), vec=(vec, 1))
    return matmul(input, vec, **_into(out))


def dot(input: Any, tensor: Any, *, out: Any = None) -> Any:
    """Sum of the products of two vectors of one length."""
    _needs_dims("dot", self=(input, 1), tensor=(tensor, 1))
    return matmul(input, tensor, **_into(out))


def vdot(input: Any, other: Any, *, out: Any = None) -> Any:
    """`dot`, which for real numbers is the same."""
    return dot(input, other, out=out)


def outer(input: Any, vec2: Any, *, out: Any = None) -> Any:
    """Matrix of the products of every element of one vector with every element of the other."""
    _needs_dims("outer", self=(input, 1), vec2=(vec2, 1))
    return multiply(reshape(input, shape=(-1, 1)), reshape(vec2, shape=(1, -1)), **_into(out))


def _blend(input: Any, product: Any, beta: float, alpha: float, out: Any) -> Any:
    """beta * input + alpha * product; with beta 0 the values of input, even nan, don't count."""
    if beta == 0:
        return multiply(product, alpha, **_into(out)) if alpha != 1 or out is not None else product
    scaled = product if alpha == 1 else product * alpha
    return add(input if beta == 1 else input * beta, scaled, **_into(out))


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _blend(input, mm(mat1, mat2), beta, alpha, out)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    """beta * input + alpha * (mat @ vec)."""
    return _blend(input, mv(mat, vec), beta, alpha, out)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _blend(input, outer(vec1, vec2), beta, alpha, out)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix."""
    return _blend(input, bmm(batch1, batch2), beta, alpha, out)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    """beta * input + alpha * the sum of batch1 @ batch2 over the batch."""
    return _blend(input, sum_(bmm(batch1, batch2), dim=(0,)), beta, alpha, out)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[..., o] = input1[..., :] @ weight[o] @ input2[..., :] + bias[o].

    Shapes: input1 (..., in1_features), input2 (..., in2_features), weight (out_features, in1_features, in2_features),
    bias (out_features) or None -> (..., out_features).
    """
    _needs_dims("bilinear", weight=(weight, 3))
    out_features, first, second = weight.shape
    if tuple(input1.shape[:-1]) != tuple(input2.shape[:-1]):
        raise ShapeError(
            f"bilinear: the inputs {tuple(input1.shape)} and {tuple(input2.shape)} must agree in all but the "
            "last dimension"
        )
    if input1.shape[-1] != first or input2.shape[-1] != second:
        raise ShapeError(
            f"bilinear: got inputs of {input1.shape[-1]} and {input2.shape[-1]} features, needed {first} and "
            f"{second} to go with the weight {tuple(weight.shape)}"
        )
    batch = tuple(input1.shape[:-1])
    rows = math.prod(batch)
    table = reshape(permute(weight, dims=(1, 0, 2)), shape=(first, out_features * second))
    halves = reshape(matmul(reshape(input1, shape=(rows, first)), table), shape=(rows, out_features, second))
    result = matmul(halves, reshape(input2, shape=(rows, second, 1)))
    result = reshape(result, shape=(*batch, out_features))
    return result if bias is None else result + bias


def tensordot(a: Any, b: Any, dims: int | Sequence[Sequence[int]] = 2) -> Any:
    """Sum of products over several dimensions: the last `dims` of a and first of b, or the two lists of `dims`."""
    if isinstance(dims, int):
        if not 0 <= dims <= min(len(a.shape), len(b.shape)):
            raise DimensionError(f"tensordot: dims={dims} for tensors of {len(a.shape)} and {len(b.shape)} dimensions")
        left, right = list(range(len(a.shape) - dims, len(a.shape))), list(range(dims))
    else:
        left, right = [d % len(a.shape) for d in dims[0]], [d % len(b.shape) for d in dims[1]]
    if len(left) != len(right):
        raise ShapeError(
            f"tensordot: both dimension lists should have the same length, got {len(left)} and {len(right)}"
        )
    names = list(range(len(a.shape) + len(b.shape)))
    a_names = names[: len(a.shape)]
    b_names = names[len(a.shape) :]
    for i, j in zip(left, right, strict=True):
        b_names[j] = a_names[i]
    kept = [n for i, n in enumerate(a_names) if i not in left] + [n for j, n in enumerate(b_names) if j not in right]
    return _contract_all("tensordot", [(a, a_names), (b, b_names)], kept)


def einsum(equation: str | Any, *operands: Any) -> Any:
    """Sum of products by Einstein's convention: `einsum("bij,bjk->bik", x, y)`.

    Labels are letters; `...` stands for further dimensions, which broadcast; a label repeated in one operand takes the
    diagonal; without `->` the result has the labels that occur once, in alphabetical order. The form
    `einsum(x, [0, 1], y, [1, 2], [0, 2])` works too, with Ellipsis in the lists. Contracted from left to right.
    """
    if not isinstance(equation, str):
        return _einsum_of_lists(equation, *operands)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ShapeError(f"einsum: the equation {equation!r} has {len(terms)} operands, but got {len(operands)}")
    inputs = [_parse_term(equation, term) for term in terms]
    output = _parse_term(equation, right) if arrow else None
    return _einsum(f"einsum {equation!r}", inputs, output, operands)


def _parse_term(equation: str, term: str) -> list[Any]:
    before, dots, after = term.partition("...")
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise ShapeError(f"einsum: in {equation!r} the term {term!r} has something that is no letter and no '...'")
    return [*before, *([Ellipsis] if dots else []), *after]


def _einsum_of_lists(*arguments: Any) -> Any:
    output = list(arguments[-1]) if len(arguments) % 2 else None
    pairs = len(arguments) // 2
    return _einsum("einsum", [list(arguments[2 * i + 1]) for i in range(pairs)], output, arguments[0 : 2 * pairs : 2])


def _einsum(name: str, inputs: list[list[Any]], output: list[Any] | None, operands: Sequence[Any]) -> Any:
    """The same with labels as lists; the dimensions of an Ellipsis become labels ("...", i), counted from the right."""
    terms = []
    widest = 0
    for position, (labels, operand) in enumerate(zip(inputs, operands, strict=True)):
        hidden = len(operand.shape) - (len(labels) - labels.count(Ellipsis))
        if hidden < 0 or (hidden > 0 and Ellipsis not in labels):
            raise ShapeError(
                f"{name}: the number of subscripts of operand {position} doesn't match its {len(operand.shape)} "
                f"dimensions, shape {tuple(operand.shape)}"
            )
        widest = max(widest, hidden)
        terms.append((operand, _spell_out(labels, hidden)))
    everything = [label for _, labels in terms for label in labels]
    if output is None:
        once = sorted(n for n in set(everything) if everything.count(n) == 1 and not isinstance(n, tuple))
        kept = [*_spell_out([Ellipsis], widest), *once]
    else:
        kept = _spell_out(output, widest)
    for label in kept:
        if label not in everything:
            raise ShapeError(f"{name}: the output subscript {label} does not appear in any input")
        if kept.count(label) > 1:
            raise ShapeError(f"{name}: the output subscript {label} appears more than once")
    return _contract_all(name, terms, kept)


def _spell_out(labels: list[Any], hidden: int) -> list[Any]:
    result: list[Any] = []
    for label in labels:
        result.extend([("...", i) for i in range(hidden, 0, -1)] if label is Ellipsis else [label])
    return result


def _contract_all(name: str, terms: list[tuple[Any, list[Any]]], kept: list[Any]) -> Any:
    """The sum of products of labelled tensors, over all labels that aren't in `kept`."""
    sizes: dict[Any, int] = {}
    for tensor, labels in terms:
        for label, n in zip(labels, tensor.shape, strict=True):
            if sizes.get(label, 1) not in (1, n) and n != 1:
                raise ShapeError(
                    f"{name}: the subscript {label} has sizes {sizes[label]} and {n}, which don't broadcast"
                )
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    result, names = _without_repeats(*terms[0])
    for position, term in enumerate(terms[1:], start=1):
        later = {label for _, labels in terms[position + 1 :] for label in labels} | set(kept)
        right, right_names = _without_repeats(*term)
        result, names = _sum_out(result, names, later | set(right_names))
        right, right_names = _sum_out(right, right_names, later | set(names))
        result, names = _contract(result, names, right, right_names, later, sizes)
    result, names = _sum_out(result, names, set(kept))
    result = permute(result, dims=tuple(names.index(label) for label in kept)) if names != kept else result
    return result


def _without_repeats(tensor: Any, labels: list[Any]) -> tuple[Any, list[Any]]:
    """The diagonal over labels that occur twice: every (n + 1)-th number of the two dimensions run together."""
    labels = list(labels)
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            n = max(tensor.shape[first], tensor.shape[second])
            sizes = list(tensor.shape)
            sizes[first] = sizes[second] = n
            others = [i for i in range(len(labels)) if i not in (first, second)]
            moved = permute(expand(tensor, shape=tuple(sizes)), dims=(*others, first, second))
            flat = reshape(moved, shape=(*(sizes[i] for i in others), n * n))
            tensor = slice_(flat, index=(Ellipsis, slice(None, None, n + 1)))
            labels = [*(labels[i] for i in others), label]
    return tensor, labels


def _sum_out(tensor: Any, labels: list[Any], wanted: set[Any]) -> tuple[Any, list[Any]]:
    dims = tuple(i for i, label in enumerate(labels) if label not in wanted)
    return (sum_(tensor, dim=dims) if dims else tensor), [label for label in labels if label in wanted]


def _contract(
    left: Any, left_names: list[Any], right: Any, right_names: list[Any], later: set[Any], sizes: dict[Any, int]
) -> tuple[Any, list[Any]]:
    """One product of two tensors by matmul: shared labels that are wanted later are its batch, the others its k.

    Where nothing is summed up it is one of elements.
    """
    shared = [label for label in left_names if label in right_names]
    batch = [label for label in shared if label in later]
    summed = [label for label in shared if label not in later]
    rows = [label for label in left_names if label not in shared]
    columns = [label for label in right_names if label not in shared]
    if not summed:
        names = [*left_names, *columns]
        moved = permute(right, dims=tuple(right_names.index(label) for label in names if label in right_names))
        of_right = dict(zip([label for label in names if label in right_names], moved.shape, strict=True))
        left = reshape(left, shape=(*left.shape, *[1] * len(columns)))
        return multiply(left, reshape(moved, shape=tuple(of_right.get(label, 1) for label in names))), names

    def arrange(tensor: Any, names: list[Any], *groups: list[Any]) -> Any:
        order = [*batch, *(label for group in groups for label in group)]
        moved = permute(tensor, dims=tuple(names.index(label) for label in order))
        full = tuple(sizes[label] if label in shared else n for label, n in zip(order, moved.shape, strict=True))
        moved = moved if full == tuple(moved.shape) else expand(moved, shape=full)
        lengths = iter(full[len(batch) :])
        joined = tuple(math.prod([next(lengths) for _ in group]) for group in groups)
        return reshape(moved, shape=(*full[: len(batch)], *joined))

    left_sizes, right_sizes = (
        [t.shape[names.index(label)] for label in group]
        for t, names, group in ((left, left_names, rows), (right, right_names, columns))
    )
    product = matmul(arrange(left, left_names, rows, summed), arrange(right, right_names, summed, columns))
    shape = (*(sizes[label] for label in batch), *left_sizes, *right_sizes)
    return reshape(product, shape=shape), [*batch, *rows, *columns]

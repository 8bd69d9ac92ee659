"""Expressions evaluated by both libraries, which must agree in values, shapes, dtypes, and on what is an error."""

import warnings

import numpy as np
import torch

import rushlight


def arrays():
    """The named arrays that expressions may use, the same for every call."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(3, 4)).astype(np.float32),
        "y": rng.normal(size=(3, 4)).astype(np.float32),
        "z": rng.normal(size=(2, 3, 4)).astype(np.float32),
        "v": rng.normal(size=4).astype(np.float32),
        "s": np.array(rng.normal(), np.float32),
        "d": rng.normal(size=(3, 4)),
        "i": rng.integers(-5, 6, (3, 4)),
        "j": rng.integers(0, 3, (3, 4)),
        "k": rng.integers(0, 3, 5),
        "b": rng.random((3, 4)) < 0.5,
        "u": rng.integers(0, 200, (3, 4)).astype(np.uint8),
        "e": np.zeros((0, 3), np.float32),
        "p": np.array([[3.0, 1, 2, 3], [1, 1, 2, 2], [4, 0, 0, 1]], np.float32),
        "n": np.array([np.nan, 1.0, np.inf, -np.inf, -2.5, 0.0], np.float32),
    }


def run(library, text, gradients):
    names = {name: library.from_numpy(array.copy()) for name, array in arrays().items()}
    if gradients:
        for tensor in names.values():
            if tensor.is_floating_point():
                tensor.requires_grad_()
    scope = {"torch": library, "np": np, **names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if "\n" in text or ";" in text:
                exec(text, scope)
                result = scope["r"]
            else:
                result = eval(text, scope)
            if gradients:
                total = sum_of(library, result)
                if total is not None:
                    total.backward()
                result = (result, [names[n].grad for n in "xyzvsd"])
        except Exception as error:
            return error
    return result


def sum_of(library, result):
    """A sum in which every element has another weight, or None where nothing requires a gradient."""
    total = None
    for part in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(part, library.Tensor) and part.requires_grad:
            weights = library.from_numpy(np.linspace(0.5, 2, max(part.numel(), 1))[: part.numel()].copy())
            term = (part.double() * weights.reshape(tuple(part.shape))).sum()
            total = term if total is None else total + term
    return total


def described(value):
    """A result as plain data."""
    if isinstance(value, (torch.Tensor, rushlight.Tensor)):
        value = value.detach()
        return ("tensor", str(value.dtype), tuple(value.shape), value.tolist())
    if isinstance(value, (tuple, list)):
        return [described(v) for v in value]
    if isinstance(value, dict):
        return {k: described(v) for k, v in value.items()}
    if isinstance(value, (int, float, bool, str, type(None))):
        return value
    return str(value)


def same(ours, theirs, tolerance):
    if isinstance(theirs, float) and isinstance(ours, float):
        return bool(np.isclose(ours, theirs, tolerance, tolerance, equal_nan=True))
    if isinstance(theirs, (list, tuple)) and isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(same(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))
    return type(ours) is type(theirs) and ours == theirs


def check(text, gradients=False, tolerance=2e-5):
    """Asserts that both libraries agree on the expression."""
    theirs, ours = run(torch, text, gradients), run(rushlight, text, gradients)
    if gradients and isinstance(theirs, Exception) and ("derivative" in str(theirs) or "inplace" in str(theirs)):
        return  # ours goes further
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{text}: PyTorch raises {theirs!r}, ours gives {ours!r}"
        assert isinstance(ours, type(theirs)), f"{text}: PyTorch raises {theirs!r}, ours {ours!r}"
        return
    if isinstance(ours, Exception):
        raise AssertionError(f"{text}: ours raises {ours!r}, PyTorch gives {theirs!r}") from ours
    a, b = described(ours), described(theirs)
    assert same(a, b, tolerance), f"{text}:\nours    {a}\nPyTorch {b}"

"""Runs a layer of ours and PyTorch's with the same weights and the same input, forward and backward."""

import numpy as np
import torch

import rushlight

TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


def close(ours, theirs, what, tolerance):
    theirs = theirs.detach().numpy()
    ours = ours.detach().numpy()
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch's {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{what}: dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=what)


def with_same_state(ours, theirs):
    """Checks names, shapes and repr, and gives both layers the same random state."""
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    rng = np.random.default_rng(0)
    for name, value in expected.items():
        assert tuple(state[name].shape) == tuple(value.shape), name
        if value.dtype.is_floating_point:
            new = torch.from_numpy(rng.uniform(0.5, 1.5, tuple(value.shape))).to(value.dtype)
            value.copy_(new)
            state[name].numpy()[...] = new.numpy()


def compare_layers(ours, theirs, *arrays, call=None, tolerance=None, **options):
    """The result, the gradients of inputs and parameters, and the buffers afterwards are equal."""
    with_same_state(ours, theirs)
    compare(ours, theirs, *arrays, tolerance=tolerance, **options)
    tolerance = tolerance or TOLERANCE[str(arrays[0].dtype)]
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if expected[name].grad is None:
            assert parameter.grad is None, name
        else:
            close(parameter.grad, expected[name].grad, f"gradient of {name}", tolerance)
    for (name, buffer), value in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        close(buffer, value, name, tolerance)


def compare(ours, theirs, *arrays, tolerance=None, **options):
    """The results of two functions, of several results all of them, and the gradients of the floating inputs."""
    tolerance = tolerance or TOLERANCE[str(arrays[0].dtype)]
    inputs = [rushlight.tensor(a) for a in arrays]
    expected_inputs = [torch.tensor(a) for a in arrays]
    for x, e in zip(inputs, expected_inputs, strict=True):
        if x.is_floating_point():
            x.requires_grad_()
            e.requires_grad_()
    result, expected = ours(*inputs, **options), theirs(*expected_inputs, **options)
    results = result if isinstance(result, tuple) else (result,)
    expecteds = expected if isinstance(expected, tuple) else (expected,)
    for index, (r, e) in enumerate(zip(results, expecteds, strict=True)):
        close(r, e, f"result {index}", tolerance)
    if expecteds[0].requires_grad:
        g = np.random.default_rng(1).uniform(-1, 1, tuple(expecteds[0].shape)).astype(arrays[0].dtype)
        results[0].backward(rushlight.tensor(g))
        expecteds[0].backward(torch.tensor(g))
        for index, (x, e) in enumerate(zip(inputs, expected_inputs, strict=True)):
            if e.grad is not None:
                close(x.grad, e.grad, f"gradient of input {index}", tolerance)


def same_errors(ours, theirs):
    """Both calls raise, ours an error that an `except` for PyTorch's type catches."""
    try:
        theirs()
    except Exception as error:
        kind = type(error)
    else:
        raise AssertionError("PyTorch raises nothing")
    try:
        ours()
    except kind as error:
        return str(error)
    raise AssertionError(f"ours doesn't raise {kind.__name__}")

"""Normalisation layers against PyTorch's: values, gradients, running statistics, names, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight
import rushlight.nn as nn
import rushlight.nn.functional as F

torch = pytest.importorskip("torch")
from layer_comparison import close, compare, compare_layers, same_errors, with_same_state  # noqa: E402

pytestmark = pytest.mark.oracle


def pair(name, *arguments, dtype="float64", **options):
    ours = getattr(nn, name)(*arguments, **options, dtype=getattr(rushlight, dtype))
    return ours, getattr(torch.nn, name)(*arguments, **options, dtype=getattr(torch, dtype))


def example(shape, dtype="float64", seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 2 + 3).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, (4, 3)), (1, (4, 3, 5)), (2, (2, 3, 4, 5)), (2, (2, 20, 1, 3)), (3, (2, 3, 2, 3, 4))]),
    st.sampled_from([0.1, None, 0.0, 1.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)
def test_batch_norm(case, momentum, affine, bias, track, dtype):
    dims, shape = case
    name = f"BatchNorm{dims}d"
    options = {"momentum": momentum, "affine": affine, "bias": bias, "track_running_stats": track, "eps": 1e-3}
    ours, theirs = pair(name, shape[1], dtype=dtype, **options)
    compare_layers(ours, theirs, example(shape, dtype))
    compare(ours, theirs, example(shape, dtype, 1))
    ours.eval()
    theirs.eval()
    compare(ours, theirs, example(shape, dtype, 2))
    for (key, buffer), value in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        close(buffer, value, key, 1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (0, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_eval(shape, affine):
    ours, theirs = pair("BatchNorm1d", 3, affine=affine)
    ours.eval()
    theirs.eval()
    compare_layers(ours, theirs, example(shape))


def test_batch_norm_then_inplace_activation():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
    expected = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(inplace=True))
    compare_layers(net, expected, example((2, 2, 6, 6), "float32"))


@pytest.mark.parametrize(("shape", "normalized"), [((2, 3, 4), 4), ((2, 3, 4), (3, 4)), ((6,), [6]), ((0, 4), 4)])
@pytest.mark.parametrize("options", [{}, {"elementwise_affine": False}, {"bias": False}, {"eps": 0.1}])
def test_layer_norm(shape, normalized, options):
    compare_layers(*pair("LayerNorm", normalized, **options), example(shape))


@pytest.mark.parametrize(("shape", "normalized"), [((2, 3, 4), 4), ((2, 3, 4), (3, 4)), ((6,), [6])])
@pytest.mark.parametrize("options", [{}, {"elementwise_affine": False}, {"eps": 0.1}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rms_norm(shape, normalized, options, dtype):
    compare_layers(*pair("RMSNorm", normalized, dtype=dtype, **options), example(shape, dtype))
    tiny = example(shape, dtype) * 1e-4
    compare(*pair("RMSNorm", normalized, dtype=dtype, elementwise_affine=False), tiny, tolerance=1e-3)


@pytest.mark.parametrize(
    ("groups", "shape"), [(1, (2, 6, 4)), (2, (2, 6, 3, 2)), (6, (2, 6, 5)), (3, (4, 6)), (2, (1, 4, 2, 2, 3))]
)
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}])
def test_group_norm(groups, shape, options):
    compare_layers(*pair("GroupNorm", groups, shape[1], **options), example(shape))


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize(
    "options", [{}, {"affine": True}, {"track_running_stats": True}, {"affine": True, "bias": False}]
)
def test_instance_norm(shape, options):
    dims = max(len(shape) - 2, 1)
    channels = shape[-1 - dims]
    ours, theirs = pair(f"InstanceNorm{dims}d", channels, **options)
    compare_layers(ours, theirs, example(shape))
    ours.eval()
    theirs.eval()
    compare_layers(ours, theirs, example(shape, seed=1))


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 6, 3, 4), (1, 3, 2, 2, 3), (0, 3, 4)])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_local_response_norm(shape, size):
    options = {"alpha": 0.2, "beta": 0.6, "k": 1.5}
    compare_layers(nn.LocalResponseNorm(size, **options), torch.nn.LocalResponseNorm(size, **options), example(shape))


def test_equivalences_of_the_tutorial():
    x_test = np.array([[[1, 2, -1, 1], [3, 4, -2, 2]], [[1, 2, -1, 1], [3, 4, -2, 2]]])
    x_test = rushlight.from_numpy(x_test).float()
    layer = nn.LayerNorm(normalized_shape=[2, 4])(x_test)
    instance = nn.InstanceNorm1d(num_features=2)(x_test)
    one = nn.GroupNorm(num_groups=1, num_channels=2, affine=False)(x_test)
    two = nn.GroupNorm(num_groups=2, num_channels=2, affine=False)(x_test)
    np.testing.assert_allclose(layer.detach().numpy(), one.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(instance.numpy(), two.numpy(), rtol=1e-6, atol=1e-6)
    expected = torch.nn.LayerNorm([2, 4])(torch.from_numpy(x_test.numpy()))
    close(layer, expected, "LayerNorm", 1e-6)
    for m in (nn.BatchNorm2d(5), nn.BatchNorm2d(5, affine=False)):
        assert m(rushlight.randn(20, 5, 35, 45)).shape == (20, 5, 35, 45)


def test_state_without_count_of_batches_is_loaded():
    ours, theirs = pair("BatchNorm2d", 3)
    with_same_state(ours, theirs)
    state = {k: v for k, v in ours.state_dict().items() if k != "num_batches_tracked"}
    nn.BatchNorm2d(3).load_state_dict(state)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda L: L.nn.GroupNorm(3, 10), "1, 2, 5, 10"),
        (lambda L: L.nn.GroupNorm(2, 4)(L.zeros(2, 5, 3)), "num_groups=2"),
        (lambda L: L.nn.GroupNorm(2, 4)(L.zeros(2, 6, 3)), "6 channels"),
        (lambda L: L.nn.BatchNorm1d(3)(L.zeros(1, 3)), "more than 1 value per channel"),
        (lambda L: L.nn.BatchNorm2d(3)(L.zeros(1, 3, 1, 1)), "more than 1 value per channel"),
        (lambda L: L.nn.BatchNorm1d(3)(L.zeros(1, 3, 4, 4)), "expected 2D or 3D input (got 4D input)"),
        (lambda L: L.nn.BatchNorm2d(3)(L.zeros(3, 4, 4)), "expected 4D input (got 3D input)"),
        (lambda L: L.nn.BatchNorm2d(3)(L.zeros(2, 4, 4, 3)), "permute(0, 3, 1, 2)"),
        (lambda L: L.nn.BatchNorm2d(3)(L.zeros(2, 4, 4, 4)), "expected 3 channels"),
        (lambda L: L.nn.InstanceNorm1d(3)(L.zeros(2, 3, 1)), "more than 1 spatial element"),
        (lambda L: L.nn.InstanceNorm2d(3, affine=True)(L.zeros(2, 4, 3, 3)), "num_features"),
        (lambda L: L.nn.InstanceNorm2d(3)(L.zeros(3, 3)), "3D or 4D"),
        (lambda L: L.nn.LayerNorm(4)(L.zeros(2, 3)), "[*, 4]"),
        (lambda L: L.nn.LayerNorm((2, 4))(L.zeros(4)), "[*, 2, 4]"),
        (lambda L: L.nn.RMSNorm(4)(L.zeros(2, 3)), "[*, 4]"),
        (lambda L: L.nn.LocalResponseNorm(2)(L.zeros(2, 3)), "3D"),
        (lambda L: L.nn.functional.batch_norm(L.zeros(2, 3), None, None), "running_mean"),
    ],
)
def test_errors(call, words):
    assert words in same_errors(lambda: call(rushlight), lambda: call(torch))


def test_a_failed_call_changes_nothing():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than 1 value"):
        layer(rushlight.ones(1, 3))
    assert int(layer.num_batches_tracked) == 0
    assert layer.running_mean.tolist() == [0.0] * 3


def test_functional_batch_norm_updates_the_statistics_given():
    x = example((4, 3, 5))
    mean, var = rushlight.zeros(3, dtype=rushlight.float64), rushlight.ones(3, dtype=rushlight.float64)
    expected_mean, expected_var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    y = F.batch_norm(rushlight.tensor(x), mean, var, training=True, momentum=0.3)
    expected = torch.nn.functional.batch_norm(torch.tensor(x), expected_mean, expected_var, training=True, momentum=0.3)
    close(y, expected, "y", 1e-9)
    close(mean, expected_mean, "mean", 1e-9)
    close(var, expected_var, "variance", 1e-9)

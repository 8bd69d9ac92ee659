"""nn.init and the layers' default initialisation give PyTorch's numbers for the same seed."""

import math

import numpy as np
import pytest

import rushlight
from rushlight import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

FILLS = [
    ("uniform_", (), {}), ("uniform_", (-2.0, 3.0), {}), ("normal_", (), {}), ("normal_", (1.0, 0.02), {}),
    ("trunc_normal_", (), {}), ("trunc_normal_", (), {"mean": 0.5, "std": 0.3, "a": 0.0, "b": 1.0}),
    ("constant_", (3.5,), {}), ("ones_", (), {}), ("zeros_", (), {}), ("xavier_uniform_", (), {"gain": 2.0}),
    ("xavier_normal_", (), {}), ("kaiming_uniform_", (), {}), ("kaiming_uniform_", (), {"a": math.sqrt(5)}),
    ("kaiming_normal_", (), {"mode": "fan_out", "nonlinearity": "relu"}), ("orthogonal_", (), {"gain": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (20, 30), (4, 3, 3, 3), (64, 3, 7, 7)])
@pytest.mark.parametrize(("name", "arguments", "options"), FILLS)
def test_fill(name, arguments, options, shape):
    ours, theirs = rushlight.empty(shape), torch.empty(shape)
    rushlight.manual_seed(3), torch.manual_seed(3)
    returned = getattr(nn.init, name)(ours, *arguments, **options)
    getattr(torch.nn.init, name)(theirs, *arguments, **options)
    assert returned is ours
    tolerance = 1e-5 if name in ("orthogonal_", "trunc_normal_") else 1e-6
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=tolerance)
    # The generator stands where PyTorch's stands.
    np.testing.assert_allclose(rushlight.rand(3).numpy(), torch.rand(3).numpy(), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [("eye_", (4, 6), {}), ("dirac_", (6, 2, 3), {"groups": 3}), ("dirac_", (5, 3, 3, 3), {}),
     ("dirac_", (2, 4, 2, 3, 3), {}), ("sparse_", (10, 7), {"sparsity": 0.35})],
)  # fmt: skip
def test_matrix(name, shape, options):
    ours, theirs = rushlight.empty(shape), torch.empty(shape)
    rushlight.manual_seed(3), torch.manual_seed(3)
    getattr(nn.init, name)(ours, **options)
    getattr(torch.nn.init, name)(theirs, **options)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("Linear", (20, 30), {}),
        ("Linear", (20, 30), {"bias": False}),
        ("Bilinear", (5, 6, 7), {}),
        ("Embedding", (10, 4), {"padding_idx": 2}),
        ("EmbeddingBag", (10, 4), {}),
        ("PReLU", (3,), {}),
        ("MultiheadAttention", (8, 2), {"add_bias_kv": True}),
        ("MultiheadAttention", (8, 2), {"kdim": 3, "vdim": 5}),
        ("RNN", (4, 6), {"num_layers": 2, "bidirectional": True}),
        ("LSTM", (4, 6), {"proj_size": 3}),
        ("GRU", (4, 6), {}),
        ("LSTMCell", (4, 6), {}),
    ],
)
def test_default_initialisation(name, arguments, options):
    rushlight.manual_seed(0), torch.manual_seed(0)
    ours = getattr(nn, name)(*arguments, **options)
    theirs = getattr(torch.nn, name)(*arguments, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), atol=1e-6, err_msg=key)


def test_through_data_apply_and_modules():
    def initialise(module):
        if module.__class__.__name__.find("Linear") != -1:
            module.weight.data.normal_(0.0, 0.02)
            module.bias.data.fill_(0)

    networks = []
    for library in (rushlight, torch):
        layers = library.nn
        library.manual_seed(0)
        network = layers.Sequential(layers.Linear(4, 3), layers.ReLU(), layers.Linear(3, 2))
        assert network.apply(initialise) is network
        for module in network.modules():
            if isinstance(module, layers.Linear):
                layers.init.xavier_normal_(module.weight)
        networks.append(network)
    for p, q in zip(*(n.parameters() for n in networks), strict=True):
        assert p.requires_grad and p.is_leaf
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-6)

"""A tutorial on neural networks in PyTorch: its listings run as printed, with the import changed."""

import math

import numpy as np
import pytest

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn
from rushlight.autograd import Variable


class NeuralNetwork(nn.Module):
    def __init__(self):
        super(NeuralNetwork, self).__init__()  # noqa: UP008 (as printed)
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, 10),
        )

    def forward(self, x):
        x = self.flatten(x)
        logits = self.linear_relu_stack(x)
        return logits


def test_network():
    model = NeuralNetwork()
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    assert str(model).startswith("NeuralNetwork(\n  (flatten): Flatten(start_dim=1, end_dim=-1)\n  (linear_relu_stack)")


def test_initialisation_by_apply():
    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1:
            nn.init.normal_(m.weight.data, 0.0, 0.02)
        elif classname.find("BatchNorm") != -1:
            nn.init.normal_(m.weight.data, 1.0, 0.02)
            nn.init.constant_(m.bias.data, 0)

    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))
    net[1].bias.data.fill_(5)
    net.apply(weights_init)
    assert abs(net[0].weight.std().item() - 0.02) < 0.002
    assert abs(net[1].weight.mean().item() - 1.0) < 0.02
    assert (net[1].bias == 0).all() and net[0].weight.requires_grad


class Model(nn.Module):
    def __init__(self, block=None, layers=None, num_classes=1000):
        self.inplanes = 64
        super(Model, self).__init__()  # noqa: UP008
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                n = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                m.weight.data.normal_(0, math.sqrt(2.0 / n))
            elif isinstance(m, nn.BatchNorm2d):
                m.weight.data.fill_(1)
                m.bias.data.zero_()

    def forward(self, x):
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))


def test_initialisation_in_the_constructor():
    model = Model()
    assert model.inplanes == 64
    assert abs(model.conv1.weight.std().item() - math.sqrt(2 / (49 * 64))) < 1e-3
    y = model(torch.randn(2, 3, 32, 32))
    assert y.shape == (2, 64, 8, 8)
    y.sum().backward()
    assert model.conv1.weight.grad.shape == (64, 3, 7, 7)


class MyLinear(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.randn(out_features))

    def forward(self, input):
        return (input @ self.weight) + self.bias


def test_own_layer_and_named_pairs():
    net = nn.Sequential(
        ("fc1", MyLinear(4, 3)),
        ("act", nn.ReLU()),
        ("fc2", MyLinear(3, 1)),
    )
    assert [n for n, _ in net.named_parameters()] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert repr(net) == "Sequential(\n  (fc1): MyLinear()\n  (act): ReLU()\n  (fc2): MyLinear()\n)"
    net(torch.randn(5, 4)).sum().backward()
    assert net.fc1.weight.grad is not None
    with pytest.raises(KeyError, match="two modules are named 'fc'"):
        nn.Sequential(("fc", nn.ReLU()), ("fc", nn.ReLU()))


def test_flatten():
    input = torch.randn(32, 1, 5, 5)
    m = nn.Sequential(nn.Conv2d(1, 32, 5, 1, 1), nn.Flatten())
    assert m(input).size() == torch.Size([32, 288])


def test_linear_and_dropout():
    m = nn.Linear(20, 30)
    assert str(m(torch.randn(128, 20)).size()) == "torch.Size([128, 30])"
    assert repr(torch.nn.Dropout(p=0.5, inplace=False)) == "Dropout(p=0.5, inplace=False)"


def test_convolution():
    conv2 = nn.Conv2d(in_channels=5, out_channels=32, kernel_size=5, stride=1, padding=2)
    x = torch.Tensor(16, 5, 3, 10).zero_()
    assert conv2(x).shape == conv2(Variable(x)).shape == (16, 32, 3, 10)


def test_pooling():
    max2 = torch.nn.MaxPool2d(3, 1, 0, 1)
    assert max2(torch.Tensor(16, 15, 15, 14).zero_()).shape == torch.Size([16, 15, 13, 12])
    assert torch.nn.AvgPool2d(3, stride=None, padding=0, ceil_mode=False, count_include_pad=True) is not None


def test_unpooling():
    img_tensor = torch.rand(16, 5, 32, 32)
    max_pool = nn.MaxPool2d(kernel_size=(2, 2), stride=(2, 2), return_indices=True, ceil_mode=True)
    img_pool, indices = max_pool(img_tensor)
    img_unpool = torch.rand_like(img_pool, dtype=torch.float)
    max_unpool = nn.MaxUnpool2d((2, 2), stride=(2, 2))
    restored = max_unpool(img_unpool, indices)
    assert restored.shape == img_tensor.shape
    assert torch.allclose(restored.sum(), img_unpool.sum())


def test_combined_pooling():
    def add_avgmax_pool2d(x, output_size=1):
        x_avg = F.adaptive_avg_pool2d(x, output_size)
        x_max = F.adaptive_max_pool2d(x, output_size)
        return 0.5 * (x_avg + x_max)

    def cat_avgmax_pool2d(x, output_size=1):
        x_avg = F.adaptive_avg_pool2d(x, output_size)
        x_max = F.adaptive_max_pool2d(x, output_size)
        return torch.cat([x_avg, x_max], 1)

    x = torch.randn(2, 3, 6, 6)
    both = cat_avgmax_pool2d(x)
    assert both.shape == (2, 6, 1, 1)
    assert torch.allclose(add_avgmax_pool2d(x), (both[:, :3] + both[:, 3:]) / 2)


def test_batch_norm():
    inputs = torch.randn(20, 5, 35, 45)
    for m in (nn.BatchNorm2d(5), nn.BatchNorm2d(5, affine=False)):
        output = m(inputs)
        assert output.mean((0, 2, 3)).abs().max() < 1e-5 and (output.var((0, 2, 3)) - 1).abs().max() < 1e-3


X_TEST = np.array([[[1, 2, -1, 1], [3, 4, -2, 2]], [[1, 2, -1, 1], [3, 4, -2, 2]]])


def normalised(x, axes):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def test_layer_instance_and_group_norm():
    x_test = torch.from_numpy(X_TEST).float()
    layer = nn.LayerNorm(normalized_shape=[2, 4])(x_test)
    instance = nn.InstanceNorm1d(num_features=2)(x_test)
    one_group = nn.GroupNorm(num_groups=1, num_channels=2, affine=False)(x_test)
    two_groups = nn.GroupNorm(num_groups=2, num_channels=2, affine=False)(x_test)
    np.testing.assert_allclose(layer.detach().numpy(), normalised(X_TEST, (1, 2)), atol=1e-5)
    np.testing.assert_allclose(instance.numpy(), normalised(X_TEST, 2), atol=1e-5)
    assert torch.allclose(one_group, layer) and torch.allclose(two_groups, instance)


def erf(x):
    return np.vectorize(math.erf)(x)


DEFINITIONS = [
    (nn.GELU(), lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))),
    (nn.ELU(alpha=1.0, inplace=False), lambda x: np.maximum(0, x) + np.minimum(0, np.exp(x) - 1)),
    (nn.LeakyReLU(negative_slope=0.01), lambda x: np.maximum(0, x) + 0.01 * np.minimum(0, x)),
    (nn.PReLU(num_parameters=1, init=0.25), lambda x: np.maximum(0, x) + 0.25 * np.minimum(0, x)),
    (nn.ReLU(inplace=False), lambda x: np.maximum(0, x)),
    (nn.ReLU6(inplace=False), lambda x: np.minimum(np.maximum(0, x), 6)),
    (
        nn.SELU(inplace=False),
        lambda x: 1.0507009873554805 * (np.maximum(0, x) + np.minimum(0, 1.6732632423543772 * (np.exp(x) - 1))),
    ),
    (nn.CELU(alpha=1.3), lambda x: np.maximum(0, x) + np.minimum(0, 1.3 * (np.exp(x / 1.3) - 1))),
    (nn.Sigmoid(), lambda x: 1 / (np.exp(-x) + 1)),
    (nn.LogSigmoid(), lambda x: np.log(1 / (np.exp(-x) + 1))),
    (nn.Tanh(), lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))),
    (nn.Tanhshrink(), lambda x: x - np.tanh(x)),
    (nn.Softplus(beta=1, threshold=20), lambda x: np.log(1 + np.exp(x))),
    (nn.Softshrink(lambd=0.5), lambda x: np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0))),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.Mish(), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    (nn.Hardtanh(), lambda x: np.clip(x, -1, 1)),
    (nn.Hardswish(), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    (nn.Hardsigmoid(), lambda x: np.clip(x + 3, 0, 6) / 6),
    (nn.Hardshrink(), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    (nn.Softsign(), lambda x: x / (1 + np.abs(x))),
    (nn.Threshold(0.3, 7.0), lambda x: np.where(x > 0.3, x, 7.0)),
]


@pytest.mark.parametrize(("layer", "definition"), DEFINITIONS, ids=lambda v: type(v).__name__)
def test_activation(layer, definition):
    x = np.random.default_rng(0).standard_normal((50, 7)) * 4
    y = layer(torch.from_numpy(x.astype(np.float32)))
    np.testing.assert_allclose(y.detach().numpy(), definition(x), atol=2e-6, rtol=2e-5)


def test_softmax():
    m = nn.Softmax(dim=1)
    input = torch.randn(2, 3)
    terms = np.exp(input.numpy())
    np.testing.assert_allclose(m(input).numpy(), terms / terms.sum(1, keepdims=True), rtol=1e-5)


def test_it_learns():
    torch.manual_seed(0)
    net = nn.Sequential(("fc1", MyLinear(4, 16)), ("act", nn.ReLU()), ("fc2", MyLinear(16, 3)))
    x = torch.randn(60, 4)
    y = x[:, :3].argmax(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]

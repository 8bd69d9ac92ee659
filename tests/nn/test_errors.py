"""What users read when something is wrong: where, what came, what was needed."""

import pytest

import rushlight as torch
from rushlight import nn


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x):
        return self.linear_relu_stack(self.flatten(x))


def test_wrong_shape_deep_in_a_network():
    with pytest.raises(RuntimeError) as caught:
        NeuralNetwork()(torch.zeros(32, 1, 32, 32))
    message = str(caught.value)
    assert "NeuralNetwork.linear_relu_stack.0: Linear(in_features=784, out_features=512, bias=True)" in message
    assert "(32, 1024)" in message and "784" in message.split("\n")[0]
    assert "the output of NeuralNetwork.flatten: Flatten(start_dim=1, end_dim=-1)" in message
    assert isinstance(caught.value, ValueError)  # the type of the error is the operation's


def test_the_producer_of_a_view_is_named():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.features(x).view(-1, 8))

    with pytest.raises(RuntimeError, match=r"a view \(reshape\) of the output of Classifier\.features\.1: ReLU"):
        Classifier()(torch.zeros(2, 3))


def test_modules_in_lists_and_unregistered_ones():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return nn.Linear(1, 1)(x)

    with pytest.raises(RuntimeError, match=r"in Net\.layers\.1: Linear"):
        Net()(torch.zeros(1, 2))
    net = Net()
    net.layers[1] = nn.Identity()
    with pytest.raises(RuntimeError, match=r"in Net\.\(Linear\): Linear\(in_features=1"):
        net(torch.zeros(1, 2))


def test_other_errors_get_a_note():
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        nn.Sequential(nn.Identity(), Broken())(torch.zeros(2, 3))
    assert caught.value.__notes__ == [
        "  in Sequential.1: Broken()\n"
        "  called with a float32 tensor of shape (2, 3), the output of Sequential.0: Identity()"
    ]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nn.Dropout(-0.1), ValueError, "dropout probability has to be between 0 and 1, but got -0.1"),
        (lambda: nn.Dropout2d(1.5), ValueError, "between 0 and 1, but got 1.5"),
        (lambda: nn.Linear(-1, 2), RuntimeError, "negative"),
        (lambda: nn.Bilinear(0, 2, 3), ValueError, "in1_features must be > 0"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "padding_idx must be within num_embeddings"),
        (lambda: nn.Hardtanh(1, -1), ValueError, "max_val must be larger than min_val"),
        (lambda: nn.Softshrink(-1), ValueError, "lambd must be greater or equal to 0"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "label_smoothing must be between 0.0 and 1.0"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "delta must be positive"),
        (lambda: nn.MultiheadAttention(10, 3), ValueError, "embed_dim must be divisible by num_heads, got 10 and 3"),
        (lambda: nn.RNN(2, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(2, 3, dropout=2.0), ValueError, "between 0 and 1"),
        (lambda: nn.Sequential([nn.ReLU()]), TypeError, r"list is not a Module subclass: .*Sequential\(\*modules\)"),
        (lambda: nn.Linear(2, 2).to("cuda"), RuntimeError, "CPU only"),
        (lambda: nn.Linear(2, 2).cuda(), RuntimeError, "CPU only"),
        (lambda: nn.Linear(2, 2)(torch.zeros(2, 2), 3), TypeError, "positional argument"),
    ],
)
def test_wrong_options_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_wrong_targets():
    scores = torch.zeros(4, 3)
    criterion = nn.CrossEntropyLoss()
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        criterion(scores, torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"must have shape \(4,\), got \(5,\)"):
        criterion(scores, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(RuntimeError, match=r"\.long\(\)"):
        criterion(scores, torch.zeros(4))
    with pytest.raises(RuntimeError, match="expected scalar type Long"):
        criterion(scores, torch.zeros(4, dtype=torch.int32))
    with pytest.raises(ValueError, match="target .*same"):
        nn.BCELoss()(torch.zeros(3), torch.zeros(4))
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        nn.BCELoss()(torch.ones(3) * 2, torch.zeros(3))
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        nn.MSELoss(reduction="average")(scores, scores)
    with pytest.warns(UserWarning, match="different to the input size"):
        nn.MSELoss()(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((torch.ones(1, 2), 3), r"linear\(\): argument 1 must be Tensor, not tuple: take it out of the tuple"),
        ([1.0, 2.0], r"argument 1 must be Tensor, not list: torch.tensor\(\) makes one"),
        (torch.ones(1, 2).numpy(), r"argument 1 must be Tensor, not ndarray: torch.from_numpy\(\) makes one"),
    ],
)
def test_what_is_no_tensor(wrong, message):
    with pytest.raises(TypeError, match=message) as raised:
        nn.Sequential(nn.Identity(), nn.Linear(2, 3))(wrong)
    assert f"in Sequential.1: {nn.Linear(2, 3)}" in raised.value.__notes__[0]
    with pytest.raises(AttributeError, match="LSTM takes Tensors, not a list"):
        nn.LSTM(2, 3)([1.0])


def test_modules_and_losses_in_the_wrong_place():
    with pytest.raises(RuntimeError, match="a loss is made of settings, and is then called"):
        nn.MSELoss(torch.ones(2), torch.ones(2))
    with pytest.raises(TypeError, match="relu is not a Module subclass: it is a function"):
        nn.Sequential(nn.Linear(1, 1), torch.relu)
    with pytest.raises(TypeError, match="ReLU is not a Module subclass: it is a class, call it"):
        nn.Sequential(nn.Linear(1, 1), nn.ReLU)
    with pytest.raises(NotImplementedError, match="call the modules that it holds"):
        nn.ModuleList([nn.Linear(1, 1)])(torch.ones(1))
    for take in (torch.optim.SGD, lambda m: nn.utils.clip_grad_norm_(m, 1.0)):
        with pytest.raises(TypeError, match=r"Linear.*call its parameters\(\)"):
            take(nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match=r"call \.squeeze\(1\) on it"):
        nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([[0], [1]]))
    with pytest.raises(RuntimeError, match=r"one-hot, call \.float\(\) on it"):
        nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([[1, 0, 0], [0, 1, 0]]))

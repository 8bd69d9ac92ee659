"""Layers and losses against PyTorch's: the same numbers forward and backward, and the same print."""

import warnings

import numpy as np
import pytest

import rushlight
from rushlight import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

rng = np.random.default_rng(0)


def numbers(*shape, dtype=np.float32, low=None):
    values = rng.standard_normal(shape) * 2 if low is None else rng.uniform(low, 1 - low, shape)
    return values.astype(dtype)


def both(value):
    """`value` with its arrays as tensors of rushlight, and as tensors of PyTorch."""
    if isinstance(value, np.ndarray):
        return rushlight.tensor(value), torch.tensor(value)
    if isinstance(value, dict):
        pairs = {k: both(v) for k, v in value.items()}
        return {k: p[0] for k, p in pairs.items()}, {k: p[1] for k, p in pairs.items()}
    return value, value


def flat(result):
    return [r for r in result if r is not None] if isinstance(result, tuple) else [result]


def check_module(ours, theirs, inputs, differentiable=True, tolerance=2e-5, **keywords):
    """Runs both on the same inputs and weights; compares results, gradients of inputs and parameters, and prints."""
    assert repr(ours) == repr(theirs)
    state = {k: rushlight.tensor(v.numpy()) for k, v in theirs.state_dict().items()}
    assert str(ours.load_state_dict(state)) == "<All keys matched successfully>"
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    pairs = [both(i) for i in inputs]
    options = both(keywords)
    for a, b in pairs:
        if differentiable and isinstance(a, rushlight.Tensor) and a.is_floating_point():
            a.requires_grad_()
            b.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = flat(ours(*(a for a, _ in pairs), **options[0]))
        expected = flat(theirs(*(b for _, b in pairs), **options[1]))
    assert len(got) == len(expected)
    for y, z in zip(got, expected, strict=True):
        assert tuple(y.shape) == tuple(z.shape)
        assert str(y.dtype) == str(z.dtype)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    if not differentiable:
        return
    total = sum((y * y).sum() for y in got if y.requires_grad)
    other = sum((z * z).sum() for z in expected if z.requires_grad)
    if not isinstance(total, int):
        total.backward()
        other.backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            scale = max(1.0, q.grad.abs().max().item())
            np.testing.assert_allclose(p.grad.numpy() / scale, q.grad.numpy() / scale, atol=5 * tolerance, err_msg=name)
    for a, b in pairs:
        if isinstance(a, rushlight.Tensor) and a.requires_grad and b.grad is not None:
            scale = max(1.0, b.grad.abs().max().item())
            np.testing.assert_allclose(a.grad.numpy() / scale, b.grad.numpy() / scale, atol=5 * tolerance)


ACTIVATIONS = [
    ("ReLU", {}), ("ReLU", {"inplace": True}), ("Threshold", {"threshold": 0.1, "value": 20}),
    ("Threshold", {"threshold": 0.1, "value": 20.0, "inplace": True}), ("RReLU", {}), ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}), ("ReLU6", {}), ("ReLU6", {"inplace": True}), ("Sigmoid", {}),
    ("Hardsigmoid", {}), ("Tanh", {}), ("SiLU", {}), ("SiLU", {"inplace": True}), ("Mish", {}), ("Hardswish", {}),
    ("ELU", {}), ("ELU", {"alpha": 0.5}), ("CELU", {"alpha": 2.0}), ("SELU", {}), ("SELU", {"inplace": True}),
    ("GLU", {}), ("GLU", {"dim": 0}), ("GELU", {}), ("GELU", {"approximate": "tanh"}), ("Hardshrink", {}),
    ("Hardshrink", {"lambd": 1.0}), ("LeakyReLU", {}), ("LeakyReLU", {"negative_slope": 0.2, "inplace": True}),
    ("LogSigmoid", {}), ("Softplus", {}), ("Softplus", {"beta": 2, "threshold": 3}), ("Softshrink", {}),
    ("PReLU", {}), ("PReLU", {"num_parameters": 6, "init": 0.1}), ("Softsign", {}), ("Tanhshrink", {}),
    ("Softmin", {"dim": 1}), ("Softmax", {"dim": 1}), ("Softmax", {"dim": -1}), ("LogSoftmax", {"dim": 0}),
    ("Softmax", {}), ("LogSoftmax", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation(name, options, dtype):
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    if dtype is np.float64:
        ours, theirs = ours.double(), theirs.double()
    if name == "RReLU":
        ours, theirs = ours.eval(), theirs.eval()
    inplace = options.get("inplace", False)
    check_module(ours, theirs, [numbers(4, 6, dtype=dtype)], differentiable=not inplace)
    check_module(ours, theirs, [numbers(2, 6, 4, dtype=dtype)], differentiable=not inplace)


def test_softmax2d():
    check_module(nn.Softmax2d(), torch.nn.Softmax2d(), [numbers(2, 3, 4, 5)])


LINEAR = [
    ("Linear", (5, 3), {}, [(7, 5)]),
    ("Linear", (5, 3), {"bias": False}, [(2, 4, 5)]),
    ("Linear", (5, 3), {}, [(5,)]),
    ("Bilinear", (5, 4, 3), {}, [(7, 5), (7, 4)]),
    ("Bilinear", (5, 4, 3), {"bias": False}, [(2, 3, 5), (2, 3, 4)]),
    ("Identity", (1, 2), {"whatever": 3}, [(2, 3)]),
    ("Flatten", (), {}, [(2, 3, 4)]),
    ("Flatten", (0, 1), {}, [(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [(4, 6)]),
    ("CosineSimilarity", (), {}, [(4, 6), (4, 6)]),
    ("PairwiseDistance", (), {"p": 1.0}, [(4, 6), (4, 6)]),
    ("PairwiseDistance", (), {"keepdim": True}, [(4, 6), (4, 6)]),
]


@pytest.mark.parametrize(("name", "arguments", "options", "shapes"), LINEAR)
def test_linear(name, arguments, options, shapes):
    ours, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    check_module(ours, theirs, [numbers(*s) for s in shapes])


def signs(*shape):
    return np.where(rng.standard_normal(shape) > 0, 1, -1)


def classes(*shape, count=5):
    return rng.integers(0, count, shape)


def weights(*shape):
    return rng.uniform(0.5, 2, shape).astype(np.float32)


LOSSES = [
    ("L1Loss", {}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("MSELoss", {}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("SmoothL1Loss", {}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("SmoothL1Loss", {"beta": 0.3}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("SmoothL1Loss", {"beta": 0.0}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("HuberLoss", {"delta": 0.7}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("NLLLoss", {}, lambda: [numbers(4, 5), classes(4)]),
    ("NLLLoss", {"ignore_index": 2}, lambda: [numbers(4, 5), np.array([2, 1, 0, 2])]),
    ("NLLLoss", {"weight": weights(5)}, lambda: [numbers(4, 5, 3), classes(4, 3)]),
    ("NLLLoss", {}, lambda: [numbers(5), np.array(3)]),
    ("CrossEntropyLoss", {}, lambda: [numbers(4, 5), classes(4)]),
    ("CrossEntropyLoss", {"weight": weights(5), "ignore_index": 1}, lambda: [numbers(4, 5), np.array([1, 2, 0, 4])]),
    ("CrossEntropyLoss", {"label_smoothing": 0.2}, lambda: [numbers(4, 5, 3), classes(4, 3)]),
    (
        "CrossEntropyLoss",
        {"weight": weights(5), "ignore_index": 1, "label_smoothing": 0.2},
        lambda: [numbers(4, 5), np.array([1, 2, 0, 4])],
    ),
    ("CrossEntropyLoss", {}, lambda: [numbers(5), np.array(2)]),
    ("CrossEntropyLoss", {}, lambda: [numbers(4, 5), weights(4, 5)]),
    ("CrossEntropyLoss", {"weight": weights(5), "label_smoothing": 0.1}, lambda: [numbers(4, 5, 2), weights(4, 5, 2)]),
    ("BCELoss", {}, lambda: [numbers(4, 5, low=0.01), numbers(4, 5, low=0.0)]),
    ("BCELoss", {"weight": weights(5)}, lambda: [numbers(4, 5, low=0.01), numbers(4, 5, low=0.0)]),
    ("BCEWithLogitsLoss", {}, lambda: [numbers(4, 5) * 20, numbers(4, 5, low=0.0)]),
    ("BCEWithLogitsLoss", {"pos_weight": weights(5)}, lambda: [numbers(4, 5), numbers(4, 5, low=0.0)]),
    ("BCEWithLogitsLoss", {"weight": weights(5), "pos_weight": weights(5)}, lambda: [numbers(4, 5), weights(4, 5)]),
    ("KLDivLoss", {}, lambda: [numbers(4, 5), numbers(4, 5, low=0.01)]),
    ("KLDivLoss", {"reduction": "batchmean"}, lambda: [numbers(4, 5), numbers(4, 5, low=0.01)]),
    ("KLDivLoss", {"log_target": True}, lambda: [numbers(4, 5), numbers(4, 5)]),
    ("PoissonNLLLoss", {"full": True}, lambda: [numbers(4, 5), weights(4, 5)]),
    ("PoissonNLLLoss", {"log_input": False}, lambda: [weights(4, 5), weights(4, 5)]),
    ("GaussianNLLLoss", {"full": True}, lambda: [numbers(4, 5), numbers(4, 5), weights(4, 5)]),
    ("GaussianNLLLoss", {}, lambda: [numbers(4, 5), numbers(4, 5), weights(4, 1)]),
    ("HingeEmbeddingLoss", {}, lambda: [numbers(4, 5), signs(4, 5)]),
    ("SoftMarginLoss", {}, lambda: [numbers(4, 5), signs(4, 5)]),
    ("MultiLabelSoftMarginLoss", {}, lambda: [numbers(4, 5), (signs(4, 5) > 0).astype(np.float32)]),
    ("MultiLabelSoftMarginLoss", {"weight": weights(5)}, lambda: [numbers(4, 5), (signs(4, 5) > 0).astype(np.float32)]),
    ("CosineEmbeddingLoss", {"margin": 0.1}, lambda: [numbers(4, 5), numbers(4, 5), signs(4)]),
    ("MarginRankingLoss", {"margin": 0.5}, lambda: [numbers(4), numbers(4), signs(4)]),
    ("MultiMarginLoss", {}, lambda: [numbers(4, 5), classes(4)]),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "weight": weights(5)}, lambda: [numbers(4, 5), classes(4)]),
    ("MultiLabelMarginLoss", {}, lambda: [numbers(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]])]),
    ("TripletMarginLoss", {}, lambda: [numbers(4, 5), numbers(4, 5), numbers(4, 5)]),
    ("TripletMarginLoss", {"swap": True, "p": 1, "margin": 2.0}, lambda: [numbers(4, 5), numbers(4, 5), numbers(4, 5)]),
    ("TripletMarginWithDistanceLoss", {}, lambda: [numbers(4, 5), numbers(4, 5), numbers(4, 5)]),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "inputs"), LOSSES)
def test_loss(name, options, inputs, reduction):
    mine, other = both({"reduction": reduction, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_module(getattr(nn, name)(**mine), getattr(torch.nn, name)(**other), inputs())


EMBEDDINGS = [
    ("Embedding", {}, [classes(3, 4)]),
    ("Embedding", {"padding_idx": 1}, [np.array([[1, 2], [0, 1]])]),
    ("Embedding", {"padding_idx": -1, "scale_grad_by_freq": True}, [np.array([[4, 2], [2, 1]])]),
    ("Embedding", {"max_norm": 1.0}, [np.array([[4, 2], [2, 1]])]),
    ("EmbeddingBag", {}, [np.array([[1, 2, 2], [0, 1, 4]])]),
    ("EmbeddingBag", {"mode": "sum"}, [np.array([1, 2, 4, 0, 4, 3, 2, 0]), np.array([0, 4, 4])]),
    ("EmbeddingBag", {"mode": "max"}, [np.array([1, 2, 4, 0, 4, 3, 2, 0]), np.array([0, 4])]),
    ("EmbeddingBag", {"padding_idx": 2}, [np.array([1, 2, 4, 0, 4, 3, 2, 0]), np.array([0, 4])]),
]


@pytest.mark.parametrize(("name", "options", "inputs"), EMBEDDINGS)
def test_embedding(name, options, inputs):
    check_module(getattr(nn, name)(5, 3, **options), getattr(torch.nn, name)(5, 3, **options), inputs)


ATTENTION = [
    ({}, (5, 2, 8), (6, 2, 8), (6, 2, 8), {}),
    ({"batch_first": True}, (2, 5, 8), (2, 6, 8), (2, 6, 8), {"average_attn_weights": False}),
    ({"kdim": 4, "vdim": 6}, (5, 2, 8), (6, 2, 4), (6, 2, 6), {}),
    ({"add_bias_kv": True, "add_zero_attn": True}, (5, 2, 8), (6, 2, 8), (6, 2, 8), {}),
    ({"bias": False}, (5, 8), (6, 8), (6, 8), {}),
    ({}, (5, 2, 8), (6, 2, 8), (6, 2, 8), {"attn_mask": rng.standard_normal((5, 6)).astype(np.float32)}),
    ({}, (5, 2, 8), (5, 2, 8), (5, 2, 8), {"attn_mask": np.triu(np.ones((5, 5), bool), 1), "need_weights": False}),
    (
        {"batch_first": True},
        (2, 5, 8),
        (2, 6, 8),
        (2, 6, 8),
        {"key_padding_mask": np.array([[False] * 6, [False] * 4 + [True] * 2])},
    ),
    (
        {"add_bias_kv": True},
        (5, 2, 8),
        (6, 2, 8),
        (6, 2, 8),
        {"key_padding_mask": np.array([[False] * 6, [False] * 4 + [True] * 2]), "need_weights": False},
    ),
]


@pytest.mark.parametrize(("options", "q", "k", "v", "keywords"), ATTENTION)
def test_multihead_attention(options, q, k, v, keywords):
    ours, theirs = nn.MultiheadAttention(8, 2, **options), torch.nn.MultiheadAttention(8, 2, **options)
    check_module(ours, theirs, [numbers(*q), numbers(*k), numbers(*v)], **keywords)


def test_scaled_dot_product_attention():
    q, k, v = numbers(2, 3, 5, 4), numbers(2, 3, 6, 4), numbers(2, 3, 6, 7)
    blind = rng.standard_normal((5, 6)) > 0
    blind[2] = False
    cases = [{}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": blind}, {"attn_mask": numbers(5, 6)}]
    for options in cases:
        mine, other = both(options)
        tensors = [both(t) for t in (q, k, v)]
        for a, b in tensors:
            a.requires_grad_(), b.requires_grad_()
        got = nn.functional.scaled_dot_product_attention(*(a for a, _ in tensors), **mine)
        expected = torch.nn.functional.scaled_dot_product_attention(*(b for _, b in tensors), **other)
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), atol=1e-5)
        got.sum().backward()
        expected.sum().backward()
        for a, b in tensors:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-5)


RECURRENT = [
    ("RNN", {}, (5, 2, 3), []),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}, (5, 2, 3), [(2, 2, 4)]),
    ("RNN", {"bidirectional": True, "batch_first": True}, (2, 5, 3), []),
    ("GRU", {}, (5, 2, 3), []),
    ("GRU", {"bidirectional": True, "num_layers": 2, "bias": False}, (5, 2, 3), [(4, 2, 4)]),
    ("GRU", {}, (5, 3), [(1, 4)]),
    ("RNNCell", {}, (2, 3), [(2, 4)]),
    ("RNNCell", {"nonlinearity": "relu"}, (2, 3), []),
    ("GRUCell", {}, (2, 3), [(2, 4)]),
    ("GRUCell", {"bias": False}, (3,), []),
]


@pytest.mark.parametrize(("name", "options", "shape", "states"), RECURRENT)
def test_recurrent(name, options, shape, states):
    ours, theirs = getattr(nn, name)(3, 4, **options), getattr(torch.nn, name)(3, 4, **options)
    check_module(ours, theirs, [numbers(*s) for s in (shape, *states)])


class Apart(torch.nn.Module):
    """An LSTM whose states are given and returned as separate tensors."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x, *states):
        output, (h, c) = self.lstm(x, states or None)
        return output, h, c


class OursApart(nn.Module):
    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    forward = Apart.forward

    def _get_name(self):
        return "Apart"


LSTMS = [
    ({}, (5, 2, 3), []),
    ({"num_layers": 2, "bidirectional": True}, (5, 2, 3), [(4, 2, 4), (4, 2, 4)]),
    ({"proj_size": 2, "batch_first": True}, (2, 5, 3), [(1, 2, 2), (1, 2, 4)]),
]


@pytest.mark.parametrize(("options", "shape", "states"), LSTMS)
def test_lstm(options, shape, states):
    ours, theirs = OursApart(nn.LSTM(3, 4, **options)), Apart(torch.nn.LSTM(3, 4, **options))
    check_module(ours, theirs, [numbers(*s) for s in (shape, *states)])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed_sequences(name):
    ours = getattr(nn, name)(3, 4, num_layers=2, bidirectional=True)
    theirs = getattr(torch.nn, name)(3, 4, num_layers=2, bidirectional=True)
    ours.load_state_dict({k: rushlight.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x, lengths = numbers(6, 4, 3), [3, 6, 1, 4]
    a, b = both(x)
    packed = nn.utils.rnn.pack_padded_sequence(a, lengths, enforce_sorted=False)
    other = torch.nn.utils.rnn.pack_padded_sequence(b, lengths, enforce_sorted=False)
    np.testing.assert_array_equal(packed.data.numpy(), other.data.numpy())
    np.testing.assert_array_equal(packed.batch_sizes.numpy(), other.batch_sizes.numpy())
    got, got_state = ours(packed)
    expected, expected_state = theirs(other)
    padded, sizes = nn.utils.rnn.pad_packed_sequence(got, batch_first=True)
    other_padded, other_sizes = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    assert sizes.tolist() == other_sizes.tolist() == lengths
    np.testing.assert_allclose(padded.detach().numpy(), other_padded.detach().numpy(), atol=1e-5)
    for s, t in zip(flat(got_state), flat(expected_state), strict=True):
        np.testing.assert_allclose(s.detach().numpy(), t.detach().numpy(), atol=1e-5)
    padded.sum().backward()
    other_padded.sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-4)


CAUSAL = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
PADDING = np.array([[False] * 5, [False] * 3 + [True] * 2])
TRANSFORMERS = [
    ("TransformerEncoderLayer", {}, [(5, 2, 8)], {}),
    ("TransformerEncoderLayer", {"activation": "gelu", "norm_first": True, "batch_first": True}, [(2, 5, 8)],
     {"src_mask": CAUSAL, "src_key_padding_mask": np.where(PADDING, -np.inf, 0).astype(np.float32)}),
    ("TransformerEncoderLayer", {"bias": False}, [(5, 8)], {}),
    ("TransformerDecoderLayer", {}, [(5, 2, 8), (6, 2, 8)], {"tgt_mask": CAUSAL}),
    ("TransformerDecoderLayer", {"norm_first": True, "batch_first": True}, [(2, 4, 8), (2, 5, 8)],
     {"memory_key_padding_mask": PADDING}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "shapes", "keywords"), TRANSFORMERS)
def test_transformer_layer(name, options, shapes, keywords):
    options = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0, **options}
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    check_module(ours, theirs, [numbers(*s) for s in shapes], tolerance=5e-5, **keywords)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_transformer():
    options = {"num_encoder_layers": 2, "num_decoder_layers": 2, "dim_feedforward": 16, "dropout": 0.0}
    rushlight.manual_seed(0), torch.manual_seed(0)
    ours, theirs = nn.Transformer(8, 2, **options), torch.nn.Transformer(8, 2, **options)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-6)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(mask.numpy(), torch.nn.Transformer.generate_square_subsequent_mask(4).numpy())
    check_module(ours, theirs, [numbers(5, 2, 8), numbers(4, 2, 8)], tolerance=1e-4, tgt_mask=mask.numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("layer", [("Linear", (4, 3), (2, 4)), ("ConvTranspose2d", (4, 3, 2), (2, 4, 3, 3))])
def test_normalised_weights(name, layer):
    kind, arguments, shape = layer
    ours = getattr(nn.utils, name)(getattr(nn, kind)(*arguments))
    theirs = getattr(torch.nn.utils, name)(getattr(torch.nn, kind)(*arguments))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    check_module(ours, theirs, [numbers(*shape)])
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), atol=1e-5, err_msg=key)
    ours.eval(), theirs.eval()
    x, y = both(numbers(*shape))
    for library, module in ((nn, ours), (torch.nn, theirs)):
        getattr(library.utils, f"remove_{name}")(module)
    np.testing.assert_allclose(ours(x).detach().numpy(), theirs(y).detach().numpy(), atol=1e-5)
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())


def test_clipping():
    for library in (rushlight, torch):
        parameters = [library.nn.Parameter(library.zeros(2)), library.nn.Parameter(library.zeros(3))]
        parameters[0].grad, parameters[1].grad = library.tensor([3.0, 0.0]), library.tensor([0.0, 4.0, 0.0])
        assert abs(library.nn.utils.clip_grad_norm_(parameters, 1.0).item() - 5.0) < 1e-6
        assert abs(parameters[1].grad[1].item() - 0.8) < 1e-5
        library.nn.utils.clip_grad_value_(parameters, 0.1)
        assert abs(parameters[0].grad[0].item() - 0.1) < 1e-6
        vector = library.nn.utils.parameters_to_vector(parameters)
        library.nn.utils.vector_to_parameters(vector + 2, parameters)
        assert parameters[1].tolist() == [2.0, 2.0, 2.0]

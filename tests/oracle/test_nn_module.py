"""Module and the containers behave as PyTorch's: registration, printing, hooks, state, errors."""

import copy
import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


def network(library):
    nn = library.nn

    class Block(nn.Module):
        def __init__(self, width):
            self.inplanes = 64  # before super().__init__()
            super().__init__()
            self.body = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Dropout(0.1))
            self.scale = nn.Parameter(library.ones(1))
            self.register_buffer("seen", library.zeros(1))
            self.register_buffer("scratch", library.zeros(2), persistent=False)
            self.register_parameter("nothing", None)

        def forward(self, x):
            return x + self.body(x) * self.scale

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(4) for _ in range(2)])
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Identity()})
            self.extra = nn.ParameterList([library.zeros(2), library.ones(3)])
            self.named = nn.ParameterDict({"left": library.zeros(2)})
            self.shared = self.heads["a"]
            self.sequence = nn.Sequential(OrderedDict([("one", nn.Linear(2, 2)), ("two", nn.Tanh())]))

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.sequence(self.heads["a"](x))

    return Network().eval()


@pytest.fixture
def pair():
    ours, theirs = network(rushlight), network(torch)
    ours.load_state_dict({k: rushlight.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def test_traversal_and_printing(pair):
    ours, theirs = pair
    assert repr(ours) == repr(theirs)
    for method in ("named_modules", "named_children", "named_parameters", "named_buffers"):
        assert [n for n, _ in getattr(ours, method)()] == [n for n, _ in getattr(theirs, method)()], method
    for method in ("modules", "children", "parameters", "buffers"):
        assert len(list(getattr(ours, method)())) == len(list(getattr(theirs, method)())), method
    options = {"remove_duplicate": False}
    assert [n for n, _ in ours.named_modules(**options)] == [n for n, _ in theirs.named_modules(**options)]
    assert [n for n, _ in ours.named_parameters(**options)] == [n for n, _ in theirs.named_parameters(**options)]
    assert [n for n, _ in ours.named_parameters(recurse=False)] == [
        n for n, _ in theirs.named_parameters(recurse=False)
    ]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert {k: dict(v) for k, v in ours.state_dict()._metadata.items()} == dict(theirs.state_dict()._metadata)
    assert set(dir(theirs)) - set(dir(ours)) <= {n for n in dir(torch.nn.Module()) if n.startswith("_") or n in MISSING}
    order = [], []
    ours.apply(lambda m: order[0].append(type(m).__name__))
    theirs.apply(lambda m: order[1].append(type(m).__name__))
    assert order[0] == order[1]


# For other devices, other hooks' names or TorchScript.
MISSING = {"T_destination", "call_super_init", "dump_patches", "compile", "ipu", "mtia", "xpu"}


def test_forward_and_backward(pair):
    ours, theirs = pair
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    ours(rushlight.tensor(x)).sum().backward()
    theirs(torch.tensor(x)).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-5)
    ours.zero_grad()
    assert all(p.grad is None for p in ours.parameters())


@pytest.mark.parametrize("library", [rushlight, torch], ids=["rushlight", "torch"])
def test_modes_copies_and_conversion(library):
    model = network(library)
    assert not any(m.training for m in model.modules())
    assert model.train() is model and all(m.training for m in model.modules())
    with pytest.raises(ValueError, match="boolean"):
        model.train("yes")
    twin = copy.deepcopy(model)
    assert twin.shared is twin.heads["a"] and twin.shared is not model.shared
    twin.shared.weight.data.fill_(7)
    assert model.shared.weight.flatten()[0] != 7
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())
    parameter = model.shared.weight
    model.double()
    assert model.shared.weight is parameter and parameter.dtype == library.float64
    assert isinstance(parameter, library.nn.Parameter)
    assert model.to(library.float32).blocks[0].seen.dtype == library.float32
    assert model.to("cpu") is model and model.cpu() is model
    with pytest.raises(TypeError):
        model.to(library.int64)
    linear = pickle.loads(pickle.dumps(library.nn.Linear(2, 3)))
    assert isinstance(linear.weight, library.nn.Parameter) and linear.weight.requires_grad
    names = [n for n in ("weight", "bias", "in_features") if n not in dir(linear)]
    assert not names


@pytest.mark.parametrize("library", [rushlight, torch], ids=["rushlight", "torch"])
def test_registration_errors(library):
    nn = library.nn

    class Early(nn.Module):
        def __init__(self, value):
            self.part = value
            super().__init__()

    for value, kind in ((nn.ReLU(), "module"), (nn.Parameter(library.zeros(1)), "parameters")):
        with pytest.raises(AttributeError, match=rf"cannot assign {kind} before Module.__init__\(\) call"):
            Early(value)
    module = nn.Linear(2, 3)
    with pytest.raises(TypeError, match="cannot assign"):
        module.weight = library.zeros(3, 2)
    with pytest.raises(AttributeError, match="no attribute 'weights'"):
        module.weights  # noqa: B018
    with pytest.raises(KeyError, match="already exists"):
        module.register_buffer("in_features", library.zeros(1))
    with pytest.raises(KeyError, match="contain"):
        module.register_parameter("a.b", None)
    with pytest.raises(KeyError, match="empty"):
        module.add_module("", nn.ReLU())
    with pytest.raises(TypeError):
        module.add_module("x", 3)
    with pytest.raises(ValueError, match="non-leaf"):
        module.register_parameter("made", _with_history(nn, library))
    module.bias = None
    assert module.bias is None and list(module.state_dict()) == ["weight"]
    del module.weight
    assert not hasattr(module, "weight")
    module.weight = library.zeros(3, 2)
    assert list(module.parameters()) == []
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def _with_history(nn, library):
    parameter = nn.Parameter(library.zeros(1))
    parameter.requires_grad_(False)
    parameter.mul_(nn.Parameter(library.ones(1)))
    return parameter


@pytest.mark.parametrize("library", [rushlight, torch], ids=["rushlight", "torch"])
def test_state_errors(library):
    nn = library.nn
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = model[0].weight.detach().clone()
    state = {
        "0.weight": library.zeros(2, 2),
        "0.bias": library.ones(3),
        "1.bias": library.zeros(2),
        "other": library.zeros(1),
    }
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "Error(s) in loading state_dict for Sequential",
        'Missing key(s) in state_dict: "1.weight"',
        'Unexpected key(s) in state_dict: "other"',
        "size mismatch for 0.weight: copying a param with shape torch.Size([2, 2]) from checkpoint, the shape in "
        "current model is torch.Size([3, 2])",
        "size mismatch for 1.bias",
    ):
        assert part in message
    assert (model[0].weight == before).all()
    if library is rushlight:  # nothing has been loaded
        assert not (model[0].bias == 1).all()
    found = model.load_state_dict({"0.bias": library.ones(3), "zzz": library.ones(1)}, strict=False)
    assert found.missing_keys == ["0.weight", "1.weight", "1.bias"] and found.unexpected_keys == ["zzz"]
    assert (model[0].bias == 1).all()
    fresh = library.zeros(3, 2)
    model.load_state_dict({**model.state_dict(), "0.weight": fresh}, assign=True)
    assert model[0].weight.data_ptr() == fresh.data_ptr() and isinstance(model[0].weight, nn.Parameter)
    with pytest.raises(TypeError):
        model.load_state_dict([1])


@pytest.mark.parametrize("library", [rushlight, torch], ids=["rushlight", "torch"])
def test_hooks(library):
    nn = library.nn
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    calls = []
    handles = [
        model.register_forward_pre_hook(lambda m, args: calls.append("pre") or (args[0] * 2,)),
        model.register_forward_hook(lambda m, args, out: calls.append("post") or out + 1),
        model.register_forward_hook(
            lambda m, a, k, out: calls.append(("kwargs", tuple(k))), with_kwargs=True, prepend=True
        ),
        model[0].register_full_backward_hook(lambda m, gi, go: calls.append(("back", len(gi), tuple(go[0].shape)))),
        model[0].register_full_backward_pre_hook(lambda m, go: calls.append("back pre") or (go[0] * 10,)),
    ]
    x = library.ones(3, 2, requires_grad=True)
    with library.no_grad():
        plain = library.relu(library.nn.functional.linear(x * 2, model[0].weight, model[0].bias)) + 1
    y = model(x)
    assert library.allclose(y, plain)
    y.sum().backward()
    assert calls == ["pre", ("kwargs", ()), "post", "back pre", ("back", 1, (3, 2))]
    weights = model[0].weight.grad.clone()
    for handle in handles:
        handle.remove()
    calls.clear()
    model.zero_grad()
    model(x * 2).sum().backward()
    assert calls == []
    assert library.allclose(weights, model[0].weight.grad * 10)
    failing = nn.Linear(2, 2)
    failing.register_forward_hook(lambda m, a, out: calls.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        failing(library.ones(3))
    assert calls == [None]


@pytest.mark.parametrize("library", [rushlight, torch], ids=["rushlight", "torch"])
def test_sequential(library):
    nn = library.nn
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    assert len(model) == 4 and model[-1] is model[3] and len(model[1:3]) == 2
    assert [n for n, _ in model[1:3].named_children()] == ["1", "2"]
    with pytest.raises(IndexError):
        model[4]
    model.append(nn.ReLU()).insert(0, nn.Flatten())
    assert type(model[0]).__name__ == "Flatten" and [n for n, _ in model.named_children()] == list("012345")
    del model[0]
    model[0] = nn.Tanh()
    assert [type(m).__name__ for m in model] == ["Tanh", "Linear", "Linear", "Linear", "ReLU"]
    assert len(model + nn.Sequential(nn.ReLU())) == 6 and len(nn.Sequential(nn.ReLU()) * 3) == 3
    assert len(model.extend([nn.ReLU(), nn.ReLU()])) == 7
    assert type(model.pop(-1)).__name__ == "ReLU" and len(model) == 6
    with pytest.raises(TypeError, match="is not a Module subclass"):
        nn.Sequential(3)
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers += [nn.ReLU()]
    layers.insert(1, nn.Tanh())
    assert [type(m).__name__ for m in layers] == ["Linear", "Tanh", "ReLU"] and len(layers[1:]) == 2
    assert [type(m).__name__ for m in layers + [nn.ReLU()]][-1] == "ReLU"
    branches = nn.ModuleDict([("x", nn.ReLU())])
    branches.update({"y": nn.Tanh()})
    assert list(branches.keys()) == ["x", "y"] and "x" in branches and branches.pop("x") is not None
    factors = nn.ParameterDict({"a": library.zeros(1)})
    factors["b"] = nn.Parameter(library.ones(2))
    assert list(factors) == ["a", "b"] and repr(factors).count("Parameter containing") == 2


def test_state_goes_to_pytorch_and_back(pair):
    ours, theirs = pair
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    ours.load_state_dict(rushlight.load(file))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())

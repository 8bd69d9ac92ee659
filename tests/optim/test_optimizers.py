"""The kernels of the optimizer steps against their meanings, and optimizers without PyTorch at hand."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight as torch
from rushlight import core, optim
from rushlight.ops.optimizer import UPDATES

NUMBERS = {
    "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "nesterov": False, "maximize": False,
    "first": False, "beta1": 0.8, "beta2": 0.95, "eps": 1e-8, "step": 3, "decoupled": False, "alpha": 0.9,
    "lr_decay": 0.1, "rho": 0.9, "mu": 0.9, "mu_next": 0.95, "product": 0.5, "shrink": 0.5, "grow": 1.2,
    "smallest": 1e-6, "largest": 2.5, "eta": 0.1, "lambd": 0.1,
}  # fmt: skip
KERNELS = {
    "sgd_update": (1, ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "first")),
    "adam_update": (3, ("lr", "beta1", "beta2", "eps", "weight_decay", "step", "decoupled", "maximize")),
    "rmsprop_update": (3, ("lr", "alpha", "eps", "weight_decay", "momentum", "maximize")),
    "adagrad_update": (1, ("lr", "lr_decay", "eps", "weight_decay", "step", "maximize")),
    "adadelta_update": (2, ("lr", "rho", "eps", "weight_decay", "maximize")),
    "adamax_update": (2, ("lr", "beta1", "beta2", "eps", "weight_decay", "step", "maximize")),
    "nadam_update": (
        2,
        ("lr", "beta1", "beta2", "eps", "weight_decay", "step", "mu", "mu_next", "product", "decoupled", "maximize"),
    ),
    "radam_update": (2, ("lr", "beta1", "beta2", "eps", "weight_decay", "step", "decoupled", "maximize")),
    "rprop_update": (2, ("shrink", "grow", "smallest", "largest", "maximize")),
    "asgd_update": (1, ("eta", "mu", "lambd", "weight_decay", "maximize")),
}


@pytest.mark.skipif(core.native is None, reason="compares the native kernels")
@pytest.mark.parametrize("name", KERNELS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_kernel_equals_meaning(name: str, data: st.DataObject) -> None:
    states, options = KERNELS[name]
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    shapes = data.draw(st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=4))
    chosen = {}
    for option in options:
        value = NUMBERS[option]
        if isinstance(value, bool):
            chosen[option] = data.draw(st.booleans())
        elif option == "weight_decay":
            chosen[option] = data.draw(st.sampled_from([0.0, 0.01]))
        elif option == "step":
            chosen[option] = data.draw(st.sampled_from([3, 30]))
        else:
            chosen[option] = value
    present = [name != "sgd_update" or data.draw(st.booleans())]
    present += [data.draw(st.booleans()) if name == "rmsprop_update" or i == 2 else True for i in range(1, states)]
    if name == "sgd_update" and not present[0]:
        chosen["momentum"] = 0.0
    if name == "adam_update":
        present[1] = True
    random = np.random.default_rng(0)
    lists = [[np.asarray(random.standard_normal(s), dtype) for s in shapes] for _ in range(2)]
    for position, there in enumerate(present):
        # The centered variance must stay positive: averages are small beside the root of the squares.
        low = 0.0 if name == "rmsprop_update" and position == 1 else 2.0
        lists.append([np.asarray(random.uniform(low, low + 1, s), dtype) for s in shapes] if there else None)
    expected = []
    for k in range(len(shapes)):
        expected.append(UPDATES[name].meaning(np, *(None if a is None else a[k] for a in lists), **chosen))
    update = UPDATES[name]
    tensors = [None if a is None else [torch.from_numpy(x.copy()) for x in a] for a in lists]
    update(*tensors, **chosen)
    for k, results in enumerate(expected):
        for row, result in zip([tensors[0], *tensors[2:]], results, strict=True):
            if row is not None:
                tolerance = 2e-5 if dtype == np.float32 else 1e-12
                np.testing.assert_allclose(row[k].numpy(), result, rtol=tolerance, atol=tolerance / 100)


OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    lambda p: optim.Adam(p, lr=0.1),
    lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.1),
    lambda p: optim.RMSprop(p, lr=0.05, centered=True, momentum=0.5),
    lambda p: optim.Adagrad(p, lr=0.5),
    lambda p: optim.Adadelta(p, lr=20.0),
    lambda p: optim.Adamax(p, lr=0.1),
    lambda p: optim.NAdam(p, lr=0.1),
    lambda p: optim.RAdam(p, lr=0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_finds_a_minimum_and_resumes_exactly(make) -> None:
    target = torch.tensor([1.0, -2.0, 3.0])

    def steps(parameter, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            loss = ((parameter - target) ** 2).sum()
            loss.backward()
            optimizer.step()
        return loss.item()

    parameter = torch.zeros(3, requires_grad=True)
    optimizer = make([parameter])
    steps(parameter, optimizer, 5)
    other = parameter.detach().clone().requires_grad_(True)
    resumed = make([other])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    loss = steps(parameter, optimizer, 200)
    steps(other, resumed, 200)
    assert loss < 0.1
    np.testing.assert_array_equal(parameter.detach().numpy(), other.detach().numpy())


def test_bad_arguments_are_refused() -> None:
    parameter = torch.zeros(3, requires_grad=True)
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(TypeError, match="iterable"):
        optim.SGD(parameter, lr=0.1)
    with pytest.raises(ValueError, match="learning rate: -1"):
        optim.Adam([parameter], lr=-1)
    with pytest.raises(ValueError, match="beta parameter at index 0"):
        optim.Adam([parameter], betas=(1.0, 0.9))
    with pytest.raises(ValueError, match="non-leaf"):
        optim.SGD([parameter * 2], lr=0.1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [parameter]}, {"params": [parameter]}], lr=0.1)
    with pytest.raises(ValueError, match="Nesterov"):
        optim.SGD([parameter], lr=0.1, nesterov=True)


def test_state_of_another_size_changes_nothing() -> None:
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = optim.Adam([parameter], lr=0.1)
    (parameter * 2).sum().backward()
    optimizer.step()
    before = optimizer.state_dict()
    other = optim.Adam([torch.zeros(1, requires_grad=True), torch.zeros(2, requires_grad=True)], lr=0.3)
    with pytest.raises(ValueError, match="2 parameters there, 1 here"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.state_dict()["param_groups"] == before["param_groups"]
    assert optimizer.state[parameter]["step"].item() == 1


def test_a_step_counts_as_a_change_in_place() -> None:
    parameter = torch.ones(3, requires_grad=True)
    optimizer = optim.SGD([parameter], lr=0.1)
    loss = (parameter * parameter).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, lr=0.1), lambda p: optim.SGD(p, lr=0.1)])
def test_a_parameter_that_comes_twice_is_moved_twice(make) -> None:
    once, twice, other = (torch.full((2,), 3.0, requires_grad=True) for _ in range(3))
    single = make([once])
    with pytest.warns(UserWarning, match="duplicate parameters"):
        double = make([twice, other, twice])
    double = copy.deepcopy(double)
    twice, other, _ = double.param_groups[0]["params"]
    for parameter in (once, twice, other):
        parameter.grad = torch.ones(2)
    single.step()
    double.step()
    np.testing.assert_array_equal(other.detach().numpy(), once.detach().numpy())
    single.step()
    np.testing.assert_array_equal(twice.detach().numpy(), once.detach().numpy())

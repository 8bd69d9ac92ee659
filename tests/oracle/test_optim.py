"""Optimizers and schedules against PyTorch's, step by step."""

import warnings
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rushlight
from rushlight.submodules import path_of_class

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

flags = st.booleans()
CASES = {
    "SGD": st.fixed_dictionaries(
        {"lr": st.just(0.1), "momentum": st.sampled_from([0.0, 0.9]), "weight_decay": st.sampled_from([0.0, 0.1]),
         "maximize": flags, "dampening": st.sampled_from([0.0, 0.2])}),
    "Adam": st.fixed_dictionaries(
        {"lr": st.just(0.1), "amsgrad": flags, "weight_decay": st.sampled_from([0.0, 0.1]), "maximize": flags}),
    "AdamW": st.fixed_dictionaries({"lr": st.just(0.1), "amsgrad": flags, "maximize": flags}),
    "RMSprop": st.fixed_dictionaries(
        {"lr": st.just(0.1), "centered": flags, "momentum": st.sampled_from([0.0, 0.9]), "maximize": flags,
         "weight_decay": st.sampled_from([0.0, 0.1])}),
    "Adagrad": st.fixed_dictionaries(
        {"lr": st.just(0.1), "lr_decay": st.sampled_from([0.0, 0.1]), "weight_decay": st.sampled_from([0.0, 0.1]),
         "initial_accumulator_value": st.sampled_from([0.0, 0.5])}),
    "Adadelta": st.fixed_dictionaries({"lr": st.just(1.0), "maximize": flags}),
    "Adamax": st.fixed_dictionaries({"lr": st.just(0.1), "weight_decay": st.sampled_from([0.0, 0.1])}),
    "NAdam": st.fixed_dictionaries({"lr": st.just(0.1), "decoupled_weight_decay": flags,
                                    "weight_decay": st.sampled_from([0.0, 0.1])}),
    "RAdam": st.fixed_dictionaries({"lr": st.just(0.1), "decoupled_weight_decay": flags,
                                    "weight_decay": st.sampled_from([0.0, 0.1])}),
}  # fmt: skip


def parameters(random: np.random.Generator, *shapes: tuple[int, ...]) -> tuple[list, list]:
    """The same random parameters here and in PyTorch."""
    starts = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    ours = [rushlight.from_numpy(a.copy()).requires_grad_(True) for a in starts]
    return ours, [torch.from_numpy(a.copy()).requires_grad_(True) for a in starts]


def give_gradients(random: np.random.Generator, ours: list, theirs: list) -> None:
    for a, b in zip(ours, theirs, strict=True):
        gradient = np.asarray(random.standard_normal(a.shape), np.float32)
        a.grad, b.grad = rushlight.from_numpy(gradient.copy()), torch.from_numpy(gradient.copy())


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_steps_and_states(name: str, data: st.DataObject) -> None:
    options = data.draw(CASES[name])
    random = np.random.default_rng(0)
    ours, theirs = parameters(random, (3, 4), (5,), ())
    here = getattr(rushlight.optim, name)([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.05}], **options)
    there = getattr(torch.optim, name)([{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.05}], **options)
    for step in range(8):
        give_gradients(random, ours, theirs)
        if step == 2:  # a parameter without a gradient
            ours[1].grad = theirs[1].grad = None
        here.step()
        there.step()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-4, atol=2e-5)
    mine, other = here.state_dict(), there.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    for number, state in other["state"].items():
        assert mine["state"][number].keys() == state.keys()
        for key, value in state.items():
            np.testing.assert_allclose(mine["state"][number][key].numpy(), value.numpy(), rtol=1e-4, atol=1e-6)
    assert [g["params"] for g in mine["param_groups"]] == [g["params"] for g in other["param_groups"]]
    assert mine["param_groups"][0].keys() == other["param_groups"][0].keys()


SCHEDULES = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5, 5]},
    "ExponentialLR": {"gamma": 0.9},
    "ConstantLR": {"factor": 0.5, "total_iters": 4},
    "LinearLR": {"total_iters": 6},
    "PolynomialLR": {"total_iters": 7, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 5, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.95},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 20},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "triangular2"},
}


def rates(library, name, options):
    parameter = library.zeros(2, requires_grad=True)
    optimizer = library.optim.SGD([parameter], lr=0.5, momentum=0.9)
    schedule = getattr(library.optim.lr_scheduler, name)(optimizer, **options)
    found = [(optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"])]
    for _ in range(19):
        optimizer.step()
        schedule.step()
        found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    np.testing.assert_allclose(
        rates(rushlight, name, SCHEDULES[name]), rates(torch, name, SCHEDULES[name]), rtol=1e-9, atol=1e-12
    )


def test_reduce_on_plateau() -> None:
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.95, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    found = []
    for library in (rushlight, torch):
        optimizer = library.optim.SGD([library.zeros(2, requires_grad=True)], lr=0.5)
        schedule = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
        found.append([])
        for loss in losses:
            schedule.step(loss)
            found[-1].append(optimizer.param_groups[0]["lr"])
    assert found[0] == found[1]


def test_schedules_in_sequence_and_chained() -> None:
    found = []
    for library in (rushlight, torch):
        schedulers = library.optim.lr_scheduler
        optimizer = library.optim.SGD([library.zeros(2, requires_grad=True)], lr=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule = schedulers.SequentialLR(
                optimizer,
                [schedulers.ConstantLR(optimizer, 0.1, 3), schedulers.ExponentialLR(optimizer, 0.9)],
                milestones=[4],
            )
            found.append([])
            for _ in range(8):
                optimizer.step()
                schedule.step()
                found[-1].append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(found[0], found[1])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("history", [100, 2])
def test_lbfgs(search: str | None, history: int) -> None:
    found = []
    for t in (rushlight, torch):
        x = t.tensor([-1.2, 1.0], dtype=t.float64, requires_grad=True)
        optimizer = t.optim.LBFGS([x], lr=0.1, max_iter=6, history_size=history, line_search_fn=search)

        def closure(x=x, optimizer=optimizer):
            optimizer.zero_grad()
            loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
            loss.backward()
            return loss

        values = [optimizer.step(closure).item() for _ in range(4)]
        found.append([*values, *x.tolist(), optimizer.state[x]["func_evals"]])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True}, {"eps": (1e-6, 1e-2), "d": 2.0}])
def test_adafactor(options: dict) -> None:
    random = np.random.default_rng(0)
    ours, theirs = parameters(random, (3, 4), (5,), (2, 3, 4), ())
    here, there = rushlight.optim.Adafactor(ours, **options), torch.optim.Adafactor(theirs, **options)
    for _ in range(6):
        give_gradients(random, ours, theirs)
        here.step()
        there.step()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    mine, other = here.state_dict(), there.state_dict()
    for number, state in other["state"].items():
        assert mine["state"][number].keys() == state.keys()
        for key, value in state.items():
            np.testing.assert_allclose(mine["state"][number][key].numpy(), value.numpy(), rtol=1e-4, atol=1e-6)
    assert mine["param_groups"][0].keys() == other["param_groups"][0].keys()


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}])
def test_muon(options: dict) -> None:
    random = np.random.default_rng(0)
    ours, theirs = parameters(random, (3, 8), (6, 4))
    here, there = rushlight.optim.Muon(ours, lr=0.1, **options), torch.optim.Muon(theirs, lr=0.1, **options)
    for _ in range(5):
        give_gradients(random, ours, theirs)
        here.step()
        there.step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-2, atol=3e-3)  # in bfloat16
        np.testing.assert_allclose(
            here.state[a]["momentum_buffer"].numpy(), there.state[b]["momentum_buffer"].numpy(), rtol=1e-5, atol=1e-6
        )
    assert here.state_dict()["param_groups"][0].keys() == there.state_dict()["param_groups"][0].keys()
    for library in (rushlight, torch):
        with pytest.raises(ValueError, match="2D"):
            library.optim.Muon([library.zeros(3, requires_grad=True)])


@pytest.mark.parametrize("package", ["optim", "optim.lr_scheduler"])
def test_classes_stand_where_pytorch_has_them(package: str) -> None:
    ours, theirs = attrgetter(package)(rushlight), attrgetter(package)(torch)
    shared = [name for name in vars(ours) if name[0].isupper() and isinstance(getattr(theirs, name, None), type)]
    assert len(shared) > 10
    for name in shared:
        assert path_of_class(getattr(ours, name)) == getattr(theirs, name).__module__, name

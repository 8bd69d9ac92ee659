"""The optimizers' update kernels against PyTorch's optimizers, several steps long."""

import itertools

import numpy as np
import pytest

core = pytest.importorskip("rushlight.core")
native = core.native
if native is None:
    pytest.skip("no native core", allow_module_level=True)

SHAPES = [(3, 4), (3,), (1,), (0, 5), (100, 1000), ()]
NAMES = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")


def arrays(dtype, seed):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


def zeros(values):
    return [np.zeros_like(v) for v in values]


def reference(optimizer, start, steps, **options):
    torch = pytest.importorskip("torch")
    parameters = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in start]
    rule = getattr(torch.optim, optimizer)(parameters, foreach=False, **options)
    for step in range(steps):
        for parameter, gradient in zip(parameters, arrays(start[0].dtype, 100 + step), strict=True):
            parameter.grad = torch.from_numpy(gradient)
        rule.step()
    return [p.detach().numpy() for p in parameters]


def check(got, expected):
    tolerance = 1e-6 if got[0].dtype == np.float32 else 1e-14
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=4 * tolerance, atol=tolerance)


def run(dtype, step, count=4):
    parameters = arrays(dtype, 0)
    for i in range(count):
        assert step(i, parameters, arrays(dtype, 100 + i)) is None
    return parameters


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("momentum", "dampening", "weight_decay", "nesterov", "maximize"),
    [
        case
        for case in itertools.product((0, 0.9), (0, 0.3), (0, 0.1), (False, True), (False, True))
        if not (case[3] and (case[0] == 0 or case[1] != 0)) and not (case[0] == 0 and case[1] != 0)
    ],
)
def test_sgd(dtype, momentum, dampening, weight_decay, nesterov, maximize):
    options = dict(zip(NAMES, (0.1, momentum, dampening, weight_decay, nesterov, maximize), strict=True))
    buffers = [np.full_like(p, np.nan) for p in arrays(dtype, 0)] if momentum else None
    got = run(dtype, lambda i, p, g: native.sgd_update(p, g, buffers, first=i == 0, **options))
    check(got, reference("SGD", arrays(dtype, 0), 4, **options))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.3, 0.5)])
def test_adam(dtype, weight_decay, amsgrad, maximize, optimizer, betas):
    start = arrays(dtype, 0)
    averages, squares, largest = zeros(start), zeros(start), zeros(start) if amsgrad else None
    got = run(
        dtype,
        lambda i, p, g: native.adam_update(
            p, g, averages, squares, largest, lr=0.01, beta1=betas[0], beta2=betas[1], eps=1e-8,
            weight_decay=weight_decay, step=i + 1, decoupled=optimizer == "AdamW", maximize=maximize,
        ),
    )  # fmt: skip
    options = {"lr": 0.01, "betas": betas, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize}
    check(got, reference(optimizer, start, 4, **options))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("maximize", [False, True])
def test_rmsprop(dtype, weight_decay, centered, momentum, maximize):
    start = arrays(dtype, 0)
    squares, averages = zeros(start), zeros(start) if centered else None
    buffers = zeros(start) if momentum else None
    options = {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "weight_decay": weight_decay, "momentum": momentum}
    got = run(
        dtype,
        lambda i, p, g: native.rmsprop_update(p, g, squares, averages, buffers, maximize=maximize, **options),
    )
    check(got, reference("RMSprop", start, 4, centered=centered, maximize=maximize, **options))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("maximize", [False, True])
def test_adagrad(dtype, weight_decay, maximize):
    start = arrays(dtype, 0)
    sums = zeros(start)
    options = {"lr": 0.01, "lr_decay": 0.1, "eps": 1e-10, "weight_decay": weight_decay, "maximize": maximize}
    got = run(dtype, lambda i, p, g: native.adagrad_update(p, g, sums, step=i + 1, **options))
    check(got, reference("Adagrad", start, 4, **options))


SGD = dict(zip(NAMES, (0.1, 0.9, 0, 0, False, False), strict=True))


@pytest.mark.parametrize("spoil", ["strided", "read-only", "shape", "dtype", "count"])
def test_nothing_is_written_where_an_array_cannot_be_updated(spoil):
    parameters, gradients = arrays(np.float32, 0), arrays(np.float32, 1)
    buffers = zeros(parameters)
    if spoil == "strided":
        parameters[4] = parameters[4].T
        gradients[4] = gradients[4].T
        buffers[4] = buffers[4].T
    elif spoil == "read-only":
        parameters[4].flags.writeable = False
    elif spoil == "shape":
        gradients[4] = gradients[4][:50]
    elif spoil == "dtype":
        gradients[4] = gradients[4].astype(np.float64)
    else:
        buffers.pop()
    before = [p.copy() for p in parameters]
    assert native.sgd_update(parameters, gradients, buffers, first=True, **SGD) is NotImplemented
    for parameter, old in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(parameter, old)


def test_gradients_may_be_strided_and_lists_empty():
    parameter, gradient = np.ones((4, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert native.sgd_update([parameter], [gradient], [np.zeros_like(parameter)], first=True, **SGD) is None
    np.testing.assert_allclose(parameter, 1 - np.float32(0.1) * gradient, rtol=1e-6, atol=1e-7)
    assert native.sgd_update([], [], [], first=True, **SGD) is None


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_same_bits_for_every_number_of_threads(threads):
    before = native.get_num_threads()
    results = []
    try:
        for count in (1, threads):
            native.set_num_threads(count)
            parameters, gradients = arrays(np.float32, 0), arrays(np.float32, 1)
            state = zeros(parameters), zeros(parameters)
            native.adam_update(
                parameters, gradients, *state, None, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1,
                step=1, decoupled=True, maximize=False,
            )  # fmt: skip
            results.append(parameters)
    finally:
        native.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_are_counted_together(dtype):
    steps = [np.array(6, dtype) for _ in range(3)]
    assert native.count_step(steps) == 7
    assert [float(step) for step in steps] == [7, 7, 7]


@pytest.mark.parametrize(
    "others",
    [[np.array(5, np.float32)], [np.array(6, np.float64)], [np.array(6)], [np.full(1, 6, np.float32)]],
    ids=["another count", "another dtype", "integers", "another shape"],
)
def test_steps_that_are_not_alike_are_left_alone(others):
    steps = [np.array(6, np.float32), *others]
    assert native.count_step(steps) == -1
    assert [int(step.item()) for step in steps] == [6, int(others[0].item())]


def test_no_steps():
    assert native.count_step([]) == -1

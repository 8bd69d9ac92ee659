"""The generator and its distributions give PyTorch's numbers, call for call."""

import numpy as np
import pytest

from rushlight.tensor import distributions
from rushlight.tensor.generator import Generator

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SIZES = [*range(41), 100, 1000, 4097]
FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "bool"]


def numpy_dtype(name):
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def both(name, shape, seed=3):
    """A generator of ours and one of PyTorch's, and an array and a tensor to fill."""
    ours = Generator().manual_seed(seed)
    theirs = torch.Generator().manual_seed(seed)
    return ours, theirs, np.zeros(shape, numpy_dtype(name)), torch.zeros(shape, dtype=getattr(torch, name))


def check(array, tensor, exact=False):
    expected = tensor.double().numpy()
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-14}.get(array.dtype.name, 1e-6)
    if exact:
        np.testing.assert_array_equal(array.astype(np.float64), expected)
    else:
        np.testing.assert_allclose(array.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


def check_state(ours, theirs):
    """The generators stand at the same place, half of a normal pair included."""
    np.testing.assert_array_equal(ours.state_bytes(), theirs.get_state().numpy())


@pytest.mark.parametrize("name", FLOATS)
def test_uniform(name):
    for size in SIZES:
        for low, high in ((0, 1), (-1 / 3, 1 / 7), (0.1, 0.9), (5, 5), (1, 1 + 2**-7)):
            ours, theirs, array, tensor = both(name, (size,))
            distributions.fill_uniform(ours, array, low, high)
            check(array, tensor.uniform_(low, high, generator=theirs), exact=name != "float64")
            check_state(ours, theirs)


@pytest.mark.parametrize("name", FLOATS)
def test_normal(name):
    for size in SIZES:
        for mean, std in ((0, 1), (0.3, 0.7), (-2, 0)):
            ours, theirs, array, tensor = both(name, (size,))
            for _ in range(2):  # the second call may begin with the kept half of a pair
                distributions.fill_normal(ours, array, mean, std)
                check(array, tensor.normal_(mean, std, generator=theirs))
            if name != "float64":
                check_state(ours, theirs)


@pytest.mark.parametrize("name", FLOATS)
def test_targets_that_are_not_contiguous_are_filled_in_the_order_of_memory(name):
    layouts = [
        lambda t: t.transpose(1, 0) if isinstance(t, np.ndarray) else t.permute(1, 0),
        lambda t: t[::2, 1:],
        lambda t: t[:, :3].T,
        lambda t: t[:2, :3],
    ]
    fills = [
        (distributions.fill_normal, lambda t, g: t.normal_(generator=g)),
        (distributions.fill_uniform, lambda t, g: t.uniform_(generator=g)),
        (distributions.fill_bernoulli, lambda t, g: t.bernoulli_(generator=g)),
        (distributions.fill_exponential, lambda t, g: t.exponential_(generator=g)),
    ]
    for shape in ((6, 5), (2, 3), (40, 30)):
        for layout in layouts:
            for fill, reference in fills:
                ours, theirs, array, tensor = both(name, shape)
                fill(ours, layout(array))
                reference(layout(tensor), theirs)
                check(array, tensor)


def test_permuted_dimensions():
    for order in ((2, 0, 1), (1, 2, 0), (0, 2, 1), (2, 1, 0)):
        ours, theirs, array, tensor = both("float32", (2, 3, 4))
        distributions.fill_normal(ours, array.transpose(order))
        tensor.permute(order).normal_(generator=theirs)
        check(array, tensor)


@pytest.mark.parametrize("name", FLOATS + INTEGERS)
def test_integers(name):
    ranges = [(0, None), (0, 1), (0, 2)]
    if name != "bool":
        ranges += [(0, 10), (3, 100)]
    if name not in ("bool", "uint8"):
        ranges += [(-7, 7)]
    if name in ("int32", "int64", "float64"):
        ranges += [(0, 2**28 - 1), (0, 2**28), (-(2**31), 2**31 - 1), (5, None), (-5, None)]
    if name == "int64":
        ranges += [(0, 2**32 - 1), (0, 2**32), (-(2**62), 2**62), (-(2**63), 2**63 - 1), (-(2**63), None)]
    for size in (0, 1, 7, 40, 1000):
        for low, high in ranges:
            ours, theirs, array, tensor = both(name, (size,))
            distributions.fill_integers(ours, array, low, high)
            if (low, high) == (0, None):
                tensor.random_(generator=theirs)
            else:
                tensor.random_(low, high, generator=theirs)
            check(array, tensor, exact=True)
            check_state(ours, theirs)


@pytest.mark.parametrize("name", ["int64", "int32", "int16", "float32", "float64", "float16", "uint8"])
def test_permutation(name):
    for size in SIZES:
        if size > {"uint8": 255, "float16": 2048}.get(name, 4097):
            continue
        ours, theirs, _, _ = both(name, ())
        found = distributions.permutation(ours, size, numpy_dtype(name))
        check(found, torch.randperm(size, dtype=getattr(torch, name), generator=theirs), exact=True)
        check_state(ours, theirs)


@pytest.mark.parametrize("name", FLOATS + INTEGERS)
def test_bernoulli(name):
    for size in SIZES:
        for p in (0.0, 0.3, 0.5, 1.0):
            ours, theirs, array, tensor = both(name, (size,))
            distributions.fill_bernoulli(ours, array, p)
            check(array, tensor.bernoulli_(p, generator=theirs), exact=True)
            check_state(ours, theirs)


@pytest.mark.parametrize("name", FLOATS)
def test_bernoulli_of_tensors(name):
    for shape in ((0,), (7,), (5, 8)):
        ours, theirs, array, tensor = both("float32", shape)
        p = torch.rand(shape).to(getattr(torch, name))
        weights = p.float().numpy().astype(numpy_dtype(name)) if name == "bfloat16" else p.numpy()
        distributions.fill_bernoulli(ours, array, weights)
        check(array, tensor.bernoulli_(p, generator=theirs), exact=True)
        check_state(ours, theirs)


@pytest.mark.parametrize("name", FLOATS)
def test_inversions(name):
    for size in SIZES:
        for fill, reference in (
            (lambda g, a: distributions.fill_exponential(g, a, 2.0), lambda t, g: t.exponential_(2.0, generator=g)),
            (lambda g, a: distributions.fill_cauchy(g, a, 1.0, 0.01), lambda t, g: t.cauchy_(1.0, 0.01, generator=g)),
            (
                lambda g, a: distributions.fill_log_normal(g, a, 0.1, 0.2),
                lambda t, g: t.log_normal_(0.1, 0.2, generator=g),
            ),
            (lambda g, a: distributions.fill_geometric(g, a, 0.3), lambda t, g: t.geometric_(0.3, generator=g)),
        ):
            ours, theirs, array, tensor = both(name, (size,))
            fill(ours, array)
            reference(tensor, theirs)
            if name == "float64":
                np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-9)
            else:
                check(array, tensor)


@pytest.mark.parametrize("name", FLOATS)
def test_multinomial(name):
    weights = torch.rand(50, generator=torch.Generator().manual_seed(9)).to(getattr(torch, name))
    array = weights.float().numpy().astype(numpy_dtype(name)) if name == "bfloat16" else weights.numpy()
    exact = name in ("float32", "float64")
    for shape in ((50,), (5, 10), (1, 50)):
        for count, replacement in ((1, False), (1, True), (5, False), (10, False), (30, True)):
            ours, theirs, _, _ = both(name, ())
            found = distributions.multinomial(ours, array.reshape(shape), count, replacement)
            expected = torch.multinomial(weights.reshape(shape), count, replacement, generator=theirs)
            assert found.shape == tuple(expected.shape)
            if exact:  # in half precision many weights tie, and sums round
                np.testing.assert_array_equal(found, expected.numpy())
            check_state(ours, theirs)


def test_poisson():
    rates = torch.tensor([0.0, 0.1, 1.0, 9.9, 10.0, 12.5, 100.0, 1e4, 1e6]).repeat(20)
    ours, theirs, _, _ = both("float32", ())
    check(distributions.poisson(ours, rates.numpy()), torch.poisson(rates, generator=theirs), exact=True)
    check_state(ours, theirs)


def test_a_long_mixed_sequence():
    steps = np.random.default_rng(0)
    ours, theirs, _, _ = both("float32", ())
    for _ in range(400):
        size = int(steps.integers(0, 40))
        name = FLOATS[int(steps.integers(4))]
        array, tensor = np.zeros(size, numpy_dtype(name)), torch.zeros(size, dtype=getattr(torch, name))
        match int(steps.integers(5)):
            case 0:
                distributions.fill_normal(ours, array)
                tensor.normal_(generator=theirs)
            case 1:
                distributions.fill_uniform(ours, array)
                tensor.uniform_(generator=theirs)
            case 2:
                distributions.fill_integers(ours, array, 0, 100)
                tensor.random_(0, 100, generator=theirs)
            case 3:
                distributions.fill_bernoulli(ours, array, 0.4)
                tensor.bernoulli_(0.4, generator=theirs)
            case 4:
                array = distributions.permutation(ours, size, np.dtype("int64"))
                tensor = torch.randperm(size, generator=theirs)
        check(array, tensor)
        a, b = ours.engine.save(), Generator()
        b.restore_bytes(theirs.get_state().numpy())
        np.testing.assert_array_equal(a[0], b.engine.save()[0])
        assert a[1] == b.engine.save()[1]


def test_states_are_understood_by_the_other():
    ours = Generator().manual_seed(11)
    for size in (0, 3, 5, 700, 612, 1):
        distributions.fill_uniform(ours, np.empty(size, np.float32))
        distributions.fill_normal(ours, np.empty(1))
        theirs = torch.Generator()
        theirs.set_state(torch.from_numpy(ours.state_bytes()))
        back = Generator()
        back.restore_bytes(theirs.get_state().numpy())
        for generator in (ours.clone_state(), back):
            array = np.empty(50, np.float32)
            distributions.fill_normal(generator, array[:7])
            distributions.fill_normal(generator, array)
            clone = theirs.clone_state()
            torch.empty(7).normal_(generator=clone)
            check(array, torch.empty(50).normal_(generator=clone))
        assert ours.initial_seed() == theirs.initial_seed()


@pytest.mark.parametrize("seed", [0, 1, -1, 42, 2**31, 2**32, 2**32 + 5, 2**63, 2**64 - 1, -(2**63)])
def test_seeds(seed):
    ours, theirs, array, tensor = both("float32", (20,), seed)
    assert ours.initial_seed() == theirs.initial_seed()
    distributions.fill_normal(ours, array)
    check(array, tensor.normal_(generator=theirs))

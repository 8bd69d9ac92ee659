"""The generator: known numbers, its state, and the native engine against the one in NumPy."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import rushlight
from rushlight import core
from rushlight.tensor import distributions
from rushlight.tensor.generator import Generator, NumpyEngine


def filled(fill, generator, shape, dtype="float32", **options):
    array = np.empty(shape, dtype)
    fill(generator, array, **options)
    return array


def test_known_numbers_of_seed_0():
    uniform = filled(distributions.fill_uniform, Generator().manual_seed(0), 4)
    np.testing.assert_allclose(uniform, [0.4963, 0.7682, 0.0885, 0.1320], atol=5e-5)
    normal = filled(distributions.fill_normal, Generator().manual_seed(0), 4)
    np.testing.assert_allclose(normal, [1.5410, -0.2934, -2.1788, 0.5684], atol=5e-5)
    order = distributions.permutation(Generator().manual_seed(0), 10, np.dtype("int64"))
    assert order.tolist() == [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]


@pytest.mark.skipif(core.native is None, reason="NumPy's logarithm rounds otherwise")
def test_normal_numbers_have_the_same_bits_on_every_processor():
    normal = filled(distributions.fill_normal, Generator().manual_seed(0), 100_000)
    # of torch.manual_seed(0); torch.randn(100_000).numpy().tobytes() in PyTorch 2.13 on a processor with AVX2
    recorded = "0185aae2d6c33b3965361a017caa7b5af402f472c7d56c1e0df1ed2d9832e585"
    assert hashlib.sha256(normal.tobytes()).hexdigest() == recorded


@pytest.mark.skipif(core.native is None, reason="compares the native engine with NumPy's")
@pytest.mark.parametrize("size", [16, 17, 625, 4096, 100_003])
def test_native_engine_against_numpy(size):
    native, reference = core.native.MersenneTwister(7), NumpyEngine(7)
    np.testing.assert_array_equal(native.draw(size), reference.draw(size))
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-14)):
        for method, options in (("uniform", (-0.3, 2.0)), ("normal", (0.1, 2.0))):
            found, expected = np.empty(size, dtype), np.empty(size, dtype)
            getattr(native, method)(found, *options)
            getattr(reference, method)(expected, *options)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(native.permutation(size), reference.permutation(size))
    found, expected = np.empty(2 * size), np.empty(2 * size)
    native.normal_pairs(found)
    reference.normal_pairs(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    assert native.save()[1] == reference.save()[1]
    np.testing.assert_array_equal(native.save()[0], reference.save()[0])


@pytest.mark.skipif(core.native is None, reason="the native engine's arguments")
def test_native_engine_refuses_what_it_cannot_fill():
    engine = core.native.MersenneTwister(0)
    read_only = np.zeros(20, np.float32)
    read_only.flags.writeable = False
    for out in (read_only, np.zeros(40, np.float32)[::2], np.zeros(20, np.int64), [1.0], None):
        with pytest.raises(TypeError):
            engine.uniform(out, 0.0, 1.0)
        with pytest.raises(TypeError):
            engine.normal(out, 0.0, 1.0)
    with pytest.raises(ValueError):
        engine.normal(np.zeros(15), 0.0, 1.0)
    with pytest.raises(ValueError):
        engine.normal_pairs(np.zeros(3))
    with pytest.raises(ValueError):
        engine.restore(np.zeros(624, np.int32), 625)
    with pytest.raises(ValueError):
        engine.restore(np.zeros(623, np.int32), 0)
    for count in (-1, 2**62):
        with pytest.raises((MemoryError, ValueError)):
            engine.draw(count)
        with pytest.raises((MemoryError, ValueError)):
            engine.permutation(count)


def test_states():
    generator = Generator().manual_seed(5)
    fresh = generator.state_bytes()
    first = filled(distributions.fill_normal, generator, 3)
    half_a_pair = generator.clone_state()
    pickled, copied = pickle.loads(pickle.dumps(generator)), copy.deepcopy(generator)
    rest = filled(distributions.fill_normal, generator, 20)
    for twin in (half_a_pair, pickled, copied):
        np.testing.assert_array_equal(filled(distributions.fill_normal, twin, 20), rest)
    generator.restore_bytes(fresh)
    np.testing.assert_array_equal(filled(distributions.fill_normal, generator, 3), first)
    assert generator.initial_seed() == 5
    assert Generator().initial_seed() == 67280421310721


def test_states_that_are_none():
    generator = Generator()
    before = generator.state_bytes()
    with pytest.raises(TypeError, match="uint8"):
        generator.restore_bytes(np.zeros(5056))
    with pytest.raises(RuntimeError, match="5056"):
        generator.restore_bytes(np.zeros(5, np.uint8))
    with pytest.raises(RuntimeError, match="not the state"):
        generator.restore_bytes(np.zeros(5056, np.uint8))
    with pytest.raises(RuntimeError, match="not the state"):
        generator.restore_bytes(np.full(5056, 255, np.uint8))
    np.testing.assert_array_equal(generator.state_bytes(), before)


def test_seeds():
    generator = Generator()
    assert generator.manual_seed(-1) is generator
    assert generator.initial_seed() == 2**64 - 1
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="seed"):
            generator.manual_seed(seed)
    assert generator.seed() != generator.seed()
    with pytest.raises(RuntimeError, match="cuda"):
        Generator("cuda")


def test_arguments_out_of_range():
    generator, floats, bytes_ = Generator(), np.zeros(4, np.float32), np.zeros(4, np.uint8)
    bad = [
        (distributions.fill_uniform, floats, {"low": 2, "high": 1}),
        (distributions.fill_uniform, floats, {"low": 0, "high": 1e39}),
        (distributions.fill_uniform, floats, {"low": 0, "high": float("nan")}),
        (distributions.fill_normal, floats, {"std": -1}),
        (distributions.fill_normal, floats, {"std": float("nan")}),
        (distributions.fill_integers, bytes_, {"low": 0, "high": 300}),
        (distributions.fill_integers, bytes_, {"low": -1, "high": 3}),
        (distributions.fill_integers, bytes_, {"low": 3, "high": 3}),
        (distributions.fill_bernoulli, floats, {"p": 1.5}),
        (distributions.fill_bernoulli, floats, {"p": np.array([0.1, 2.0, 0.1, 0.1])}),
        (distributions.fill_bernoulli, floats, {"p": np.array([0.1, np.nan, 0.1, 0.1])}),
        (distributions.fill_exponential, floats, {"rate": 0}),
        (distributions.fill_cauchy, floats, {"sigma": 0}),
        (distributions.fill_log_normal, floats, {"std": 0}),
        (distributions.fill_geometric, floats, {"p": 1}),
        (distributions.fill_uniform, bytes_, {}),
        (distributions.fill_normal, bytes_, {}),
        (distributions.fill_uniform, np.broadcast_to(np.zeros(1, np.float32), (4,)), {}),
    ]
    before = generator.state_bytes()
    for fill, out, options in bad:
        with pytest.raises(RuntimeError):
            fill(generator, out, **options)
    for weights, count, replacement in (
        (np.ones(3), 4, False),
        (np.ones(3), 0, False),
        (np.zeros(3), 1, True),
        (-np.ones(3), 1, True),
        (np.array([1.0, np.nan]), 1, True),
        (np.ones((2, 2, 2)), 1, True),
        (np.ones(3, np.int64), 1, True),
        (np.ones(0), 1, True),
        (np.array([[1.0, 1.0], [0.0, 0.0]]), 1, True),
    ):
        with pytest.raises(RuntimeError):
            distributions.multinomial(generator, weights, count, replacement)
    for rates in (np.array([-1.0]), np.array([np.nan]), np.array([np.inf]), np.array([1])):
        with pytest.raises(RuntimeError):
            distributions.poisson(generator, rates)
    for count, dtype in ((-1, "int64"), (300, "uint8"), (5000, "float16")):
        with pytest.raises(RuntimeError):
            distributions.permutation(generator, count, np.dtype(dtype))
    np.testing.assert_array_equal(generator.state_bytes(), before)


def test_multinomial_never_draws_what_has_no_weight():
    generator = Generator().manual_seed(1)
    weights = np.array([0.0, 1.0, 0.0, 2.0], np.float32)
    for count, replacement in ((500, True), (2, False), (1, False)):
        assert set(distributions.multinomial(generator, weights, count, replacement).tolist()) <= {1, 3}


def test_threads_may_share_a_generator():
    generator = Generator().manual_seed(3)
    parts = []
    threads = [
        threading.Thread(target=lambda: parts.append(filled(distributions.fill_uniform, generator, 50_000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = filled(distributions.fill_uniform, Generator().manual_seed(3), 200_000)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


@pytest.mark.skipif(core.native is None, reason="counts the native core's threads")
def test_numbers_do_not_depend_on_the_number_of_threads():
    script = (
        "import hashlib, numpy as np; from rushlight.tensor import distributions;"
        "from rushlight.tensor.generator import Generator;"
        "a = np.empty(300_001, np.float32); g = Generator().manual_seed(2); distributions.fill_normal(g, a);"
        "b = np.empty((301, 100)); distributions.fill_normal(g, b.T);"
        "print(hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "RUSHLIGHT_NUM_THREADS": str(count)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in (1, 2, 3)
    }
    assert len(digests) == 1


def test_filling_in_place_is_seen_by_the_graph():
    leaf = rushlight.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.normal_()
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[:2].uniform_()
    with rushlight.no_grad():
        leaf.normal_()
    leaf.data.fill_(1.0)
    inner = leaf * 2
    inner[:2].uniform_()
    inner.sum().backward()
    assert leaf.grad.tolist() == [0.0, 0.0, 2.0]
    kept = rushlight.ones(3, requires_grad=True)
    squared = kept.exp()
    loss = (squared * squared).sum()
    squared.normal_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_fork_rng():
    rushlight.manual_seed(1)
    expected = rushlight.rand(3).tolist()
    rushlight.manual_seed(1)
    with rushlight.random.fork_rng():
        rushlight.manual_seed(9)
        rushlight.rand(100)
    assert rushlight.rand(3).tolist() == expected
    assert rushlight.initial_seed() == rushlight.default_generator.initial_seed() == 1
    with pytest.raises(ValueError), rushlight.random.fork_rng():
        rushlight.manual_seed(9)
        raise ValueError
    assert rushlight.initial_seed() == 1


def test_arguments():
    for bad in (
        lambda: rushlight.rand(3, generator=5),
        lambda: rushlight.rand(3, name=5),
        lambda: rushlight.randint(1.5, (2,)),
        lambda: rushlight.randint(5),
        lambda: rushlight.randint((2,)),
        lambda: rushlight.normal(0.0, 1.0),
        lambda: rushlight.rand_like([1.0]),
        lambda: rushlight.zeros(3).uniform_(0, 1, 2),
        lambda: rushlight.zeros(3).uniform_(0, to=1, till=2),
        lambda: rushlight.zeros(3).normal_("0"),
        lambda: rushlight.random.set_rng_state([1]),
    ):
        with pytest.raises((TypeError, ValueError)):
            bad()
    for bad in (
        lambda: rushlight.rand(-1),
        lambda: rushlight.rand(3, device="cuda"),
        lambda: rushlight.rand(3, dtype=rushlight.int64),
        lambda: rushlight.zeros(3, 4).bernoulli_(rushlight.zeros(3)),
        lambda: rushlight.zeros(1).expand(3).normal_(),
        lambda: rushlight.normal(rushlight.zeros(2), -rushlight.ones(2)),
        lambda: rushlight.randint(5, 5, (2,)),
        lambda: rushlight.randperm(-1),
        lambda: rushlight.multinomial(rushlight.ones(3), 4),
    ):
        with pytest.raises(RuntimeError):
            bad()


@pytest.mark.skipif(core.native is None, reason="compares the core with NumPy")
def test_numbers_by_rejection_are_the_same_without_the_core():
    engine, plain = core.native.MersenneTwister(7), NumpyEngine(7)
    shapes = np.array([0.0, 0.01, 0.3, 1.0, 2.5, 40.0, 1e4] * 20)
    for waiting in (None, 0.25):
        a, b = shapes.copy(), shapes.copy()
        left = engine.gamma(a, waiting), plain.gamma(b, waiting)
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert left[0] == left[1] or left[0] == pytest.approx(left[1], rel=1e-12)
    rates = np.array([0.0, 0.5, 9.9, 10.0, 1e3, 1e7] * 20)
    a, b = rates.copy(), rates.copy()
    engine.poisson(a), plain.poisson(b)
    np.testing.assert_array_equal(a, b)
    for dtype in (np.float32, np.float64):
        counts, chances = np.tile(np.array([0, 5, 30, 1000], dtype), 30), np.linspace(0, 1, 120, dtype=dtype)
        a, b = counts.copy(), counts.copy()
        engine.binomial(a, chances), plain.binomial(b, chances)
        np.testing.assert_array_equal(a, b)
        assert (a <= counts).all() and (a >= 0).all()
    assert engine.draw(3).tolist() == plain.draw(3).tolist()


def test_moments_of_numbers_by_rejection():
    rushlight.manual_seed(0)
    counts = rushlight.binomial(rushlight.full((20000,), 50.0), rushlight.full((20000,), 0.3))
    assert abs(counts.mean().item() - 15) < 0.15 and abs(counts.var().item() - 10.5) < 0.5
    gammas = rushlight.distributions.Gamma(rushlight.full((20000,), 3.0), 2.0).sample()
    assert abs(gammas.mean().item() - 1.5) < 0.03 and abs(gammas.var().item() - 0.75) < 0.05
    with pytest.raises(RuntimeError, match="in \\[0, 1\\]"):
        rushlight.binomial(rushlight.ones(1), rushlight.tensor([1.5]))
    # The mean is concentration / rate: so moves, on average, what is drawn.
    concentration = rushlight.full((20000,), 3.0, requires_grad=True)
    rushlight.distributions.Gamma(concentration, 2.0).rsample().sum().backward()
    assert abs(concentration.grad.mean().item() - 0.5) < 0.01

"""Dropout: the generator's known answers, the kernel against the meaning, gradients, probabilities."""

import numpy as np
import pytest

import rushlight
import rushlight.nn.functional as F
from rushlight.ops import random as operations

KEY = np.array([12345, -678], np.int32)


@pytest.fixture
def key():
    return rushlight.from_numpy(KEY)


def test_known_answer_of_philox():
    # From the kat_vectors of Random123: counter 0, key 0.
    words = operations._words(np, np.zeros(2, np.int32), 64)
    assert [int(w) for w in words[[0, 16, 32, 48]]] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (0,), (63,), (64,), (65,), (40, 1000)])
def test_kernel_against_meaning(name, shape, key):
    x = rushlight.randn(shape).to(getattr(rushlight, name))
    for p in (0.0, 0.1, 0.5, 1.0):
        for source in (x, x.transpose(0, -1) if len(shape) > 1 else x):
            found = operations.dropout(source, key, p=p).array
            expected = operations.dropout.meaning(np, source.array, KEY, p=p)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    found = operations.dropout_mask(key, shape=shape, p=0.3).array
    np.testing.assert_array_equal(found, operations.dropout_mask.meaning(np, KEY, shape=shape, p=0.3))


def test_the_gradient_has_the_same_mask(key):
    x = rushlight.ones(1000, requires_grad=True)
    y = operations.dropout(x, key, p=0.4)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()
    assert sorted(set(y.tolist())) == pytest.approx([0.0, 1 / 0.6])


def test_probabilities(key):
    for p in (0.01, 0.3, 0.9):
        y = operations.dropout(rushlight.ones(1000, 1000), key, p=p).array
        assert (y == 0).mean() == pytest.approx(p, abs=2e-3)
        assert y.mean() == pytest.approx(1, abs=2e-2)
    other = operations.dropout(rushlight.ones(1000), rushlight.random.draw_key(), p=0.5)
    assert other.tolist() != operations.dropout(rushlight.ones(1000), key, p=0.5).tolist()


def test_keys_come_from_the_generator():
    rushlight.manual_seed(3)
    first = rushlight.random.draw_key().tolist()
    second = rushlight.random.draw_key().tolist()
    rushlight.manual_seed(3)
    assert rushlight.random.draw_key().tolist() == first != second
    generator = rushlight.Generator().manual_seed(3)
    assert rushlight.random.draw_key(generator).tolist() == first


def test_whole_features():
    x = rushlight.randn(20, 30, 4, 5)
    y = F.dropout2d(x, 0.5).array
    dropped = (y == 0).reshape(20, 30, 20)
    assert np.array_equal(dropped.all(2), dropped.any(2))
    assert dropped.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(y[~dropped.all(2)], x.array[~dropped.all(2)] * 2)
    assert not F.dropout2d(x, 1.0).array.any()
    assert F.dropout2d(x, 0.5, training=False).tolist() == x.tolist()


def test_alpha_dropout_keeps_mean_and_variance():
    x = rushlight.randn(1000, 1000)
    for p in (0.1, 0.5):
        y = F.alpha_dropout(x, p, training=True).array
        assert y.mean() == pytest.approx(0, abs=1e-2)
        assert y.std() == pytest.approx(1, abs=1e-2)
    whole = F.feature_alpha_dropout(rushlight.randn(300, 300, 9), 0.3, training=True).array
    assert whole.std() == pytest.approx(1, abs=2e-2)
    assert (whole == whole[:, :, :1]).all(2).mean() == pytest.approx(0.3, abs=1e-2)


def test_in_place_and_by_seed():
    x = rushlight.randn(50, 40)
    rushlight.manual_seed(8)
    expected = F.dropout(x, 0.3)
    rushlight.manual_seed(8)
    assert F.dropout(x, 0.3, inplace=True) is x
    assert x.tolist() == expected.tolist()


def test_arguments(key):
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            operations.dropout(rushlight.ones(3), key, p=p)
    with pytest.raises(TypeError, match="floating"):
        operations.dropout(rushlight.ones(3, dtype=rushlight.int64), key, p=0.5)
    with pytest.raises(ValueError, match="key"):
        operations.dropout(rushlight.ones(3), rushlight.ones(2), p=0.5)
    with pytest.raises(ValueError, match="negative"):
        operations.dropout_mask(key, shape=(-1, 2), p=0.5)

"""The memory plan: no two values that live at one time overlap, and little is wasted."""

import numpy as np
import pytest

from rushlight.compiler import memory


def intervals(seed: int, count: int = 120) -> list[tuple[int, int, int, int]]:
    random = np.random.default_rng(seed)
    firsts = np.sort(random.integers(0, count, count))
    lengths = random.geometric(0.15, count)
    sizes = random.choice([0, 4, 64, 100, 4096, 5000, 100000], count)
    return [(i, int(sizes[i]), int(firsts[i]), int(firsts[i] + lengths[i])) for i in range(count)]


def alive(given: list[tuple[int, int, int, int]]) -> int:
    """The most bytes that live at one time, in whole cache lines."""
    return max(
        sum(max(-(-size // 64), 1) * 64 for _, size, first, last in given if first <= step <= last)
        for step in range(max(last for *_, last in given) + 1)
    )


@pytest.mark.parametrize("most", [0, 400])
@pytest.mark.parametrize("seed", range(8))
def test_values_that_live_at_one_time_do_not_overlap(monkeypatch, seed, most):
    monkeypatch.setattr(memory, "_MOST_SORTED", most)
    given = intervals(seed)
    offsets, size = memory.plan(given)
    assert all(offset % memory.ALIGNMENT == 0 for offset in offsets.values())
    for key, length, first, last in given:
        assert offsets[key] + length <= size
        for other, other_length, other_first, other_last in given:
            if other != key and first <= other_last and other_first <= last:
                apart = offsets[key] + length <= offsets[other] or offsets[other] + other_length <= offsets[key]
                assert apart


@pytest.mark.parametrize(("most", "wasted"), [(0, 1.25), (400, 1.05)])
def test_little_is_wasted(monkeypatch, most, wasted):
    monkeypatch.setattr(memory, "_MOST_SORTED", most)
    given = [intervals(seed) for seed in range(8)]
    sizes = [memory.plan(several)[1] for several in given]
    assert sum(sizes) <= wasted * sum(map(alive, given))


def test_nothing():
    assert memory.plan([]) == ({}, 0)

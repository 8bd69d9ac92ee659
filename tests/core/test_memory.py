"""The caching allocator: reuse, its limits, and threads."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from rushlight.core import native

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)

# In a process of its own, so that nothing else allocates.
REUSE = """
import numpy as np
from rushlight.core import native
add = native.Program([("add", 0, (1.0,))], 1, [1], [False])
x = np.zeros(3_000_000, np.float32)
live = [add(x) for _ in range(8)]
peak = native.memory_statistics()
assert peak["live"] >= 8 * x.nbytes and peak["cached"] < 2**22, peak
begin, end = min(a.ctypes.data for a in live), max(a.ctypes.data for a in live) + x.nbytes
del live
freed = native.memory_statistics()
assert freed["live"] == 0 and freed["cached"] >= 8 * x.nbytes, freed
again = [add(x) for _ in range(3)]
one = add(np.zeros(9_000_000, np.float32))  # of several, side by side
for a in (*again, one):
    assert begin <= a.ctypes.data and a.ctypes.data + a.nbytes <= end and a.ctypes.data % 64 == 0
del again, one, a
for size in range(1000, 6_000_000, 100_000):  # other sizes push the old blocks out
    add(np.zeros(size, np.float32))
    now = native.memory_statistics()
    assert now["live"] + now["cached"] <= now["peak"] + 2**23, now
native.empty_cache()
assert native.memory_statistics()["cached"] < 2**22
small = np.zeros(10, np.float32)
for _ in range(200_000):  # a peak that isn't reached again is forgotten
    add(small)
    add(x[:50_000])
assert native.memory_statistics()["peak"] < x.nbytes
"""


def test_freed_memory_is_reused_within_the_peak() -> None:
    subprocess.run([sys.executable, "-c", REUSE], check=True)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 128, 129, 1000, 1025, 70_001, 1_100_000])
def test_blocks_are_aligned_and_whole(size: int) -> None:
    add = native.Program([("add", 0, (1.0,))], 1, [1], [False])
    x = np.arange(size, dtype=np.float32)
    results = [add(x) for _ in range(3)]
    for result in results:
        assert result.ctypes.data % 64 == 0
        np.testing.assert_array_equal(result, x + 1)


def test_blocks_of_all_sizes_do_not_share_memory() -> None:
    add = native.Program([("add", 0, 1)], 2, [2], [False])
    random = np.random.default_rng(0)
    kept: list[tuple[np.ndarray, float]] = []
    for number in range(600):
        if kept and random.random() < 0.48:
            array, value = kept.pop(int(random.integers(len(kept))))
            assert (array == value).all()
        else:
            size = int(random.choice([1000, 32_760, 40_000, 300_000, 2_000_000]) * random.uniform(0.5, 1))
            kept.append((add(np.zeros(size, np.float32), float(number)), number))
        if number % 100 == 50:
            native.empty_cache()
    assert all((array == value).all() for array, value in kept)


def test_threads_that_allocate_at_once_do_not_share_memory() -> None:
    add = native.Program([("add", 0, 1)], 2, [2], [False])
    wrong: list[int] = []

    def work(number: int) -> None:
        x = np.full(5000, number, np.float64)
        kept = [add(x, float(i)) for i in range(200)]
        if not all((a == number + i).all() for i, a in enumerate(kept)):
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_more_than_there_is_raises_memory_error() -> None:
    add = native.Program([("add", 0, 1)], 2, [2], [False])
    row = np.broadcast_to(np.float32(1), (2**30, 1))
    with pytest.raises(MemoryError):
        add(row, np.broadcast_to(np.float32(1), (1, 2**30)))


# In a process of its own: fresh pages, pages with something in them, and some of both.
ZEROS = """
import numpy as np
from rushlight.core import native
random = np.random.default_rng(0)
def resident():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) << 10
before = resident()
large = native.zeros([30_000_000], np.dtype(np.float32))
assert resident() - before < 2**24  # nothing was written to it
assert not large.any()
large.fill(1)
del large
kept = []
for _ in range(300):
    if kept and random.random() < 0.5:
        kept.pop(int(random.integers(len(kept)))).fill(7)
    else:
        kept.append(native.zeros([int(random.integers(0, 3_000_000))], np.dtype(np.int8)))
        assert not kept[-1].any()
    if random.random() < 0.05:
        native.empty_cache()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_zeros_are_zero_whatever_lay_there() -> None:
    subprocess.run([sys.executable, "-c", ZEROS], check=True)

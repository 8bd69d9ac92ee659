"""torch.utils.benchmark: what is run, how often, on how many threads, and what is said about it."""

import pytest

import rushlight as torch
from rushlight import core
from rushlight.utils import benchmark


class Clock:
    """Goes on by a second each time that it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_timeit_runs_the_statement_so_often():
    runs = []
    timer = benchmark.Timer("note(x)", "x = start + 1", globals={"note": runs.append, "start": 4}, timer=Clock())
    found = timer.timeit(10)
    assert runs == [5] * 12  # two to warm up
    assert (found.number_per_run, found.raw_times, found.times) == (10, [1.0], [0.1])
    assert (found.mean, found.median, found.iqr) == (0.1, 0.1, 0.0)
    assert str(found).splitlines()[1:] == [
        "note(x)",
        "setup: x = start + 1",
        "  100.00 ms",
        "  1 measurement, 10 runs , 1 thread",
    ]


def test_blocks_until_the_time_is_over():
    seen = []
    timer = benchmark.Timer("pass", label="Nothing", sub_label="at all", description="d", timer=Clock(), num_threads=2)
    found = timer.blocked_autorange(lambda number, seconds: seen.append((number, seconds)), min_run_time=3.0)
    assert seen == [(1, 1.0)] * 3
    assert (found.times, found.num_threads) == ([1.0, 1.0, 1.0], 2)
    assert str(found).splitlines()[1:] == [
        "Nothing: at all",
        "d",
        "  Median: 1.00 s",
        "  IQR:    0.00 s (1.00 to 1.00)",
        "  3 measurements, 1 runs per measurement, 2 threads",
    ]
    assert len(timer.adaptive_autorange().times) == 4


@pytest.mark.skipif(core.native is None, reason="threads are the core's")
def test_threads_are_those_asked_for_and_put_back():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        task = {"note": lambda: seen.append(torch.get_num_threads())}
        benchmark.Timer("note()", globals=task, num_threads=2).timeit(1)
        assert set(seen) == {2}
        with pytest.raises(ZeroDivisionError):
            benchmark.Timer("1 / 0", num_threads=2).timeit(1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_table_of_a_comparison():
    def measured(seconds, sub_label, description, threads=1):
        task = benchmark.TaskSpec("f(x)", "pass", "Product", sub_label, description, num_threads=threads)
        return benchmark.Measurement(2, [2 * seconds], task)

    compare = benchmark.Compare([measured(2e-6, "[8]", "mine"), measured(4e-6, "[8]", "yours")])
    compare.extend_results([measured(123.456e-6, "[64]", "mine", 2), measured(123.456e-6, "[64]", "mine", 2)])
    compare.trim_significant_figures()
    assert str(compare).splitlines() == [
        "[------------------- Product --------------------]",
        "                      |    mine     |    yours    ",
        "1 threads: ---------------------------------------",
        "      [8]             |          2  |          4  ",
        "2 threads: ---------------------------------------",
        "      [64]            |        123  |             ",
        "",
        "Times are in microseconds (us).",
    ]


def test_what_is_not_timed():
    with pytest.raises(ValueError, match="text of the code"):
        benchmark.Timer(lambda: 1)
    with pytest.raises(ValueError, match="only Python"):
        benchmark.Timer("int x;", language="c++")

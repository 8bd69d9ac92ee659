"""Data sets, samplers and the loader, in this process and with workers."""

import os
import time
from collections import namedtuple

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        return torch.tensor([float(index), float(index) ** 2]), index


class Failing(Squares):
    def __getitem__(self, index):
        if index == 5:
            raise ValueError("sample 5 is broken")
        return super().__getitem__(index)


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, self.n, step))


class Dying(Squares):
    def __getitem__(self, index):
        os._exit(3)


class Slow(Squares):
    def __getitem__(self, index):
        time.sleep(60)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_in_order(workers, drop_last):
    loader = DataLoader(Squares(11), batch_size=4, num_workers=workers, drop_last=drop_last)
    assert len(loader) == (2 if drop_last else 3)
    for _ in range(2):
        batches = list(loader)
        assert [b[1].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]][: len(loader)]
        assert batches[0][0].shape == (4, 2)
        assert batches[0][0][3].tolist() == [3.0, 9.0]
        assert batches[0][1].dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffle_is_a_permutation_that_the_seed_decides(workers):
    torch.manual_seed(3)
    first = [i for _, b in DataLoader(Squares(20), batch_size=6, shuffle=True, num_workers=workers) for i in b.tolist()]
    torch.manual_seed(3)
    second = [
        i for _, b in DataLoader(Squares(20), batch_size=6, shuffle=True, num_workers=workers) for i in b.tolist()
    ]
    third = [i for _, b in DataLoader(Squares(20), batch_size=6, shuffle=True, num_workers=workers) for i in b.tolist()]
    assert first == second != third
    assert sorted(first) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_exceptions_reach_the_caller(workers):
    loader = DataLoader(Failing(8), batch_size=2, num_workers=workers)
    seen = []
    with pytest.raises(ValueError, match="sample 5 is broken"):
        for _, index in loader:
            seen.append(index.tolist())
    assert seen == [[0, 1], [2, 3]]


def test_dead_worker_is_an_error():
    with pytest.raises(RuntimeError, match="exit code 3"):
        list(DataLoader(Dying(4), num_workers=1))


def test_timeout():
    with pytest.raises(RuntimeError, match="timed out after 0.5 seconds"):
        next(iter(DataLoader(Slow(4), num_workers=1, timeout=0.5)))


def test_workers_end_when_iteration_is_left():
    iterator = iter(DataLoader(Squares(100), num_workers=2))
    next(iterator)
    processes = iterator.workers.processes
    assert all(p.is_alive() for p in processes)
    del iterator
    for process in processes:
        process.join(10)
        assert not process.is_alive()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_iterable(workers):
    loader = DataLoader(Stream(10), batch_size=4, num_workers=workers)
    assert sorted(i for b in loader for i in b.tolist()) == list(range(10))


def test_persistent_workers_serve_several_epochs():
    loader = DataLoader(Squares(6), batch_size=2, num_workers=2, persistent_workers=True)
    pids = []
    for _ in range(3):
        iterator = iter(loader)
        pids.append([p.pid for p in iterator.workers.processes])
        assert [b[1].tolist() for b in iterator] == [[0, 1], [2, 3], [4, 5]]
    assert pids[0] == pids[1] == pids[2]
    loader._kept.close()


def test_worker_seeds_differ():
    class Draw(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.rand(()), np.random.rand()

    torch.manual_seed(0)
    ours, numpys = next(iter(DataLoader(Draw(), batch_size=4, num_workers=0)))
    assert len(set(ours.tolist())) == 4
    drawn = [b[0].item() for b in DataLoader(Draw(), num_workers=2)]
    assert len(set(drawn)) == 4


def test_collate():
    Point = namedtuple("Point", "x y")
    batch = [{"a": torch.ones(2), "b": (1, 2.0), "c": "s", "d": Point(np.float32(1), True)} for _ in range(3)]
    out = default_collate(batch)
    assert out["a"].shape == (3, 2)
    assert out["b"][0].dtype == torch.int64
    assert out["b"][1].dtype == torch.float64
    assert out["c"] == ["s"] * 3
    assert isinstance(out["d"], Point)
    assert out["d"].x.tolist() == [1.0] * 3
    assert out["d"].y.dtype == torch.bool
    with pytest.raises(RuntimeError, match=r"\[2\] at entry 0 and \[3\] at entry 1"):
        default_collate([torch.ones(2), torch.ones(3)])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="object"):
        default_collate([object()])


def test_data_sets():
    both = ConcatDataset([Squares(3), Squares(2)])
    assert len(both) == 5
    assert [both[i][1] for i in range(5)] == [0, 1, 2, 0, 1]
    assert both[-1][1] == 1
    assert len(Squares(3) + Squares(4)) == 7
    assert list(ChainDataset([Stream(2), Stream(3)])) == [0, 1, 0, 1, 2]
    assert Subset(Squares(9), [4, 2])[0][1] == 4
    assert StackDataset(Squares(3), Squares(3))[1][1][1] == 1
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(torch.ones(3), torch.ones(4))
    parts = random_split(Squares(10), [0.5, 0.25, 0.25])
    assert [len(p) for p in parts] == [6, 2, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    with pytest.raises(ValueError, match="10 samples"):
        random_split(Squares(10), [3, 3])


def test_tensor_dataset_batches_equal_single_samples():
    x, y = torch.randn(10, 3), torch.arange(10)
    data = TensorDataset(x, y)
    for number, (a, b) in enumerate(DataLoader(data, batch_size=4)):
        assert a.tolist() == x[4 * number : 4 * number + 4].tolist()
        assert b.tolist() == y[4 * number : 4 * number + 4].tolist()


def test_samplers():
    assert list(BatchSampler(SequentialSampler(range(5)), 2, True)) == [[0, 1], [2, 3]]
    assert len(list(RandomSampler(range(5), replacement=True, num_samples=70))) == 70
    assert sorted(SubsetRandomSampler([3, 1, 7])) == [1, 3, 7]
    assert set(WeightedRandomSampler([0.0, 1.0, 1.0], 50)) == {1, 2}
    with pytest.raises(ValueError, match="positive integer"):
        BatchSampler(SequentialSampler(range(5)), 0, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"num_workers": -1}, "non-negative"),
        ({"shuffle": True, "sampler": [0]}, "mutually exclusive"),
        ({"batch_sampler": [[0]], "drop_last": True}, "mutually exclusive"),
        ({"prefetch_factor": 2}, "num_workers > 0"),
        ({"persistent_workers": True}, "num_workers > 0"),
        ({"timeout": -1}, "non-negative"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(4), **options)

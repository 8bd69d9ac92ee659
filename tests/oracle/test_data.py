"""The order in which loaders visit samples, and random splits, are PyTorch's for the same seed."""

import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own_generator", [False, True])
def test_shuffles(workers, own_generator):
    orders = []
    for library in (rushlight, torch):
        data = library.utils.data
        library.manual_seed(5)
        generator = library.Generator().manual_seed(9) if own_generator else None
        loader = data.DataLoader(
            data.TensorDataset(library.arange(50)), batch_size=7, shuffle=True, num_workers=workers, generator=generator
        )
        orders.append([i for _ in range(2) for (batch,) in loader for i in batch.tolist()])
        orders[-1].append(library.rand(1).item())  # what is left of the default generator
    assert orders[0][:-1] == orders[1][:-1]
    assert orders[0][-1] == pytest.approx(orders[1][-1], abs=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data.RandomSampler(range(40), replacement=True, num_samples=75),
        lambda data: data.RandomSampler(range(10), num_samples=25),
        lambda data: data.SubsetRandomSampler(range(5, 20)),
        lambda data: data.WeightedRandomSampler([0.1, 0.5, 0.2, 0.2], 30),
        lambda data: data.WeightedRandomSampler([0.1, 0.5, 0.2, 0.2], 3, replacement=False),
    ],
)
def test_samplers(make):
    orders = []
    for library in (rushlight, torch):
        library.manual_seed(2)
        orders.append(list(make(library.utils.data)))
    assert orders[0] == orders[1]


def test_random_split():
    parts = []
    for library in (rushlight, torch):
        library.manual_seed(1)
        split = library.utils.data.random_split(range(23), [0.5, 0.3, 0.2])
        parts.append([list(p.indices) for p in split])
    assert parts[0] == parts[1]

import torch, os, math, numpy as np, random
from torch.utils.data import (
    Dataset,
    DataLoader,
    IterableDataset,
    ConcatDataset,
    Subset,
    random_split,
    TensorDataset,
    Sampler,
    BatchSampler,
    SequentialSampler,
    RandomSampler,
    WeightedRandomSampler,
    SubsetRandomSampler,
    ChainDataset,
    StackDataset,
    default_collate,
    get_worker_info,
)

torch.manual_seed(0)


class Sq(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {
            "x": np.float32(i),
            "y": i * i,
            "name": f"item{i}",
            "arr": np.arange(3) + i,
            "t": torch.ones(2) * i,
            "l": [i, float(i)],
            "tu": (i, "a"),
        }


for b in DataLoader(Sq(), batch_size=4, shuffle=True):
    print(b)
for b in DataLoader(Sq(5), batch_size=2, num_workers=2, drop_last=True):
    print(b["x"], b["name"])
print(len(DataLoader(Sq(), 3)), len(DataLoader(Sq(), 3, drop_last=True)))
a, b = random_split(Sq(10), [7, 3])
print(a.indices, b.indices, len(a))
a, b, c = random_split(range(10), [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(42))
print(list(a), list(b), list(c))
print(
    list(RandomSampler(range(5))),
    list(RandomSampler(range(5), replacement=True, num_samples=7)),
    list(WeightedRandomSampler([0.1, 0.9, 0.3], 6)),
    list(SubsetRandomSampler([2, 4, 6])),
    list(BatchSampler(SequentialSampler(range(7)), 3, False)),
)


def collate(batch):
    xs = [torch.arange(n) for n in batch]
    return torch.nn.utils.rnn.pad_sequence(xs, batch_first=True, padding_value=-1), torch.tensor(batch)


print(next(iter(DataLoader([3, 1, 2], batch_size=3, collate_fn=collate))))


class It(IterableDataset):
    def __init__(self, s, e):
        super().__init__()
        self.start, self.end = s, e

    def __iter__(self):
        wi = get_worker_info()
        if wi is None:
            s, e = self.start, self.end
        else:
            per = int(math.ceil((self.end - self.start) / float(wi.num_workers)))
            s = self.start + wi.id * per
            e = min(s + per, self.end)
        return iter(range(s, e))


print(list(DataLoader(It(3, 7), num_workers=0)))
print(list(DataLoader(It(3, 7), num_workers=2)))
print(list(DataLoader(It(0, 10), batch_size=4)))
cd = ConcatDataset([TensorDataset(torch.arange(3)), TensorDataset(torch.arange(10, 12))])
print(len(cd), [int(x[0]) for x in cd], cd.cumulative_sizes)
print(list(ChainDataset([It(0, 2), It(5, 7)])))


class MyS(Sampler):
    def __init__(self, d):
        self.d = d

    def __iter__(self):
        return iter(range(len(self.d))[::-1])

    def __len__(self):
        return len(self.d)


print([b.tolist() for b in DataLoader(torch.arange(5), sampler=MyS(range(5)), batch_size=2)])
print([b.tolist() for b in DataLoader(list(range(6)), batch_sampler=[[0, 1], [2, 3, 4]])])
g = torch.Generator()
g.manual_seed(0)


def seed_worker(worker_id):
    ws = torch.initial_seed() % 2**32
    np.random.seed(ws)
    random.seed(ws)


class R(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.rand(1), random.random(), np.random.rand()


print(list(DataLoader(R(), batch_size=2, num_workers=2, worker_init_fn=seed_worker, generator=g)))
dl = DataLoader(
    TensorDataset(torch.arange(6.0).view(6, 1), torch.arange(6)),
    batch_size=3,
    shuffle=True,
    pin_memory=False,
    persistent_workers=True,
    num_workers=1,
    prefetch_factor=2,
)
print([x for x in dl])
print([x for x in dl])
print(dl.batch_size, dl.dataset[0], type(dl.sampler).__name__)
print(
    default_collate([(1, "a"), (2, "b")]),
    default_collate([torch.zeros(2), torch.ones(2)]),
    default_collate([True, False]),
    default_collate([1.5, 2.0]),
)
s = Subset(Sq(10), [1, 5])
print(len(s), s[1]["y"])
print(StackDataset(torch.arange(3), torch.arange(3) * 2)[1])
dl2 = DataLoader(Sq(4), batch_size=None)
print(next(iter(dl2))["arr"], type(next(iter(dl2))["x"]).__name__)
it = iter(DataLoader([1, 2, 3]))
print(next(it), next(it), next(it))
try:
    next(it)
except StopIteration:
    print("stop")
gen = torch.Generator().manual_seed(7)
print(
    torch.randn(2, generator=gen),
    torch.randperm(4, generator=gen),
    torch.randint(0, 9, (3,), generator=gen),
    gen.initial_seed(),
)
print([x for x in DataLoader(range(8), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(3))])


class FaceLandmarks(Dataset):
    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return 4

    def __getitem__(self, idx):
        if torch.is_tensor(idx):
            idx = idx.tolist()
        s = {"image": np.ones((4, 5, 3)) * idx, "landmarks": np.array([[1.0, 2.0]]) * idx}
        return self.transform(s) if self.transform else s


class ToTensor(object):
    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        image = image.transpose((2, 0, 1))
        return {"image": torch.from_numpy(image), "landmarks": torch.from_numpy(landmarks)}


for i, sb in enumerate(DataLoader(FaceLandmarks(ToTensor()), batch_size=4, shuffle=True, num_workers=0)):
    print(i, sb["image"].size(), sb["landmarks"])

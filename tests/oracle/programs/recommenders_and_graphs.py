"""Factorization machines, skip-grams, convolutions on graphs by index_add and scatter, embeddings of knowledge."""

import torch, numpy as np, random, math, torch.nn as nn, torch.nn.functional as F

torch.manual_seed(0)
np.random.seed(0)
random.seed(0)


class FactorizationMachine(nn.Module):
    def __init__(self, reduce_sum=True):
        super().__init__()
        self.reduce_sum = reduce_sum

    def forward(self, x):
        ix = torch.sum(x, dim=1) ** 2 - torch.sum(x**2, dim=1)
        return 0.5 * (torch.sum(ix, dim=1, keepdim=True) if self.reduce_sum else ix)


class FeaturesEmbedding(nn.Module):
    def __init__(self, dims, d):
        super().__init__()
        self.embedding = nn.Embedding(sum(dims), d)
        self.offsets = np.array((0, *np.cumsum(dims)[:-1]), dtype=np.int64)
        nn.init.xavier_uniform_(self.embedding.weight.data)

    def forward(self, x):
        return self.embedding(x + x.new_tensor(self.offsets).unsqueeze(0))


class DeepFM(nn.Module):
    def __init__(self, dims, d=4):
        super().__init__()
        self.lin = FeaturesEmbedding(dims, 1)
        self.bias = nn.Parameter(torch.zeros((1,)))
        self.fm = FactorizationMachine()
        self.emb = FeaturesEmbedding(dims, d)
        self.mlp = nn.Sequential(
            nn.Linear(len(dims) * d, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, 1)
        )

    def forward(self, x):
        e = self.emb(x)
        return torch.sigmoid(
            (
                torch.sum(self.lin(x), 1) + self.bias + self.fm(e) + self.mlp(e.view(-1, e.shape[1] * e.shape[2]))
            ).squeeze(1)
        )


dims = [10, 8, 5]
X = torch.stack([torch.randint(0, d, (64,)) for d in dims], 1)
y = (X.sum(1) % 2).float()
m = DeepFM(dims)
o = torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=1e-6)
bce = nn.BCELoss()
for _ in range(4):
    l = bce(m(X), y)
    m.zero_grad()
    l.backward()
    o.step()
    print(f"fm {l.item():.5f}")


class SkipGram(nn.Module):
    def __init__(self, v, d):
        super().__init__()
        self.i = nn.Embedding(v, d, sparse=False)
        self.o = nn.Embedding(v, d)
        self.i.weight.data.uniform_(-0.5 / d, 0.5 / d)
        self.o.weight.data.uniform_(0, 0)

    def forward(self, u, v, neg):
        eu, ev, en = self.i(u), self.o(v), self.o(neg)
        score = F.logsigmoid(torch.clamp(torch.sum(eu * ev, 1), max=10, min=-10))
        ns = F.logsigmoid(-torch.clamp(torch.bmm(en, eu.unsqueeze(2)).squeeze(), max=10, min=-10)).sum(1)
        return torch.mean(-(score + ns))


sg = SkipGram(20, 8)
so = torch.optim.SparseAdam(sg.parameters(), lr=0.01) if False else torch.optim.Adagrad(sg.parameters(), lr=0.1)
u, v = torch.randint(0, 20, (16,)), torch.randint(0, 20, (16,))
w = torch.rand(20) ** 0.75
for _ in range(3):
    neg = torch.multinomial(w, 16 * 5, replacement=True).view(16, 5)
    l = sg(u, v, neg)
    so.zero_grad()
    l.backward()
    so.step()
    print(f"sg {l.item():.5f}")
n, e = 12, torch.randint(0, 12, (2, 40))


def gcn_norm(edge_index, n):
    ei = torch.cat([edge_index, torch.arange(n).repeat(2, 1)], 1)
    row, col = ei
    deg = torch.zeros(n).scatter_add_(0, col, torch.ones(col.size(0)))
    dis = deg.pow(-0.5)
    dis[dis == float("inf")] = 0
    return ei, dis[row] * dis[col]


class GCNConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o, bias=False)
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x, ei):
        ei, norm = gcn_norm(ei, x.size(0))
        x = self.lin(x)
        out = torch.zeros_like(x)
        return out.index_add_(0, ei[1], norm.view(-1, 1) * x[ei[0]]) + self.bias


class SAGE(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.l, self.r = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, x, ei):
        s = torch.zeros_like(x).scatter_reduce(
            0, ei[1][:, None].expand(-1, x.size(1)), x[ei[0]], reduce="mean", include_self=False
        )
        return F.normalize(self.l(s) + self.r(x), p=2.0, dim=-1)


x = torch.randn(n, 6)
lab = torch.randint(0, 3, (n,))
mask = torch.rand(n) > 0.4
for C in (GCNConv, SAGE):
    torch.manual_seed(1)
    c1, c2 = C(6, 8), C(8, 3)
    o = torch.optim.Adam([*c1.parameters(), *c2.parameters()], lr=0.02, weight_decay=5e-4)
    for _ in range(3):
        out = F.log_softmax(c2(F.relu(c1(x, e)), e), 1)
        l = F.nll_loss(out[mask], lab[mask])
        o.zero_grad()
        l.backward()
        o.step()
        print(C.__name__, f"{l.item():.5f}")
graph_id = torch.tensor([0] * 5 + [1] * 7)
pooled = torch.zeros(2, 6).index_reduce_(0, graph_id, x, "mean", include_self=False)
print(pooled.shape, torch.stack([c.mean(0) for c in x.split([5, 7])]).allclose(pooled, atol=1e-6))


class TransE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.r = nn.Embedding(10, 5, max_norm=1), nn.Embedding(3, 5)

    def d(self, t):
        return (self.e(t[:, 0]) + self.r(t[:, 1]) - self.e(t[:, 2])).norm(p=1, dim=1)

    def forward(self, p, q):
        return nn.MarginRankingLoss(margin=1.0, reduction="none")(
            self.d(p), self.d(q), torch.tensor([-1], dtype=torch.long)
        )


t = TransE()
p = torch.stack([torch.randint(0, 10, (8,)), torch.randint(0, 3, (8,)), torch.randint(0, 10, (8,))], 1)
q = p.clone()
q[:, 2] = torch.randint(0, 10, (8,))
o = torch.optim.SGD(t.parameters(), lr=0.01)
for _ in range(3):
    o.zero_grad()
    l = t(p, q)
    l.mean().backward()
    o.step()
    print(f"{l.mean().item():.5f}")
bag = nn.EmbeddingBag(10, 3, mode="sum")
print(
    bag(torch.tensor([1, 2, 4, 5, 4, 3, 2, 9]), torch.tensor([0, 4])).shape,
    bag(torch.tensor([[1, 2], [3, 4]]), per_sample_weights=torch.tensor([[0.5, 0.5], [1.0, 2.0]])),
)
k, th = 3, torch.randn(4, 9)
r = torch.topk(th, k).indices
hits = (r == torch.tensor([[1], [2], [3], [4]])).any(1).float().mean()
ndcg = (1 / torch.log2(torch.arange(k).float() + 2)).sum()
print(hits, ndcg, torch.isin(r, torch.tensor([1, 2])).sum())
ei = torch.tensor([[0, 1], [1, 0]])
A = torch.zeros(2, 2)
A[ei[0], ei[1]] = 1
D = torch.diag(A.sum(1))
L = D - A
w_, v_ = torch.linalg.eigh(L)
print(w_, v_.abs())

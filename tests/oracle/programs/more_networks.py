import torch, math, numpy as np
import torch.nn as nn, torch.nn.functional as F

torch.manual_seed(0)


# BERT-ish
class BertSelf(nn.Module):
    def __init__(self, h=32, heads=4):
        super().__init__()
        self.num_attention_heads = heads
        self.attention_head_size = h // heads
        self.query = nn.Linear(h, h)
        self.key = nn.Linear(h, h)
        self.value = nn.Linear(h, h)
        self.dropout = nn.Dropout(0.0)

    def transpose_for_scores(self, x):
        new_x_shape = x.size()[:-1] + (self.num_attention_heads, self.attention_head_size)
        x = x.view(*new_x_shape)
        return x.permute(0, 2, 1, 3)

    def forward(self, hs, mask):
        q, k, v = [self.transpose_for_scores(f(hs)) for f in (self.query, self.key, self.value)]
        s = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.attention_head_size)
        s = s + mask
        p = self.dropout(nn.Softmax(dim=-1)(s))
        c = torch.matmul(p, v).permute(0, 2, 1, 3).contiguous()
        return c.view(*(c.size()[:-2] + (32,)))


class BertEmb(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(100, 32, padding_idx=0)
        self.position_embeddings = nn.Embedding(64, 32)
        self.token_type_embeddings = nn.Embedding(2, 32)
        self.LayerNorm = nn.LayerNorm(32, eps=1e-12)
        self.register_buffer("position_ids", torch.arange(64).expand((1, -1)))

    def forward(self, ids, tt=None):
        if tt is None:
            tt = torch.zeros_like(ids)
        return self.LayerNorm(
            self.word_embeddings(ids)
            + self.position_embeddings(self.position_ids[:, : ids.size(1)])
            + self.token_type_embeddings(tt)
        )


emb, att = BertEmb(), BertSelf()
ids = torch.randint(1, 100, (2, 7))
am = torch.ones(2, 7)
am[1, 4:] = 0
ext = am[:, None, None, :].to(dtype=torch.float32)
ext = (1.0 - ext) * -10000.0
h = att(emb(ids), ext)
print(h.shape, h[0, 0, :5])
mlm = nn.Linear(32, 100)
mlm.weight = emb.word_embeddings.weight
lab = ids.clone()
pm = torch.full(lab.shape, 0.3)
mi = torch.bernoulli(pm).bool()
lab[~mi] = -100
l = nn.CrossEntropyLoss()(mlm(h).view(-1, 100), lab.view(-1))
l.backward()
print(l, emb.word_embeddings.weight.grad.abs().sum(), emb.word_embeddings.weight.grad[0].abs().sum())


# Graph conv
class GCN(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.FloatTensor(i, o))
        self.bias = nn.Parameter(torch.FloatTensor(o))
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, adj):
        return torch.mm(adj, torch.mm(x, self.weight)) + self.bias

    def __repr__(self):
        return self.__class__.__name__ + " (" + str(self.weight.shape[0]) + " -> " + str(self.weight.shape[1]) + ")"


adj = (torch.rand(6, 6) > 0.5).float()
adj = ((adj + adj.T) > 0).float() + torch.eye(6)
D = torch.diag(adj.sum(1).pow(-0.5))
adj = D @ adj @ D
g1, g2 = GCN(4, 8), GCN(8, 3)
opt = torch.optim.Adam(list(g1.parameters()) + list(g2.parameters()), lr=0.01, weight_decay=5e-4)
X = torch.randn(6, 4)
y = torch.tensor([0, 1, 2, 0, 1, 2])
print(g1)
for i in range(4):
    out = F.log_softmax(g2(F.relu(g1(X, adj)), adj), dim=1)
    l = F.nll_loss(out[:4], y[:4])
    opt.zero_grad()
    l.backward()
    opt.step()
    print(l.item(), (out.max(1)[1].type_as(y).eq(y).double().sum() / 6).item())


# matrix factorization, wide&deep
class MF(nn.Module):
    def __init__(self, nu, ni, k=4):
        super().__init__()
        self.u = nn.Embedding(nu, k)
        self.i = nn.Embedding(ni, k)
        self.ub = nn.Embedding(nu, 1)
        self.ib = nn.Embedding(ni, 1)
        self.u.weight.data.uniform_(-0.01, 0.01)

    def forward(self, u, i):
        return ((self.u(u) * self.i(i)).sum(1, keepdim=True) + self.ub(u) + self.ib(i)).squeeze()


mf = MF(10, 12)
o = torch.optim.SGD(mf.parameters(), lr=0.1, weight_decay=1e-4)
for _ in range(3):
    u, i, r = torch.randint(10, (16,)), torch.randint(12, (16,)), torch.rand(16) * 5
    l = F.mse_loss(mf(u, i), r)
    o.zero_grad()
    l.backward()
    o.step()
    print(l.item())


# SE, depthwise, mobilenet, dilated, TCN
class SE(nn.Module):
    def __init__(self, c, r=4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(c, c // r, bias=False), nn.ReLU(inplace=True), nn.Linear(c // r, c, bias=False), nn.Sigmoid()
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class InvRes(nn.Module):
    def __init__(self, i, o, s, e):
        super().__init__()
        h = i * e
        self.use = s == 1 and i == o
        self.conv = nn.Sequential(
            nn.Conv2d(i, h, 1, bias=False),
            nn.BatchNorm2d(h),
            nn.ReLU6(inplace=True),
            nn.Conv2d(h, h, 3, s, 1, groups=h, bias=False),
            nn.BatchNorm2d(h),
            nn.ReLU6(inplace=True),
            SE(h),
            nn.Conv2d(h, o, 1, bias=False),
            nn.BatchNorm2d(o),
        )

    def forward(self, x):
        return x + self.conv(x) if self.use else self.conv(x)


class Chomp1d(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s

    def forward(self, x):
        return x[:, :, : -self.s].contiguous()


from torch.nn.utils import weight_norm

tcn = nn.Sequential(weight_norm(nn.Conv1d(2, 4, 3, padding=4, dilation=2)), Chomp1d(4), nn.ReLU(), nn.Dropout(0.0))
print(tcn(torch.randn(2, 2, 10)).shape)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3, 2, 1),
    InvRes(8, 8, 1, 2),
    InvRes(8, 16, 2, 4),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 4),
)
o = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=4e-5)
for _ in range(3):
    l = F.cross_entropy(net(torch.randn(4, 3, 16, 16)), torch.randint(0, 4, (4,)))
    o.zero_grad()
    l.backward()
    o.step()
    print(l.item())


# STN
class STN(nn.Module):
    def __init__(self):
        super().__init__()
        self.localization = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=7),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(True),
            nn.Conv2d(8, 10, kernel_size=5),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(True),
        )
        self.fc_loc = nn.Sequential(nn.Linear(10 * 3 * 3, 32), nn.ReLU(True), nn.Linear(32, 3 * 2))
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([0.93, 0.11, 0.05, -0.07, 1.02, 0.03], dtype=torch.float))
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2_drop = nn.Dropout2d(0.0)
        self.fc = nn.Linear(1440, 10)

    def stn(self, x):
        xs = self.localization(x)
        xs = xs.view(-1, 10 * 3 * 3)
        theta = self.fc_loc(xs)
        theta = theta.view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    def forward(self, x):
        x = self.stn(x)
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv1(x)), 2))
        return F.log_softmax(self.fc(x.view(-1, 1440)), dim=1)


s = STN()
o = torch.optim.SGD(s.parameters(), lr=0.01)
for _ in range(3):
    l = F.nll_loss(s(torch.randn(4, 1, 28, 28)), torch.randint(0, 10, (4,)))
    o.zero_grad()
    l.backward()
    o.step()
    print(l.item())
# super-resolution
sr = nn.Sequential(nn.Conv2d(1, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, 9, 3, 1, 1), nn.PixelShuffle(3))
for m in sr:
    if isinstance(m, nn.Conv2d):
        nn.init.orthogonal_(m.weight, nn.init.calculate_gain("relu"))
print(sr(torch.ones(1, 1, 4, 4)).shape, sr(torch.ones(1, 1, 4, 4)).sum())
mse = F.mse_loss(torch.rand(2), torch.rand(2))
print(10 * math.log10(1 / mse.item()), 10 * torch.log10(1 / mse))
# FGSM
im = torch.rand(2, 1, 28, 28, requires_grad=True)
s.eval()
l = F.nll_loss(s(im), torch.tensor([1, 2]))
s.zero_grad()
l.backward()
adv = torch.clamp(im + 0.1 * im.grad.data.sign(), 0, 1)
print(adv.sum(), s(adv).max(1, keepdim=True)[1])


# MoE, LoRA, RMSNorm, rotary w/o complex, swiglu, KV cache
class LoRA(nn.Module):
    def __init__(self, lin, r=2, alpha=4):
        super().__init__()
        self.lin = lin
        self.lin.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, lin.in_features) * 0.01)
        self.B = nn.Parameter(torch.zeros(lin.out_features, r))
        self.s = alpha / r

    def forward(self, x):
        return self.lin(x) + (x @ self.A.T @ self.B.T) * self.s


lo = LoRA(nn.Linear(4, 3))
lo(torch.ones(2, 4)).sum().backward()
print(lo.A.grad.sum(), lo.B.grad.sum(), lo.lin.weight.grad)


class RMS(nn.Module):
    def __init__(self, d, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


inv = 1.0 / (10000 ** (torch.arange(0, 8, 2).float() / 8))
fr = torch.einsum("i,j->ij", torch.arange(5.0), inv)
e = torch.cat((fr, fr), -1)
q = torch.randn(1, 2, 5, 8)
print((q * e.cos() + rotate_half(q) * e.sin()).sum(), RMS(8)(q).std(), F.rms_norm(q, (8,)).std())


class MoE(nn.Module):
    def __init__(self, d=4, n=3, k=2):
        super().__init__()
        self.gate = nn.Linear(d, n, bias=False)
        self.ex = nn.ModuleList([nn.Sequential(nn.Linear(d, 8), nn.GELU(), nn.Linear(8, d)) for _ in range(n)])
        self.k = k

    def forward(self, x):
        w, idx = torch.topk(self.gate(x), self.k)
        w = F.softmax(w, dim=1, dtype=torch.float).to(x.dtype)
        out = torch.zeros_like(x)
        for i, ex in enumerate(self.ex):
            b, n = torch.where(idx == i)
            out[b] += w[b, n, None] * ex(x[b])
        return out


mo = MoE()
r = mo(torch.randn(5, 4))
r.sum().backward()
print(r, mo.gate.weight.grad)

import torch, math
import torch.nn as nn, torch.nn.functional as F
from torch.distributions import (
    Normal,
    Categorical,
    MixtureSameFamily,
    MultivariateNormal,
    Independent,
    TransformedDistribution,
)
import torch.distributions as D

torch.manual_seed(0)


class MDN(nn.Module):
    def __init__(self, h, k):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, h), nn.Tanh())
        self.z_pi = nn.Linear(h, k)
        self.z_sigma = nn.Linear(h, k)
        self.z_mu = nn.Linear(h, k)

    def forward(self, x):
        z = self.z_h(x)
        return F.softmax(self.z_pi(z), -1), torch.exp(self.z_sigma(z)), self.z_mu(z)


oneDivSqrtTwoPI = 1.0 / math.sqrt(2.0 * math.pi)


def gaussian(y, mu, sigma):
    result = (y.expand_as(mu) - mu) * torch.reciprocal(sigma)
    result = -0.5 * (result * result)
    return (torch.exp(result) * torch.reciprocal(sigma)) * oneDivSqrtTwoPI


def mdn_loss(pi, sigma, mu, y):
    r = gaussian(y, mu, sigma) * pi
    r = torch.sum(r, dim=1)
    r = -torch.log(r)
    return torch.mean(r)


net = MDN(20, 5)
opt = torch.optim.Adam(net.parameters())
x = torch.linspace(-15, 15, 100).unsqueeze(1)
y = torch.sin(0.75 * x) * 7 + 0.5 * x + torch.randn(100, 1)
for i in range(5):
    l = mdn_loss(*net(x), y)
    opt.zero_grad()
    l.backward()
    opt.step()
    print(l.data, l.data.tolist())
for i in range(3):
    pi, s, mu = net(x)
    mix = MixtureSameFamily(Categorical(pi), Normal(mu, s))
    l = -mix.log_prob(y.squeeze(1)).mean()
    opt.zero_grad()
    l.backward()
    opt.step()
    print(l.item())


class Coupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 2))

    def forward(self, x):
        m = self.mask
        xm = x * m
        s, t = self.s(xm) * (1 - m), self.t(xm) * (1 - m)
        return xm + (1 - m) * (x * s.exp() + t), s.sum(1)

    def inverse(self, z):
        m = self.mask
        zm = z * m
        s, t = self.s(zm) * (1 - m), self.t(zm) * (1 - m)
        return (1 - m) * (z - t) * torch.exp(-s) + zm


class RealNVP(nn.Module):
    def __init__(self, n=4):
        super().__init__()
        self.prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
        self.layers = nn.ModuleList([Coupling(torch.tensor([0.0, 1.0] if i % 2 else [1.0, 0.0])) for i in range(n)])

    def log_prob(self, x):
        ld = x.new_zeros(x.shape[0])
        for l in self.layers:
            x, d = l(x)
            ld += d
        return self.prior.log_prob(x) + ld

    def sample(self, n):
        z = self.prior.sample((n,))
        for l in reversed(self.layers):
            z = l.inverse(z)
        return z


f = RealNVP()
opt = torch.optim.Adam([p for p in f.parameters() if p.requires_grad], lr=1e-3)
X = torch.randn(64, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.3]]) + 1
for i in range(5):
    l = -f.log_prob(X).mean()
    opt.zero_grad()
    l.backward(retain_graph=True)
    opt.step()
    print(l.item())
with torch.no_grad():
    print(f.sample(3))
# planar flow, logistic with transforms
base = D.Uniform(torch.zeros(2), torch.ones(2))
td = TransformedDistribution(
    base, [D.SigmoidTransform().inv, D.AffineTransform(loc=torch.zeros(2), scale=torch.ones(2))]
)
s = td.rsample((3,))
print(s, td.log_prob(s))
# diffusion DDPM
T = 20
betas = torch.linspace(1e-4, 0.02, T)
alphas = 1.0 - betas
ac = torch.cumprod(alphas, dim=0)
acp = F.pad(ac[:-1], (1, 0), value=1.0)
pv = betas * (1.0 - acp) / (1.0 - ac)


def extract(a, t, x_shape):
    b = t.shape[0]
    out = a.gather(-1, t.cpu())
    return out.reshape(b, *((1,) * (len(x_shape) - 1))).to(t.device)


class SinPos(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, time):
        half = self.dim // 2
        e = math.log(10000) / (half - 1)
        e = torch.exp(torch.arange(half) * -e)
        e = time[:, None] * e[None, :]
        return torch.cat((e.sin(), e.cos()), dim=-1)


eps = nn.Sequential(nn.Linear(2 + 8, 32), nn.SiLU(), nn.Linear(32, 2))
pos = SinPos(8)
opt = torch.optim.Adam(eps.parameters(), 1e-3)
for i in range(4):
    t = torch.randint(0, T, (64,)).long()
    n = torch.randn_like(X)
    xt = extract(ac.sqrt(), t, X.shape) * X + extract((1 - ac).sqrt(), t, X.shape) * n
    l = F.smooth_l1_loss(eps(torch.cat([xt, pos(t)], 1)), n)
    opt.zero_grad()
    l.backward()
    opt.step()
    print(l.item())


@torch.no_grad()
def p_sample_loop(shape):
    x = torch.randn(shape)
    for i in reversed(range(0, T)):
        t = torch.full((shape[0],), i, dtype=torch.long)
        mean = extract((1.0 / alphas).sqrt(), t, x.shape) * (
            x - extract(betas, t, x.shape) * eps(torch.cat([x, pos(t)], 1)) / extract((1.0 - ac).sqrt(), t, x.shape)
        )
        x = mean if i == 0 else mean + torch.sqrt(extract(pv, t, x.shape)) * torch.randn_like(x)
    return x


print(p_sample_loop((3, 2)))
# VQ-VAE straight through, gumbel
e = nn.Embedding(8, 4)
z = torch.randn(5, 4, requires_grad=True)
dd = torch.sum(z**2, dim=1, keepdim=True) + torch.sum(e.weight**2, dim=1) - 2 * torch.matmul(z, e.weight.t())
idx = torch.argmin(dd, dim=1).unsqueeze(1)
enc = torch.zeros(idx.shape[0], 8)
enc.scatter_(1, idx, 1)
q = torch.matmul(enc, e.weight)
loss = F.mse_loss(q.detach(), z) * 0.25 + F.mse_loss(q, z.detach())
q = z + (q - z).detach()
perp = torch.exp(-torch.sum(enc.mean(0) * torch.log(enc.mean(0) + 1e-10)))
(loss + q.sum()).backward()
print(loss, perp, z.grad)
print(F.gumbel_softmax(torch.zeros(2, 3), tau=0.5), F.gumbel_softmax(torch.zeros(2, 3), hard=True))

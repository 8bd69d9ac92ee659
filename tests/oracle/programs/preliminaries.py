import torch, math, time, inspect

x = torch.arange(12, dtype=torch.float32)
print(x, x.numel(), x.shape)
X = x.reshape(3, 4)
print(X, torch.zeros((2, 3, 4)), torch.ones((2, 3, 4)))
torch.manual_seed(0)
print(torch.randn(3, 4))
print(torch.tensor([[2, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]]))
print(X[-1], X[1:3])
X[1, 2] = 17
print(X)
X[:2, :] = 12
print(X)
print(torch.exp(x))
x = torch.tensor([1.0, 2, 4, 8])
y = torch.tensor([2, 2, 2, 2])
print(x + y, x - y, x * y, x / y, x**y, x // y, x % y)
X = torch.arange(12, dtype=torch.float32).reshape((3, 4))
Y = torch.tensor([[2.0, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]])
print(torch.cat((X, Y), dim=0), torch.cat((X, Y), dim=1), X == Y, X.sum())
a = torch.arange(3).reshape((3, 1))
b = torch.arange(2).reshape((1, 2))
print(a, b, a + b)
before = id(Y)
Y = Y + X
print(id(Y) == before)
Z = torch.zeros_like(Y)
i = id(Z)
Z[:] = X + Y
print(i == id(Z))
before = id(X)
X += Y
print(id(X) == before)
A = X.numpy()
B = torch.from_numpy(A)
print(type(A), type(B).__name__)
a = torch.tensor([3.5])
print(a, a.item(), float(a), int(a))
A = torch.arange(6).reshape(3, 2)
print(A, A.T)
A = torch.tensor([[1, 2, 3], [2, 0, 4], [3, 4, 5]])
print(A == A.T)
A = torch.arange(6, dtype=torch.float32).reshape(2, 3)
B = A.clone()
print(
    A,
    A + B,
    A * B,
    A.sum(axis=0),
    A.sum(axis=[0, 1]) == A.sum(),
    A.mean(),
    A.sum() / A.numel(),
    A.mean(axis=0),
    A.sum(axis=1, keepdims=True),
    A.cumsum(axis=0),
)
x = torch.arange(3, dtype=torch.float32)
y = torch.ones(3, dtype=torch.float32)
print(
    torch.dot(x, y),
    torch.mv(A, x),
    A @ x,
    torch.mm(A, torch.ones(3, 4)),
    torch.norm(torch.tensor([3.0, -4.0])),
    torch.abs(torch.tensor([3.0, -4.0])).sum(),
    torch.norm(torch.ones((4, 9))),
)
x = torch.arange(4.0)
x.requires_grad_(True)
print(x.grad)
y = 2 * torch.dot(x, x)
print(y)
y.backward()
print(x.grad, x.grad == 4 * x)
x.grad.zero_()
y = x.sum()
y.backward()
print(x.grad)
x.grad.zero_()
y = x * x
y.backward(gradient=torch.ones(len(y)))
print(x.grad)
x.grad.zero_()
y = x * x
u = y.detach()
z = u * x
z.sum().backward()
print(x.grad == u)


def f(a):
    b = a * 2
    while b.norm() < 1000:
        b = b * 2
    if b.sum() > 0:
        c = b
    else:
        c = 100 * b
    return c


a = torch.randn(size=(), requires_grad=True)
d = f(a)
d.backward()
print(a.grad == d / a)
from torch.distributions import multinomial
from torch.distributions.multinomial import Multinomial

fair_probs = torch.tensor([0.5, 0.5])
print(Multinomial(100, fair_probs).sample(), Multinomial(100, fair_probs).sample() / 100)
counts = Multinomial(1, fair_probs).sample((1000,))
cum_counts = counts.cumsum(dim=0)
est = cum_counts / cum_counts.sum(dim=1, keepdims=True)
print(est[::200])
print([n for n in dir(torch.distributions) if n in ("Normal", "Categorical", "Bernoulli", "Uniform", "Beta", "Gamma")])
print(
    torch.stack([torch.arange(3), torch.arange(3)]),
    torch.exp(torch.tensor(1.0)),
    torch.arange(12).view(2, -1),
    torch.arange(24).reshape(2, 3, 4).sum(dim=(0, 2)),
    torch.arange(24.0).reshape(2, 3, 4).mean(dim=-1),
    X[torch.tensor([0, 2])],
    X[X > 5],
    X[:, [1, 3]],
    X[..., None].shape,
)

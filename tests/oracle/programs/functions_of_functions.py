import torch
from torch.func import (
    vmap,
    grad,
    jacrev,
    jacfwd,
    hessian,
    functional_call,
    grad_and_value,
    vjp,
    jvp,
    stack_module_state,
)
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
print(grad(torch.sin)(torch.tensor(1.0)), grad(grad(torch.sin))(torch.tensor(1.0)))
print(
    vmap(torch.dot)(torch.arange(6.0).view(2, 3), torch.ones(2, 3)),
    vmap(lambda x, y: x * y, in_dims=(0, None))(torch.arange(3.0), torch.tensor(2.0)),
    torch.vmap(lambda x: x.sum(), in_dims=1)(torch.arange(6.0).view(2, 3)),
    vmap(lambda x: x * 2, out_dims=1)(torch.arange(6.0).view(2, 3)).shape,
)
x = torch.randn(3)
print(jacrev(torch.sin)(x), jacfwd(lambda x: x**2)(x), hessian(lambda x: (x**3).sum())(x))
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
params = {k: v.detach() for k, v in model.named_parameters()}


def loss(params, x, y):
    return F.mse_loss(functional_call(model, params, (x.unsqueeze(0),)).squeeze(0), y)


X, Y = torch.randn(5, 3), torch.randn(5, 1)
g = vmap(grad(loss), in_dims=(None, 0, 0))(params, X, Y)
print({k: (v.shape, v.sum()) for k, v in g.items()})
gv, val = grad_and_value(loss)(params, X[0], Y[0])
print(val, gv["0.bias"])
out, f = vjp(torch.sin, x)
print(out, f(torch.ones(3)))
print(jvp(torch.sin, (x,), (torch.ones(3),)))
models = [nn.Linear(3, 2) for _ in range(4)]
p, b = stack_module_state(models)
base = models[0]
print(vmap(lambda p, b, x: functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(p, b, X).shape)
print(functional_call(model, params, X).shape, torch.func.functional_call(model, {"2.bias": torch.ones(1)}, (X,)).sum())


# maml
def inner(params, x, y):
    return F.mse_loss(functional_call(model, params, (x,)), y)


def outer(params):
    gr = grad(inner)(params, X, Y)
    new = {k: params[k] - 0.1 * gr[k] for k in params}
    return inner(new, X, Y)


mg = grad(outer)(params)
print({k: v.sum() for k, v in mg.items()})
w = torch.randn(3, requires_grad=True)
l = (w * X).sum(1).pow(2).mean()
(gw,) = torch.autograd.grad(l, w, create_graph=True)
w2 = w - 0.1 * gw
l2 = (w2 * X).sum(1).pow(2).mean()
l2.backward()
print(w.grad)
print(
    torch.autograd.functional.jacobian(lambda x: x**2, x),
    torch.autograd.functional.hessian(lambda x: (x**3).sum(), x),
    torch.autograd.functional.vjp(lambda x: x**2, x, torch.ones(3))[1],
)
print(vmap(lambda d: {"s": d["a"] + 1, "t": (d["a"], d["a"] * 2)})({"a": torch.arange(3)}))
torch.testing.assert_close(torch.ones(3), torch.ones(3) + 1e-7)
try:
    torch.testing.assert_close(torch.ones(3), torch.tensor([1.0, 2.0, 1.0]))
except AssertionError as e:
    print(e)
try:
    torch.testing.assert_close(1.0, 1.1)
except AssertionError as e:
    print(e)
try:
    torch.testing.assert_close(torch.ones(3), torch.ones(2))
except AssertionError as e:
    print(e)

import torch
from torch import nn, tensor
from torch.func import (
    functionalize, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, replace_all_batch_norm_modules_,
    vjp, vmap,
)  # fmt: skip

# a transformation sees what an outer one differentiates
print(grad(lambda x: grad(lambda y: (x * y) ** 2)(tensor(2.0)))(tensor(3.0)))
print(grad(lambda x: jacrev(lambda y: (x * y) ** 2)(torch.ones(2)).sum())(tensor(3.0)))
print(grad(lambda x: jvp(lambda y: (x * y) ** 2, (torch.ones(2),), (torch.ones(2),))[1].sum())(tensor(3.0)))
print(grad(lambda x: vjp(lambda y: (x * y) ** 2, torch.ones(2))[1](torch.ones(2))[0].sum())(tensor(3.0)))
w = torch.ones(2, requires_grad=True)
print(grad(lambda x: (x * w).sum())(torch.ones(2)).requires_grad, grad(lambda x: (x * x).sum())(torch.ones(2)))
print(vmap(grad(lambda x: x.sin()))(torch.arange(3.0)))

# structures, several arguments, functions that aren't scalars
print(hessian(lambda x: x**3)(tensor([1.0, 2.0])))
print(hessian(lambda x, y: (x * x * y).sum(), argnums=(0, 1))(torch.ones(2), torch.ones(2) * 3))
print(jacrev(lambda p: {"a": p["w"] * 2, "b": p["b"].sum()})({"w": torch.ones(2), "b": torch.ones(3)}))
print(jacfwd(lambda x, y: x * y, argnums=(0, 1))(torch.ones(2), torch.ones(2) * 3))
print(jvp(lambda p: (p["w"] ** 2, p["w"].sum()), ({"w": torch.ones(2)},), ({"w": torch.ones(2) * 3},)))
print(jvp(lambda x: (x**2, x), (torch.ones(2),), (torch.ones(2),), has_aux=True))
outputs, pushed = linearize(lambda x: (x**2, x.sum()), torch.ones(2))
print(outputs, pushed(torch.ones(2)), pushed(torch.zeros(2)))
print(grad_and_value(lambda p, x: ((p["a"] * x).sum(), {"aux": x}), has_aux=True)({"a": torch.ones(2)}, torch.ones(2)))
print(functionalize(lambda x: x.add_(1))(torch.ones(2)))
for wrong in (
    lambda: jacrev(lambda x: x.sum(), argnums=1)(torch.ones(2)),
    lambda: grad(lambda x: x * 2)(torch.ones(2)),
    lambda: vmap(lambda x: x + torch.randn(2))(torch.arange(3.0)),
):
    try:
        wrong()
    except RuntimeError as error:
        print(type(error).__name__)
torch.manual_seed(0)
print(vmap(lambda x: x + torch.randn(2), randomness="same")(torch.zeros(3)).std(0))
net = replace_all_batch_norm_modules_(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
print(net[1].running_mean, net[1].track_running_stats, net(torch.randn(5, 3)).mean(0).abs().max() < 1e-5)

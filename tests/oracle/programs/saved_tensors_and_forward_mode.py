import torch
import torch.autograd.forward_ad as fwAD
from torch import nn
from torch.autograd.graph import register_multi_grad_hook, save_on_cpu, saved_tensors_hooks

torch.manual_seed(0)

# hooks on saved tensors
x = torch.randn(5, requires_grad=True)
y = x.pow(2)
print(x.equal(y.grad_fn._saved_self), x is y.grad_fn._saved_self)
y = x.exp()
print(y.equal(y.grad_fn._saved_result))
log = []


def pack(tensor):
    log.append(("pack", tuple(tensor.shape)))
    return tensor.numpy().copy()


def unpack(packed):
    log.append(("unpack", packed.shape))
    return torch.from_numpy(packed)


a, b = torch.ones(5, requires_grad=True), torch.full((5,), 2.0, requires_grad=True)
with saved_tensors_hooks(pack, unpack):
    y = (a * b).exp()
y.sum().backward()
print(a.grad, b.grad, sorted(log))
with saved_tensors_hooks(pack, unpack):
    y = (a * b).exp().sum()
(g,) = torch.autograd.grad(y, a, create_graph=True)
print(torch.autograd.grad(g.sum(), (a, b)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(5))
        self.linear = nn.Linear(5, 5)

    def forward(self, x):
        with save_on_cpu():
            return self.linear(self.w * x).tanh()


model = Model()
model(torch.randn(2, 5)).sum().backward()
print(model.w.grad)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x**3
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * 3 * y / x

    @staticmethod
    def jvp(ctx, t):
        x, y = ctx.saved_tensors
        return 3 * x**2 * t


with saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    v = torch.tensor([1.0, 2.0], requires_grad=True)
    z = Cube.apply(v)
z.sum().backward()
print(v.grad)
seen = []
handle = register_multi_grad_hook((a, b), lambda grads: seen.append([g is not None for g in grads]))
(a * b).sum().backward()
handle.remove()
(a * b).sum().backward()
print(seen)

# forward mode
primal, tangent = torch.randn(3), torch.randn(3)
with fwAD.dual_level():
    dual = fwAD.make_dual(primal, tangent)
    assert fwAD.unpack_dual(dual).tangent is tangent
    out = dual**2 + torch.ones(3)
    print(fwAD.unpack_dual(out).tangent, fwAD.unpack_dual(torch.ones(3)).tangent)
    print(fwAD.unpack_dual(Cube.apply(dual)).tangent)
print(fwAD.unpack_dual(out).tangent)
layer = nn.Linear(3, 2)
inputs = torch.randn(4, 3)
tangents = {name: torch.rand_like(p) for name, p in layer.named_parameters()}
with fwAD.dual_level():
    duals = {name: fwAD.make_dual(p, tangents[name]) for name, p in layer.named_parameters()}
    product = fwAD.unpack_dual(torch.func.functional_call(layer, duals, inputs)).tangent
print(product.detach(), torch.allclose(product, inputs @ tangents["weight"].T + tangents["bias"]))
p = torch.rand(4, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(torch.sin, (p,), check_forward_ad=True))
for wrong in (lambda: fwAD.make_dual(primal, tangent), lambda: fwAD.exit_dual_level()):
    try:
        wrong()
    except RuntimeError as error:
        print(type(error).__name__)

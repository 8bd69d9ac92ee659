"""Optimizers, schedules and functions of one's own, hooks, modules of all kinds; names imported as programs do."""

import torch, warnings
import torch.nn as nn, torch.nn.functional as F
from torch import Tensor, optim
from torch.nn import Module, Parameter, ModuleList, init
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import _pair, _triple
from torch.optim.lr_scheduler import _LRScheduler
from torch.optim import Optimizer
from torch.utils.data.sampler import SubsetRandomSampler
from torch.utils.data.dataset import Dataset, random_split
from torch.utils.data.dataloader import default_collate
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence, PackedSequence
from torch.nn.utils import parameters_to_vector, vector_to_parameters, clip_grad_value_, remove_weight_norm, weight_norm
from torch.autograd import Function, gradcheck
from torch.func import functional_call, vmap, grad, stack_module_state

torch.manual_seed(0)


class WarmupLR(_LRScheduler):
    def __init__(self, optimizer, warmup, last_epoch=-1):
        self.warmup = warmup
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [b * min(1.0, (self.last_epoch + 1) / self.warmup) for b in self.base_lrs]


class Lion(Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.data.mul_(1 - group["lr"] * group["weight_decay"])
                state = self.state[p]
                if len(state) == 0:
                    state["exp_avg"] = torch.zeros_like(p)
                e = state["exp_avg"]
                b1, b2 = group["betas"]
                p.add_((e * b1 + p.grad * (1 - b1)).sign_(), alpha=-group["lr"])
                e.mul_(b2).add_(p.grad, alpha=1 - b2)
        return loss


class SAM(Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base_optimizer = base_optimizer(self.param_groups, **kw)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(
            torch.stack([p.grad.norm(p=2) for g in self.param_groups for p in g["params"] if p.grad is not None]), p=2
        )
        for g in self.param_groups:
            for p in g["params"]:
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * (g["rho"] / (norm + 1e-12)))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for g in self.param_groups:
            for p in g["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()


net = nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
X, Y = torch.randn(32, 4), torch.randint(0, 2, (32,))
o = Lion(net.parameters(), 1e-2, weight_decay=0.1)
s = WarmupLR(o, 3)
for _ in range(4):
    l = o.step(lambda: (o.zero_grad(), (l := F.cross_entropy(net(X), Y)), l.backward())[1])
    s.step()
    print(f"{l.item():.5f} {s.get_last_lr()[0]:.5f}")
o = SAM(net.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
for _ in range(3):
    l = F.cross_entropy(net(X), Y)
    l.backward()
    o.first_step(True)
    F.cross_entropy(net(X), Y).backward()
    o.second_step(True)
    print(f"{l.item():.5f}")
print(isinstance(net[1], _BatchNorm), _pair(3), _triple((1, 2, 3)), remove_weight_norm(net[0]))
v = parameters_to_vector(net.parameters())
vector_to_parameters(v * 0 + 0.1, net.parameters())
print(v.shape, net[3].bias)
ps = pack_sequence([torch.arange(3.0), torch.arange(2.0)])
print(ps.data, ps.batch_sizes, pad_packed_sequence(ps))
models = [nn.Linear(3, 1) for _ in range(3)]
params, buffers = stack_module_state(models)
base = nn.Linear(3, 1)
out = vmap(lambda p, b, x: functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(params, buffers, torch.ones(2, 3))
print(out.shape, grad(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0])))


class Swish(Function):
    @staticmethod
    def forward(ctx, i):
        r = i * torch.sigmoid(i)
        ctx.save_for_backward(i)
        return r

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        s = torch.sigmoid(i)
        return g * (s * (1 + i * (1 - s)))


print(gradcheck(Swish.apply, torch.randn(3, dtype=torch.double, requires_grad=True)))


class GradReverse(Function):
    @staticmethod
    def forward(ctx, x, lambd):
        ctx.lambd = lambd
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.lambd, None


x = torch.ones(2, requires_grad=True)
GradReverse.apply(x, 0.5).sum().backward()
print(x.grad)
feats = {}


def get_activation(name):
    def hook(model, input, output):
        feats[name] = output.detach()

    return hook


h = net[2].register_forward_hook(get_activation("relu"))
net(X)
h.remove()
print(feats["relu"].shape, (feats["relu"] > 0).float().mean())
for n, m in net.named_modules():
    m.register_full_backward_hook(
        lambda mod, gi, go: print(
            type(mod).__name__, [None if g is None else tuple(g.shape) for g in gi], [tuple(g.shape) for g in go]
        )
    ) if n == "3" else None
net(X).sum().backward()
net.eval()
net.training and print("no")
net.requires_grad_(False)
print([p.requires_grad for p in net.parameters()][:2], sum(p.numel() for p in net.parameters() if p.requires_grad))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_parameter("p", None)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.register_buffer("b", torch.ones(2))
        self.ml = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Identity()})

    def forward(self, x):
        return self.ml["a"](x) * self.alpha + self.b.sum()

    def extra_repr(self):
        return "alpha=0"


f = Flat()
print(
    f,
    list(f.state_dict()),
    [n for n, _ in f.named_children()],
    [n for n, _ in f.named_buffers()],
    dict(f.named_parameters()).keys(),
    f.ml.keys(),
)
f.double()
print(f.b.dtype, f(torch.ones(1, 1).double()).dtype)
f.to(torch.float32)
f.half().float()
f.add_module("new", nn.ReLU())
del f.ml["b"]
print(f)
init.trunc_normal_(f.alpha, std=0.02)
init.dirac_(torch.empty(2, 2, 3))
init.sparse_(torch.empty(3, 3), 0.5)
init.eye_(torch.empty(2, 2))
print(
    init.calculate_gain("leaky_relu", 0.2),
    init.kaiming_uniform_(torch.empty(2, 3), mode="fan_out", nonlinearity="relu"),
    init._calculate_fan_in_and_fan_out(torch.empty(4, 3, 2, 2)),
)
with warnings.catch_warnings(record=True) as ws:
    warnings.simplefilter("always")
    F.mse_loss(torch.ones(2, 1), torch.ones(2))
    nn.Softmax()(torch.ones(2, 2))
    print(len(ws), all(issubclass(w.category, UserWarning) for w in ws))
with torch.autograd.set_detect_anomaly(True):
    try:
        t = torch.tensor([-1.0], requires_grad=True)
        torch.sqrt(t).sum().backward()
    except RuntimeError as e:
        print("nan" in str(e))
with torch.random.fork_rng():
    torch.manual_seed(9)
    a = torch.rand(1)
torch.manual_seed(9)
print(a == torch.rand(1), torch.seed() > 0, torch.initial_seed() > 0)
s = torch.get_rng_state()
a = torch.rand(2)
torch.set_rng_state(s)
print(torch.equal(a, torch.rand(2)))
print(
    torch.tensor([1.0, 2.0]).requires_grad_().register_hook(lambda g: g * 2) is not None,
    torch.is_grad_enabled(),
    torch.get_default_device() if hasattr(torch, "get_default_device") else "",
)
with torch.device("cpu"):
    print(torch.ones(1).device)
torch.set_default_dtype(torch.float64)
print(torch.ones(1).dtype, nn.Linear(1, 1).weight.dtype)
torch.set_default_dtype(torch.float32)
print(
    *map(lambda a: a.shape, torch.utils.data.default_collate([(torch.ones(2), 1), (torch.zeros(2), 2)])),
    torch.nn.utils.rnn.unpad_sequence(torch.ones(3, 2), torch.tensor([2, 3])) if False else "",
)
print(
    torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7),
    torch.hub is not None,
    torch.jit.trace(nn.Linear(2, 1).eval(), torch.ones(1, 2))(torch.ones(1, 2)).shape,
)

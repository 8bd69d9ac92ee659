import torch
from torch import nn
import torch.nn.functional as F
import torch.nn.utils.prune as prune
import torch.nn.utils.parametrize as parametrize
from torch.nn.utils import weight_norm, spectral_norm, parameters_to_vector, vector_to_parameters, remove_weight_norm

torch.manual_seed(0)
m = weight_norm(nn.Linear(4, 3), name="weight")
print(m, sorted(n for n, _ in m.named_parameters()), m.weight_g.shape)
x = torch.randn(2, 4)
print(m(x))
m(x).sum().backward()
print(m.weight_g.grad)
remove_weight_norm(m)
print(sorted(n for n, _ in m.named_parameters()))
s = spectral_norm(nn.Linear(4, 3))
print(s(x), sorted(dict(s.named_buffers())))
s = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
print(s(x), s)
o = torch.nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
print((o.weight @ o.weight.T).round(decimals=3))
w = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
print(w(x), [n for n, _ in w.named_parameters()])


class Symmetric(nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).transpose(-1, -2)


l = nn.Linear(3, 3)
parametrize.register_parametrization(l, "weight", Symmetric())
print(torch.allclose(l.weight, l.weight.T), l, parametrize.is_parametrized(l))
parametrize.remove_parametrizations(l, "weight")
print(l)
v = parameters_to_vector(l.parameters())
print(v.shape, v.sum())
vector_to_parameters(torch.zeros_like(v), l.parameters())
print(l.weight)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 12)
        self.fc2 = nn.Linear(12, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, int(x.nelement() / x.shape[0]))
        return self.fc2(F.relu(self.fc1(x)))


model = LeNet()
module = model.conv1
print([n for n, _ in module.named_parameters()], list(module.named_buffers()))
prune.random_unstructured(module, name="weight", amount=0.3)
print([n for n, _ in module.named_parameters()], [(n, b.sum()) for n, b in module.named_buffers()])
print(module.weight.sum(), module._forward_pre_hooks.values().__len__())
prune.l1_unstructured(module, name="bias", amount=3)
print([n for n, _ in module.named_parameters()], dict(module.named_buffers())["bias_mask"], module.bias)
prune.ln_structured(module, name="weight", amount=0.5, n=2, dim=0)
print(module.weight.abs().sum((1, 2, 3)))
for hook in module._forward_pre_hooks.values():
    if hook._tensor_name == "weight":
        break
print(len(list(hook)), list(model.state_dict().keys()))
prune.remove(module, "weight")
print([n for n, _ in module.named_parameters()], [n for n, _ in module.named_buffers()])
new = LeNet()
for name, mod in new.named_modules():
    if isinstance(mod, nn.Conv2d):
        prune.l1_unstructured(mod, name="weight", amount=0.2)
    elif isinstance(mod, nn.Linear):
        prune.l1_unstructured(mod, name="weight", amount=0.4)
print(dict(new.named_buffers()).keys(), prune.is_pruned(new), prune.is_pruned(nn.Linear(1, 1)))
model = LeNet()
ptp = ((model.conv1, "weight"), (model.conv2, "weight"), (model.fc1, "weight"), (model.fc2, "weight"))
prune.global_unstructured(ptp, pruning_method=prune.L1Unstructured, amount=0.2)
for n, mm in model.named_modules():
    if hasattr(mm, "weight"):
        print(n, "Sparsity: {:.2f}%".format(100.0 * float(torch.sum(mm.weight == 0)) / float(mm.weight.nelement())))


class FooBar(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


def foobar(module, name):
    FooBar.apply(module, name)
    return module


model = LeNet()
foobar(model.fc2, name="bias")
print(model.fc2.bias_mask)
print(model(torch.ones(1, 1, 32, 32)).shape)
model(torch.ones(2, 1, 32, 32)).sum().backward()
print(model.fc2.bias_orig.grad)
prune.custom_from_mask(model.fc1, "bias", torch.tensor([0.0, 1.0] * 6))
print(model.fc1.bias != 0)
prune.random_structured(model.fc1, "weight", amount=4, dim=1)
print((model.fc1.weight == 0).all(0).sum())
prune.identity(model.fc2, "weight")
print(model.fc2.weight_mask.sum())
for f in (
    lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", amount=1.5),
    lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", amount=10),
    lambda: prune.remove(nn.Linear(2, 2), "weight"),
):
    try:
        f()
    except Exception as e:
        print(type(e).__name__)

torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)
print(nn.utils.clip_grad_norm_(model.parameters(), 0.5, norm_type=float("inf")))

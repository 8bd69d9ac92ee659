"""Values overwritten after they were chosen, gradients of gradients through rectifiers, graphs, rays of a camera."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class MixtureOfExperts(nn.Module):
    def __init__(self, width, count, chosen):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(count)
        )
        self.gate = nn.Linear(width, count, bias=False)
        self.chosen, self.count = chosen, count

    def forward(self, x):
        batch, steps, width = x.shape
        flat = x.view(-1, width)
        logits = self.gate(flat)
        weights, selected = torch.topk(F.softmax(logits, 1, dtype=torch.float), self.chosen, dim=-1)
        weights /= weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        mask = F.one_hot(selected, num_classes=self.count).permute(2, 1, 0)
        for expert in range(self.count):
            index, top = torch.where(mask[expert])
            if top.shape[0] == 0:
                continue
            current = flat[None, top].reshape(-1, width)
            out.index_add_(0, top, self.experts[expert](current) * weights[top, index, None])
        return out.view(batch, steps, width), logits


model = MixtureOfExperts(4, 3, 2)
x = torch.randn(2, 5, 4, requires_grad=True)
out, logits = model(x)
(out.sum() + logits.logsumexp(-1).pow(2).mean()).backward()
print(out[0, 0], x.grad.norm(), model.gate.weight.grad)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(12, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, images):
        return self.model(images.view(images.shape[0], -1))


def gradient_penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1, 1, 1)
    between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = critic(between)
    gradients = torch.autograd.grad(
        outputs=scores, inputs=between, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True
    )[0]
    return ((gradients.view(gradients.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


critic = Critic()
penalty = gradient_penalty(critic, torch.randn(6, 3, 2, 2), torch.randn(6, 3, 2, 2))
penalty.backward()
for name, parameter in critic.named_parameters():
    print(name, None if parameter.grad is None else parameter.grad.norm())
for function in (F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.hardshrink, F.softshrink):
    v = torch.linspace(-2, 2, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(function(v).sum(), v, create_graph=True)
    print(function.__name__, torch.autograd.grad(slope.sum(), v))

nodes, graph = torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 2, 2])
for reduce in ("amax", "amin", "mean", "prod"):
    print(torch.ones(3, 3).index_reduce(0, graph, nodes, reduce, include_self=False))
    print(torch.ones(3, 3).index_reduce_(0, graph, nodes, reduce))

i, j = torch.meshgrid(torch.arange(4.0), torch.arange(3.0), indexing="xy")
directions = torch.stack([(i - 2) / 3, -(j - 1.5) / 3, -torch.ones_like(i)], -1)
print(i.shape, directions[1, 2], torch.sum(directions[..., None, :] * torch.eye(3), -1)[2, 1])
mask = torch.tensor([[True], [False]]).expand(2, 3).clone().view(-1)
print(mask, torch.ones(1, 3, 1).expand(2, 3, 4).clone().stride(), mask.masked_fill(mask, 0))
loss = F.cross_entropy(torch.randn(2, 3, requires_grad=True), torch.tensor([0, 2]), label_smoothing=0.1)
print(loss, torch.tensor([1]).unique_consecutive(), torch.tensor([3, 0]).to(torch.uint8).all())
counts = torch.arange(4)
counts[counts > 1] = torch.ones(1)
print(counts, counts.logsumexp(0))
lstm = nn.LSTM(2, 3, bidirectional=True)
for names in lstm._flat_weights_names:
    if "bias" in names:
        nn.init.constant_(getattr(lstm, names), 0.5)
print(lstm._flat_weights_names, sum(w.sum() for w in lstm._flat_weights[2:4]))

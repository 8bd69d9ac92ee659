import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
m = nn.AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 30, 60], div_value=2.0, head_bias=True)
print(m)
x = torch.randn(9, 16, requires_grad=True)
t = torch.tensor([0, 9, 10, 29, 30, 59, 60, 99, 3])
o = m(x, t)
print(o.output.detach(), o.loss)
o.loss.backward()
print(x.grad.sum(1), [(n, p.grad.sum()) for n, p in m.named_parameters()])
print(m.log_prob(x).exp().sum(1), m.predict(x))
print(m(x[0], t[0]))
for f in (
    lambda: m(x, torch.full((9,), 100)),
    lambda: m(x, t[:3]),
    lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 3]),
    lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 10, [10]),
):
    try:
        f()
    except Exception as e:
        print(type(e).__name__ if type(e).__name__ in ("ValueError",) else "RuntimeError")
x = torch.randn(2, 3, 13, 11, requires_grad=True)
for kw in (
    dict(output_size=(5, 4)),
    dict(output_ratio=0.6),
    dict(output_size=1),
    dict(output_ratio=(0.5, 0.7), return_indices=True),
):
    torch.manual_seed(1)
    p = nn.FractionalMaxPool2d(3 if kw.get("output_size") != 1 else 2, **kw)
    y = p(x)
    if isinstance(y, tuple):
        print(y[1].sum())
        y = y[0]
    print(y.shape, y.sum())
    x.grad = None
    (y * torch.arange(y.numel()).view(y.shape)).sum().backward()
    print(x.grad.sum((2, 3)))
torch.manual_seed(1)
v = torch.randn(2, 7, 8, 9)
y, i = F.fractional_max_pool3d(v, (2, 3, 2), output_size=(3, 4, 5), return_indices=True)
print(y.shape, y.sum(), i.sum())

import torch, math
from torch import nn, optim

torch.manual_seed(0)
X = torch.randn(32, 4)
Y = X @ torch.tensor([[1.0], [2.0], [-1.0], [0.5]]) + 0.1
for make in (
    lambda p: optim.Rprop(p, lr=0.01),
    lambda p: optim.ASGD(p, lr=0.05),
    lambda p: optim.ASGD(p, lr=0.05, t0=3, weight_decay=0.1, lambd=0.01),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.1),
    lambda p: optim.RMSprop(p, centered=True, momentum=0.5),
    lambda p: optim.Adagrad(p, lr=0.1),
    lambda p: optim.Adadelta(p, lr=1.0),
    lambda p: optim.Adamax(p, lr=0.1),
    lambda p: optim.NAdam(p, lr=0.1),
    lambda p: optim.RAdam(p, lr=0.1),
    lambda p: optim.LBFGS(p, lr=1, max_iter=5),
    lambda p: optim.LBFGS(p, lr=1, max_iter=5, line_search_fn="strong_wolfe"),
):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = make(net.parameters())
    print(opt)
    for i in range(6):

        def closure():
            opt.zero_grad()
            l = nn.functional.mse_loss(net(X), Y)
            l.backward()
            return l

        l = opt.step(closure)
        print(l.item())
    sd = opt.state_dict()
    print(sd["param_groups"][0].keys())
    opt.load_state_dict(sd)


class SGDm(optim.Optimizer):
    def __init__(self, params, lr=1e-3, momentum=0.9):
        super().__init__(params, dict(lr=lr, momentum=momentum))

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
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["buf"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                state["step"] += 1
                state["buf"].mul_(group["momentum"]).add_(p.grad)
                p.add_(state["buf"], alpha=-group["lr"])
        return loss


class OldSGD(optim.Optimizer):
    def __init__(self, params, lr):
        defaults = dict(lr=lr)
        super(OldSGD, self).__init__(params, defaults)

    def __setstate__(self, state):
        super().__setstate__(state)

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                d_p = p.grad.data
                p.data.add_(d_p, alpha=-group["lr"])


for cls in (SGDm, OldSGD):
    torch.manual_seed(1)
    net = nn.Linear(4, 1)
    opt = cls(net.parameters(), lr=0.05)
    print(opt)
    for i in range(5):
        opt.zero_grad()
        l = ((net(X) - Y) ** 2).mean()
        l.backward()
        opt.step()
        print(l.item())
    print(opt.state_dict()["param_groups"])
# schedulers
import warnings

for make in (
    lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5),
    lambda o: optim.lr_scheduler.MultiStepLR(o, [2, 4], 0.1),
    lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
    lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 5),
    lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2),
    lambda o: optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=8),
    lambda o: optim.lr_scheduler.OneCycleLR(
        o, 0.5, epochs=2, steps_per_epoch=4, anneal_strategy="linear", three_phase=True
    ),
    lambda o: optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3, mode="triangular2"),
    lambda o: optim.lr_scheduler.LambdaLR(o, lambda e: 0.95**e),
    lambda o: optim.lr_scheduler.MultiplicativeLR(o, lambda e: 0.95),
    lambda o: optim.lr_scheduler.LinearLR(o, 0.3, total_iters=4),
    lambda o: optim.lr_scheduler.ConstantLR(o, 0.3, 3),
    lambda o: optim.lr_scheduler.PolynomialLR(o, 5, 2.0),
    lambda o: optim.lr_scheduler.SequentialLR(
        o, [optim.lr_scheduler.ConstantLR(o, 0.1, 2), optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    lambda o: optim.lr_scheduler.ChainedScheduler(
        [optim.lr_scheduler.ConstantLR(o, 0.1, 2), optim.lr_scheduler.ExponentialLR(o, 0.9)]
    ),
):
    p = nn.Parameter(torch.zeros(1))
    o = optim.SGD([p], lr=0.1, momentum=0.9)
    s = make(o)
    out = []
    for e in range(8):
        o.step()
        out.append(
            (round(o.param_groups[0]["lr"], 8), round(s.get_last_lr()[0], 8), round(o.param_groups[0]["momentum"], 6))
        )
        s.step()
    print(type(s).__name__, out)
    sd = s.state_dict()
    pass
p = nn.Parameter(torch.zeros(1))
o = optim.SGD([p], lr=0.1)
s = optim.lr_scheduler.ReduceLROnPlateau(o, "min", factor=0.5, patience=1, threshold=1e-3, cooldown=1)
for l in (1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8):
    o.step()
    s.step(l)
    print(o.param_groups[0]["lr"], s.num_bad_epochs, s.get_last_lr())
model = nn.Linear(2, 1)
avg = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
avg.update_parameters(model)
model.weight.data += 1
avg.update_parameters(model)
print(avg.module.weight, avg.n_averaged, list(avg.state_dict()))
sw = torch.optim.swa_utils.SWALR(optim.SGD(model.parameters(), 0.1), 0.05, anneal_epochs=3)
print([sw.step() or sw.get_last_lr() for _ in range(4)])

import torch
from torch.distributions import (
    FisherSnedecor,
    Kumaraswamy,
    LogisticNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
)
from torch.distributions.kumaraswamy import Kumaraswamy as Same
from torch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal as Wide

torch.manual_seed(0)


def show(*values):
    print(*[value.detach() if isinstance(value, torch.Tensor) else value for value in values])


a = torch.tensor([0.5, 2.0, 3.0], requires_grad=True)
b = torch.tensor([1.5, 2.5, 0.7], requires_grad=True)
d = Kumaraswamy(a, b)
x = d.rsample((4,))
show(x, d.mean, d.variance, d.mode, d.entropy(), d.batch_shape, isinstance(d, Same))
d.log_prob(x.detach()).sum().backward(retain_graph=True)
print(a.grad, b.grad, d.expand((2, 3)).sample().shape)
x.sum().backward()
print(a.grad, b.grad)
d = LogisticNormal(torch.zeros(3), torch.tensor([0.5, 1.0, 2.0]))
x = d.sample((2,))
show(x, x.sum(-1), d.log_prob(x), d.event_shape, d.loc, d.scale)
d = FisherSnedecor(torch.tensor([5.0, 8.0]), torch.tensor([7.0, 3.0]))
x = d.sample((3,))
show(x, d.log_prob(x), d.mean, d.variance, d.mode)
loc, factor, diag = torch.randn(4), torch.randn(4, 2, requires_grad=True), torch.rand(4) + 0.1
d = LowRankMultivariateNormal(loc, factor, diag)
x = d.rsample((3,))
show(x, d.log_prob(x), d.entropy(), d.variance, d.event_shape, isinstance(d, Wide))
full = MultivariateNormal(loc, d.covariance_matrix)
print(
    torch.allclose(full.log_prob(x), d.log_prob(x), atol=1e-4), torch.allclose(full.entropy(), d.entropy(), atol=1e-4)
)
print((d.scale_tril @ d.scale_tril.mT - d.covariance_matrix).abs().max() < 1e-5, d.expand((2,)).sample().shape)
d.log_prob(torch.zeros(4)).backward()
print(factor.grad)
for wrong in (lambda: LowRankMultivariateNormal(loc, factor[:3], diag), lambda: Kumaraswamy(-a, b)):
    try:
        wrong()
    except ValueError as error:
        print("ValueError")

import torch

for dt in (torch.float32, torch.float64):
    torch.manual_seed(0)
    print(torch.poisson(torch.tensor([0.0, 0.5, 3.0, 9.9, 10.0, 50.0, 1000.0, 1e6] * 3, dtype=dt)))
    print(
        torch.binomial(
            torch.tensor([10.0, 100.0, 1000.0, 5.0] * 6, dtype=dt),
            torch.tensor([0.1, 0.5, 0.9, 0.0, 1.0, 0.3] * 4, dtype=dt),
        )
    )
    print(torch.binomial(torch.full((40,), 37.0, dtype=dt), torch.linspace(0, 1, 40, dtype=dt)))
    print(torch.randn(3, dtype=dt), torch.normal(0.0, 1.0, (3,), dtype=dt))
    from torch.distributions import Dirichlet, Beta, Gamma

    print(Gamma(torch.tensor([0.01, 0.3, 1.0, 2.5, 10.0, 100.0] * 5, dtype=dt), torch.ones((), dtype=dt)).sample())
    print(Dirichlet(torch.tensor([[0.1, 0.5, 2.0], [3.0, 4.0, 100.0]], dtype=dt)).sample((2,)))
    print(torch.rand(2, dtype=dt))

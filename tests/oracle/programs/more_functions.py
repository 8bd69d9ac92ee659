"""Functions that few tutorials use: windows, slopes on grids, systems as tensors, batch norm in the weights before it."""

import torch
import torch.nn as nn
from torch.utils.data import DistributedSampler
from torch.utils.data.distributed import DistributedSampler as Same

torch.manual_seed(0)
for length in (0, 1, 2, 7):
    for periodic in (True, False):
        print(
            torch.hann_window(length, periodic=periodic),
            torch.hamming_window(length, periodic, 0.5, 0.4),
            torch.blackman_window(length, periodic, dtype=torch.float64),
            torch.bartlett_window(length, periodic),
            torch.kaiser_window(length, periodic, beta=5.0),
        )
x = torch.arange(24.0).reshape(2, 3, 4) ** 2
coordinates = [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0, 3.0]), torch.tensor([1.0, 2.0, 4.0, 8.0])]
print(torch.gradient(x)[2], torch.gradient(x, spacing=2.0, dim=1)[0].sum(), torch.gradient(torch.arange(4)))
print(torch.gradient(x, spacing=coordinates)[1:], torch.gradient(x, dim=(1, 2), spacing=(0.5, 2.0), edge_order=2))
print(torch.gradient(x, dim=2, spacing=(coordinates[2],), edge_order=2))
for options in ({"rank": 1}, {"rank": 2, "drop_last": True, "shuffle": False}, {"rank": 2, "seed": 4}):
    sampler = DistributedSampler(range(10), num_replicas=3, **options)
    sampler.set_epoch(2)
    print(list(sampler), len(sampler), Same is DistributedSampler)

print(torch.histogram(torch.tensor([1.0, 2, 1]), bins=4, range=(0.0, 3.0), weight=torch.tensor([1.0, 2.0, 4.0])))
print(torch.histogram(torch.tensor([1.0, 2, 1]), bins=torch.tensor([0.0, 1.5, 3.0]), density=True))
print(torch.frexp(torch.tensor([1.0, 3.0, 0.0])), torch.nextafter(torch.ones(1), torch.zeros(1)) - 1)
for order in range(5):
    print(torch.polygamma(order, torch.tensor([0.5, 1.0, 3.0, 30.0], dtype=torch.float64)))
print(torch.mvlgamma(torch.tensor([3.0]), 2), torch.tensor([4.0]).mvlgamma(3), torch.tensor([2.0]).polygamma(1))
print(torch.linalg.vander(torch.tensor([1.0, 2.0, 3.0])), torch.linalg.inv_ex(torch.eye(2) * 2))
print(torch.linalg.cholesky_ex(torch.eye(2)), torch.linalg.solve_ex(torch.eye(2), torch.ones(2, 1)))
print(torch.linalg.cholesky_ex(-torch.eye(2)).info != 0, torch.linalg.tensorinv(torch.eye(6).view(2, 3, 6), 2).shape)
print(torch.linalg.tensorsolve(torch.eye(6).view(2, 3, 2, 3), torch.arange(6.0).view(2, 3)))
U, S, V = torch.pca_lowrank(torch.randn(20, 5), q=3)
print(S, U.shape, V.abs(), torch.svd_lowrank(torch.randn(3, 8), q=2)[1])

conv, norm = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)
images = torch.randn(2, 2, 5, 5)
norm(conv(images))
fused = nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval())
print(fused, (fused(images) - norm(conv(images))).abs().max() < 1e-5, fused.weight.requires_grad, fused.bias.shape)
linear, norm = nn.Linear(2, 3), nn.BatchNorm1d(3)
norm(linear(torch.randn(5, 2)))
fused = nn.utils.fuse_linear_bn_eval(linear.eval(), norm.eval())
print((fused(images[0, 0, :, :2]) - norm(linear(images[0, 0, :, :2]))).abs().max() < 1e-5)
print(nn.utils.skip_init(nn.Linear, 3, 2).weight.shape, torch.randn(2))

a, b = torch.ones(2, 2), torch.full((2, 2), 3.0)
print(torch.mm(a, b, out=torch.empty(2, 2)), torch.addmm(a, a, b, beta=0, out=torch.empty(2, 2)))
print(torch.dot(a[0], b[0], out=torch.empty(())), torch.outer(a[0], b[0], out=torch.empty(2, 2)))
print(torch.lerp(a, end=b, weight=0.5), torch.swapaxes(torch.ones(2, 3), axis0=0, axis1=1).shape)
print(
    a.split(split_size=1),
    torch.searchsorted(torch.tensor([3, 1, 2]), torch.tensor([2]), sorter=torch.tensor([1, 2, 0])),
)
print(torch.is_anomaly_enabled(), torch.is_autocast_enabled(), a.is_mkldnn, isinstance(torch.strided, torch.layout))
for base in (torch.tensor([1, 2]), 2.0):
    try:
        print(base**-1)
    except RuntimeError as error:
        print(str(error)[:49])

"""A layer of one's own with nn.Parameter, initialised with net.apply, in nn.Sequential."""

from collections import OrderedDict

import torch
from torch import nn, optim


class MyLinear(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.randn(out_features))

    def forward(self, input):
        return (input @ self.weight) + self.bias


def weights_init(m):
    if isinstance(m, MyLinear):
        nn.init.xavier_normal_(m.weight.data)
        nn.init.constant_(m.bias.data, 0)


torch.manual_seed(0)
net = nn.Sequential(OrderedDict([("fc1", MyLinear(4, 16)), ("act", nn.ReLU()), ("fc2", MyLinear(16, 1))]))
net.apply(weights_init)
print(net)

x = torch.randn(256, 4)
y = (x**2).sum(dim=1, keepdim=True)
optimizer = optim.Adam(net.parameters(), lr=0.01)
for epoch in range(300):
    loss = nn.functional.mse_loss(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if (epoch + 1) % 100 == 0:
        print(f"epoch {epoch + 1:>3}  loss {loss.item():.4f}")

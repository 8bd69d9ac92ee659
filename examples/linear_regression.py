"""A line fitted to noisy points: nn.Linear, MSELoss, SGD."""

import torch
from torch import nn, optim

torch.manual_seed(0)
x = torch.linspace(-1, 1, 100).unsqueeze(1)
y = 3 * x - 1 + 0.1 * torch.randn(x.size())

model = nn.Linear(1, 1)
criterion = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)

for epoch in range(200):
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if (epoch + 1) % 50 == 0:
        print(f"epoch {epoch + 1:>3}  loss {loss.item():.4f}")

print(f"y = {model.weight.item():.2f} x {model.bias.item():+.2f}")

"""Two clouds of points told apart by a line: nn.Linear, BCEWithLogitsLoss, SGD with momentum."""

import torch
from torch import nn, optim

torch.manual_seed(0)
count = 200
points = torch.cat([torch.randn(count, 2) + 1.5, torch.randn(count, 2) - 1.5])
labels = torch.cat([torch.ones(count), torch.zeros(count)]).unsqueeze(1)


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x):
        return self.linear(x)


model = LogisticRegression()
criterion = nn.BCEWithLogitsLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for _ in range(100):
    optimizer.zero_grad()
    loss = criterion(model(points), labels)
    loss.backward()
    optimizer.step()

with torch.no_grad():
    predicted = (torch.sigmoid(model(points)) > 0.5).float()
    accuracy = (predicted == labels).float().mean()
print(f"loss {loss.item():.4f}  accuracy {accuracy.item():.4f}")

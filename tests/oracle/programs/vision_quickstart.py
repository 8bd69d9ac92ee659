"""After PyTorch's quickstart, its data tutorial and its example of a variational autoencoder, with torchvision."""

import os
import struct

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.transforms import Lambda, ToTensor
from torchvision.utils import save_image

random = np.random.default_rng(0)
patterns = random.integers(0, 200, (10, 28, 28))
for name in ("FashionMNIST", "MNIST"):
    os.makedirs(f"data/{name}/raw")
    for part, count in (("train", 160), ("t10k", 64)):
        labels = random.integers(0, 10, count).astype(np.uint8)
        images = np.clip(patterns[labels] + random.integers(-50, 50, (count, 28, 28)), 0, 255).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            with open(f"data/{name}/raw/{part}-{kind}-ubyte", "wb") as file:
                file.write(b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape))
                file.write(array.tobytes())

torch.manual_seed(0)
training_data = datasets.FashionMNIST(root="data", train=True, download=True, transform=ToTensor())
test_data = datasets.FashionMNIST(root="data", train=False, download=True, transform=ToTensor())
print(training_data, test_data)
print(training_data.data.shape, training_data.targets[:10], training_data.classes, training_data.class_to_idx)
train_dataloader = DataLoader(training_data, batch_size=32)
test_dataloader = DataLoader(test_data, batch_size=32)
for X, y in test_dataloader:
    print(f"Shape of X [N, C, H, W]: {X.shape}")
    print(f"Shape of y: {y.shape} {y.dtype}")
    break


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        x = self.flatten(x)
        logits = self.linear_relu_stack(x)
        return logits


model = NeuralNetwork()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
for t in range(3):
    model.train()
    for batch, (X, y) in enumerate(train_dataloader):
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"loss: {loss.item():>7f}  [{(batch + 1) * len(X):>5d}/{len(train_dataloader.dataset):>5d}]")
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in test_dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    print(f"Accuracy: {100 * correct / len(test_data):>0.1f}%, Avg loss: {test_loss / len(test_dataloader):>8f}")
x, y = test_data[0][0], test_data[0][1]
with torch.no_grad():
    pred = model(x)
    print(f'Predicted: "{test_data.classes[pred[0].argmax(0)]}", Actual: "{test_data.classes[y]}"')

one_hot = datasets.FashionMNIST(
    root="data",
    transform=transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]),
    target_transform=Lambda(lambda y: torch.zeros(10, dtype=torch.float).scatter_(0, torch.tensor(y), value=1)),
)
print(one_hot, one_hot[3][0].mean(), one_hot[3][1])
features, labels = next(iter(DataLoader(training_data, batch_size=16, shuffle=True)))
print(features.size(), labels, torchvision.utils.make_grid(features, nrow=4).mean((1, 2)))


class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(784, 50)
        self.fc21 = nn.Linear(50, 8)
        self.fc22 = nn.Linear(50, 8)
        self.fc3 = nn.Linear(8, 50)
        self.fc4 = nn.Linear(50, 784)

    def forward(self, x):
        h1 = F.relu(self.fc1(x.view(-1, 784)))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


train_loader = DataLoader(datasets.MNIST("data", transform=transforms.ToTensor()), batch_size=32, shuffle=True)
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 3):
    train_loss = 0
    for batch_idx, (data, _) in enumerate(train_loader):
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        bce = F.binary_cross_entropy(recon, data.view(-1, 784), reduction="sum")
        loss = bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    print("====> Epoch: {} Average loss: {:.4f}".format(epoch, train_loss / len(train_loader.dataset)))
    comparison = torch.cat([data[:8], recon.view(-1, 1, 28, 28)[:8]])
    save_image(comparison, f"reconstruction_{epoch}.png", nrow=8)
print(Image.open("reconstruction_2.png").size)

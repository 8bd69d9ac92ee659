"""After PyTorch's tutorials of DCGAN, of spatial transformers and of adversarial examples, with torchvision."""

import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision.datasets as dset
import torchvision.transforms as transforms
import torchvision.utils as vutils
from PIL import Image

os.makedirs("data/celeba/img_align_celeba")
for i in range(24):
    y, x = np.mgrid[:45, :40]
    picture = np.stack(
        [128 + 99 * np.sin(x / 9 + i), 128 + 90 * np.cos(y / 11 + i), 128 + 80 * np.sin((x + y) / 13)], 2
    )
    Image.fromarray(picture.astype(np.uint8)).save(f"data/celeba/img_align_celeba/{i:03}.png")

torch.manual_seed(999)
nz, ngf, ndf, nc = 10, 8, 8, 3
dataset = dset.ImageFolder(
    root="data/celeba",
    transform=transforms.Compose([
        transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]),
)  # fmt: skip
dataloader = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True)
real_batch = next(iter(dataloader))
grid = np.transpose(vutils.make_grid(real_batch[0][:64], padding=2, normalize=True).cpu(), (1, 2, 0))
print(dataset, grid.shape, grid.mean())


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


netG = nn.Sequential(
    nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 4), nn.ReLU(True),
    nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf * 2), nn.ReLU(True),
    nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
    nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh(),
)  # fmt: skip
netD = nn.Sequential(
    nn.Conv2d(nc, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 2), nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 4), nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf * 4, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
)  # fmt: skip
netG.apply(weights_init)
netD.apply(weights_init)
criterion = nn.BCELoss()
fixed_noise = torch.randn(16, nz, 1, 1)
optimizerD = optim.Adam(netD.parameters(), lr=0.0002, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=0.0002, betas=(0.5, 0.999))
for i, data in enumerate(dataloader, 0):
    netD.zero_grad()
    real = data[0]
    label = torch.full((real.size(0),), 1.0, dtype=torch.float)
    output = netD(real).view(-1)
    errD_real = criterion(output, label)
    errD_real.backward()
    noise = torch.randn(real.size(0), nz, 1, 1)
    fake = netG(noise)
    label.fill_(0.0)
    errD_fake = criterion(netD(fake.detach()).view(-1), label)
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(1.0)
    output = netD(fake).view(-1)
    errG = criterion(output, label)
    errG.backward()
    optimizerG.step()
    print("[%d/%d] Loss_D: %.4f Loss_G: %.4f" % (i, len(dataloader), (errD_real + errD_fake).item(), errG.item()))
with torch.no_grad():
    fake = netG(fixed_noise).detach().cpu()
vutils.save_image(fake, "fake_samples.png", normalize=True, nrow=4)
print(vutils.make_grid(fake, padding=2, normalize=True).shape, Image.open("fake_samples.png").size)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.localization = nn.Sequential(nn.Conv2d(1, 8, kernel_size=7), nn.MaxPool2d(2, stride=2), nn.ReLU(True))
        self.fc_loc = nn.Sequential(nn.Linear(8 * 11 * 11, 16), nn.ReLU(True), nn.Linear(16, 6))
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        theta = self.fc_loc(self.localization(x).view(-1, 8 * 11 * 11)).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        return F.log_softmax(self.fc(x.view(-1, 784)), dim=1)


normalize = transforms.Normalize((0.1307,), (0.3081,))
digits = dset.FakeData(48, (1, 28, 28), 10, transforms.Compose([transforms.ToTensor(), normalize]))
model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.01)
for data, target in torch.utils.data.DataLoader(digits, batch_size=16, shuffle=True):
    optimizer.zero_grad()
    loss = F.nll_loss(model(data), target)
    loss.backward()
    optimizer.step()
    print(loss.item())
model.eval()
for epsilon in (0, 0.05, 0.3):
    correct = 0
    for data, target in torch.utils.data.DataLoader(digits, batch_size=1):
        data.requires_grad = True
        output = model(data)
        model.zero_grad()
        F.nll_loss(output, target).backward()
        image = data * 0.3081 + 0.1307 + epsilon * data.grad.data.sign()
        output = model(normalize(torch.clamp(image, 0, 1)))
        correct += output.max(1, keepdim=True)[1].item() == target.item()
    print(f"Epsilon: {epsilon}\tTest Accuracy = {correct} / {len(digits)} = {correct / len(digits)}")

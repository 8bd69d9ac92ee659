import torch, copy, os
import torch.nn as nn, torch.optim as optim, torch.nn.functional as F
from torch.optim import lr_scheduler

torch.manual_seed(0)


def conv3x3(i, o, s=1):
    return nn.Conv2d(i, o, kernel_size=3, stride=s, padding=1, bias=False)


class BasicBlock(nn.Module):
    expansion: int = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, layers, num_classes=10):
        super().__init__()
        self.inplanes = 8
        self.conv1 = nn.Conv2d(3, 8, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 8, layers[0])
        self.layer2 = self._make_layer(block, 16, layers[1], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
        for m in self.modules():
            if isinstance(m, BasicBlock):
                nn.init.constant_(m.bn2.weight, 0)

    def _make_layer(self, block, planes, blocks, stride=1):
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                nn.Conv2d(self.inplanes, planes * block.expansion, 1, stride, bias=False),
                nn.BatchNorm2d(planes * block.expansion),
            )
        layers = [block(self.inplanes, planes, stride, downsample)]
        self.inplanes = planes * block.expansion
        for _ in range(1, blocks):
            layers.append(block(self.inplanes, planes))
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(x)


model = ResNet(BasicBlock, [1, 1])
print(model)
torch.save(model.state_dict(), "r.pth")
m2 = ResNet(BasicBlock, [1, 1])
sd = torch.load("r.pth", map_location="cpu")
print(m2.load_state_dict(sd))
for param in m2.parameters():
    param.requires_grad = False
num_ftrs = m2.fc.in_features
m2.fc = nn.Linear(num_ftrs, 2)
print([n for n, p in m2.named_parameters() if p.requires_grad])
optimizer_conv = optim.SGD(m2.fc.parameters(), lr=0.01, momentum=0.9)
sch = lr_scheduler.StepLR(optimizer_conv, step_size=2, gamma=0.1)
best_acc = 0.0
for epoch in range(3):
    for phase in ["train", "val"]:
        m2.train() if phase == "train" else m2.eval()
        inputs = torch.randn(8, 3, 32, 32)
        labels = torch.randint(0, 2, (8,))
        optimizer_conv.zero_grad()
        with torch.set_grad_enabled(phase == "train"):
            outputs = m2(inputs)
            _, preds = torch.max(outputs, 1)
            loss = F.cross_entropy(outputs, labels)
            if phase == "train":
                loss.backward()
                optimizer_conv.step()
        rl = loss.item() * inputs.size(0)
        rc = torch.sum(preds == labels.data)
        if phase == "train":
            sch.step()
        epoch_acc = rc.double() / 8
        print(f"{phase} Loss: {rl / 8:.4f} Acc: {epoch_acc:.4f}")
        if phase == "val" and epoch_acc > best_acc:
            best_acc = epoch_acc
            best = copy.deepcopy(m2.state_dict())
print(f"Best val Acc: {best_acc:4f}")
opt = optim.Adam([{"params": m2.fc.parameters(), "lr": 1e-3}, {"params": m2.layer2.parameters()}], lr=1e-4)
print(opt, len(opt.param_groups[1]["params"]))
for name, child in m2.named_children():
    if name in ["layer2"]:
        for p in child.parameters():
            p.requires_grad = True
    print(
        name, sum(p.numel() for p in child.parameters()), sum(p.numel() for p in child.parameters() if p.requires_grad)
    )
backbone = nn.Sequential(*list(model.children())[:-1])
print(backbone(torch.randn(2, 3, 32, 32)).shape, len(backbone))
pretrained = {k: v for k, v in sd.items() if "fc" not in k}
md = m2.state_dict()
md.update(pretrained)
m2.load_state_dict(md)
print(m2.load_state_dict(pretrained, strict=False))
try:
    m2.load_state_dict(sd)
except RuntimeError as e:
    print(e)
try:
    m2.load_state_dict({"x": torch.ones(1)})
except RuntimeError as e:
    print(str(e)[:200])
checkpoint = {
    "epoch": 3,
    "model_state_dict": m2.state_dict(),
    "optimizer_state_dict": opt.state_dict(),
    "loss": loss,
    "cfg": {"lr": 0.1, "names": ["a", "b"]},
}
torch.save(checkpoint, "c.tar")
c = torch.load("c.tar", weights_only=False)
m2.load_state_dict(c["model_state_dict"])
opt.load_state_dict(c["optimizer_state_dict"])
print(c["epoch"], c["loss"], c["cfg"])
m = nn.Linear(2, 2)
m.weight.requires_grad_(False)
m.bias.data.fill_(1.0)
print(m.bias, m.weight.requires_grad, list(m.parameters())[0].shape)
del m.bias
print(hasattr(m, "bias"))
net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
net[1] = nn.Tanh()
net.add_module("out", nn.Linear(2, 1))
net.append(nn.Sigmoid())
print(net, len(net), net[-1], net[0:2])
del net[0]
print(net)
net.insert(0, nn.Linear(3, 2))
net.extend([nn.ReLU()])
print(net, net.pop(1))
ema = copy.deepcopy(model)
decay = 0.9
with torch.no_grad():
    for e, p in zip(ema.parameters(), model.parameters()):
        e.mul_(decay).add_(p, alpha=1 - decay)
    for (n1, b1), (n2, b2) in zip(ema.named_buffers(), model.named_buffers()):
        b1.copy_(b2)
print(
    torch.equal(list(ema.parameters())[0], list(model.parameters())[0])
    or torch.allclose(list(ema.parameters())[0], list(model.parameters())[0])
)
# grad accumulation
model.train()
o = optim.SGD(model.parameters(), 0.1)
o.zero_grad()
for i in range(4):
    l = F.cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([1, 2])) / 2
    l.backward()
    if (i + 1) % 2 == 0:
        tn = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0, norm_type=2)
        o.step()
        o.zero_grad()
        print(tn, l.item())

"""After PyTorch's transfer learning tutorial: pictures in folders, a frozen resnet18, and augmentation of all kinds."""

import os
import random
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
import torchvision
from PIL import Image
from torch.optim import lr_scheduler
from torchvision import datasets, models, transforms
from torchvision.transforms import v2

pixels = np.random.default_rng(0)
for part, count in (("train", 6), ("val", 4)):
    for k, name in enumerate(("ants", "bees")):
        os.makedirs(f"data/{part}/{name}")
        for i in range(count):
            h, w = pixels.integers(50, 90, 2)
            y, x = np.mgrid[:h, :w]
            picture = np.stack(
                [128 + 99 * np.sin(x / (5 + 6 * k)), 128 + 90 * np.cos(y / (4 + i)), x * y // 7 % 256], 2
            )
            Image.fromarray(picture.astype(np.uint8)).save(f"data/{part}/{name}/{i}.png")

torch.manual_seed(0)
mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
data_transforms = {
    "train": transforms.Compose([
        transforms.RandomResizedCrop(40), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]),
    "val": transforms.Compose([
        transforms.Resize(48), transforms.CenterCrop(40), transforms.ToTensor(), transforms.Normalize(mean, std),
    ]),
}  # fmt: skip
image_datasets = {x: datasets.ImageFolder(os.path.join("data", x), data_transforms[x]) for x in ["train", "val"]}
dataloaders = {x: torch.utils.data.DataLoader(image_datasets[x], batch_size=4, shuffle=True) for x in ["train", "val"]}
class_names = image_datasets["train"].classes
print(image_datasets, class_names, image_datasets["val"].imgs[:2])
inputs, classes = next(iter(dataloaders["train"]))
out = torchvision.utils.make_grid(inputs).numpy().transpose((1, 2, 0))
out = np.clip(np.array(std) * out + np.array(mean), 0, 1)
print(out.shape, out.mean(), [class_names[x] for x in classes])

model = models.resnet18(weights=None)
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(model.fc.in_features, 2)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
scheduler = lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
for epoch in range(2):
    for phase in ["train", "val"]:
        model.train(phase == "train")
        running_loss, running_corrects = 0.0, 0
        for inputs, labels in dataloaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                _, preds = torch.max(outputs, 1)
                loss = criterion(outputs, labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(preds == labels.data)
        size = len(image_datasets[phase])
        print(f"{phase} Loss: {running_loss / size:.4f} Acc: {running_corrects.double() / size:.4f}")
    scheduler.step()


class GradCAM:
    def __init__(self, model, layer):
        self.model = model
        layer.register_forward_hook(lambda module, input, output: setattr(self, "activations", output))
        layer.register_full_backward_hook(lambda module, before, after: setattr(self, "gradients", after[0]))

    def __call__(self, x):
        output = self.model(x)
        index = output.argmax(1).item()
        output[0, index].backward()
        cam = torch.relu((self.gradients.mean((2, 3), keepdim=True) * self.activations).sum(1, keepdim=True))
        cam = nn.functional.interpolate(cam, size=x.shape[2:], mode="bilinear", align_corners=False)
        return cam / (cam.max() + 1e-8), index


for name, layer in (("resnet18", "layer3"), ("mobilenet_v2", "features"), ("squeezenet1_1", "features")):
    torch.manual_seed(1)
    net = getattr(models, name)(num_classes=5).eval()
    picture = Image.open("data/val/ants/1.png").convert("RGB")
    cam, index = GradCAM(net, getattr(net, layer))(data_transforms["val"](picture).unsqueeze(0))
    print(name, index, cam.shape, cam.mean(), transforms.functional.to_pil_image(cam[0]).size)
print(OrderedDict((n, tuple(p.shape)) for n, p in net.named_parameters() if "bias" in n))

torch.manual_seed(3)
random.seed(3)
T = transforms
augment = T.Compose([
    T.RandomCrop(48, padding=4), T.RandomVerticalFlip(), T.ColorJitter(0.2, 0.2, 0.2, 0.1), T.RandomRotation(15),
    T.RandomGrayscale(0.2), T.RandomApply([T.RandomAffine(0, shear=10)], 0.3), T.RandomPerspective(0.2),
    T.RandomChoice([T.Pad(1), T.FiveCrop(30), T.Resize(20)]), T.Lambda(lambda x: x[0] if isinstance(x, tuple) else x),
    T.Resize((32, 32)), T.ToTensor(), T.Normalize(mean, std), T.RandomErasing(),
])  # fmt: skip
print(augment)
for image, label in datasets.ImageFolder("data/val", augment):
    print(label, image.shape, image.mean(), image.std())
second = v2.Compose([
    v2.Resize(size=40), v2.RandomResizedCrop(32, scale=(0.5, 1)), v2.RandomHorizontalFlip(0.3), v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std),
])  # fmt: skip
for image, label in datasets.ImageFolder("data/val", second):
    print(label, image.shape, image.dtype, image.mean())
fake = datasets.FakeData(20, (3, 16, 16), 4, T.ToTensor())
print(fake, [fake[i][1] for i in range(10)], fake[3][0].mean())

import torch
import torch.nn as nn, torch.nn.functional as F

torch.manual_seed(0)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn1 = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(1, 4, kernel_size=3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(4),
            nn.Dropout2d(p=0.0),
        )
        self.fc1 = nn.Sequential(nn.Linear(4 * 10 * 10, 20), nn.ReLU(inplace=True), nn.Linear(20, 5))

    def forward_once(self, x):
        output = self.cnn1(x)
        output = output.view(output.size()[0], -1)
        return self.fc1(output)

    def forward(self, input1, input2):
        return self.forward_once(input1), self.forward_once(input2)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, o1, o2, label):
        d = F.pairwise_distance(o1, o2, keepdim=True)
        return torch.mean((1 - label) * torch.pow(d, 2) + label * torch.pow(torch.clamp(self.margin - d, min=0.0), 2))


net = Siamese()
opt = torch.optim.Adam(net.parameters(), lr=0.0005)
for i in range(4):
    a, b = torch.randn(6, 1, 10, 10), torch.randn(6, 1, 10, 10)
    lab = torch.randint(0, 2, (6, 1)).float()
    l = ContrastiveLoss()(*net(a, b), lab)
    opt.zero_grad()
    l.backward()
    opt.step()
    print(l.item())


# SimCLR
def info_nce_loss(features, n_views=2, temperature=0.07):
    bs = features.shape[0] // n_views
    labels = torch.cat([torch.arange(bs) for i in range(n_views)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    features = F.normalize(features, dim=1)
    sim = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    sim = sim[~mask].view(sim.shape[0], -1)
    pos = sim[labels.bool()].view(labels.shape[0], -1)
    neg = sim[~labels.bool()].view(sim.shape[0], -1)
    logits = torch.cat([pos, neg], dim=1)
    labels = torch.zeros(logits.shape[0], dtype=torch.long)
    return logits / temperature, labels


x = torch.randn(8, 6, requires_grad=True)
lo, la = info_nce_loss(x)
l = F.cross_entropy(lo, la)
l.backward()
print(l, x.grad)


def lightly(f1, f2, t=0.5):
    cos_sim = F.cosine_similarity(torch.cat([f1, f2])[:, None, :], torch.cat([f1, f2])[None, :, :], dim=-1)
    n = cos_sim.shape[0]
    self_mask = torch.eye(n, dtype=torch.bool)
    cos_sim.masked_fill_(self_mask, -9e15)
    pos_mask = self_mask.roll(shifts=n // 2, dims=0)
    cos_sim = cos_sim / t
    nll = -cos_sim[pos_mask] + torch.logsumexp(cos_sim, dim=-1)
    comb = torch.cat([cos_sim[pos_mask][:, None], cos_sim.masked_fill(pos_mask, -9e15)], dim=-1)
    sp = comb.argsort(dim=-1, descending=True).argmin(dim=-1)
    return nll.mean(), (sp == 0).float().mean(), 1 + sp.float().mean()


print(lightly(torch.randn(4, 5), torch.randn(4, 5)))
# CLIP
img, txt = F.normalize(torch.randn(5, 8), dim=-1), F.normalize(torch.randn(5, 8), dim=-1)
ls = nn.Parameter(torch.ones([]) * torch.log(torch.tensor(1 / 0.07)))
logits = ls.exp() * img @ txt.t()
gt = torch.arange(5)
l = (F.cross_entropy(logits, gt) + F.cross_entropy(logits.t(), gt)) / 2
l.backward()
print(l, ls.grad)
# BYOL / momentum
online = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 4))
import copy

target = copy.deepcopy(online)
for p in target.parameters():
    p.requires_grad = False
for po, pt in zip(online.parameters(), target.parameters()):
    pt.data = pt.data * 0.99 + po.data * (1.0 - 0.99)
print(
    sum(p.sum() for p in target.parameters()),
    nn.TripletMarginLoss(margin=1.0, p=2)(torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4)),
    F.cosine_embedding_loss(torch.randn(3, 4), torch.randn(3, 4), torch.tensor([1.0, -1.0, 1.0])),
)
d = torch.cdist(torch.randn(3, 4), torch.randn(5, 4))
print(d, d.min(dim=1), torch.triu_indices(3, 3, 1), torch.combinations(torch.arange(4)))
# supervised contrastive / prototypical
proto = torch.stack([torch.randn(5, 4).mean(0) for _ in range(3)])
q = torch.randn(6, 4)
lp = F.log_softmax(-(torch.cdist(q, proto) ** 2), dim=1)
print(lp)
# knn / kmeans
X = torch.randn(50, 2)
C = X[:3].clone()
for _ in range(5):
    a = ((X[:, None] - C[None]) ** 2).sum(-1).argmin(1)
    C = torch.stack([X[a == k].mean(0) for k in range(3)])
print(C, torch.bincount(a, minlength=3))

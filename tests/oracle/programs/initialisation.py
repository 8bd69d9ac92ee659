import torch
from torch import nn
from torch.nn import init
import math

torch.manual_seed(0)
w = torch.empty(3, 5)
c = torch.empty(4, 2, 3, 3)
for f in (
    lambda t: init.uniform_(t),
    lambda t: init.uniform_(t, -1, 1),
    lambda t: init.normal_(t),
    lambda t: init.normal_(t, 1, 0.5),
    lambda t: init.constant_(t, 0.3),
    lambda t: init.ones_(t),
    lambda t: init.zeros_(t),
    lambda t: init.xavier_uniform_(t),
    lambda t: init.xavier_uniform_(t, gain=init.calculate_gain("relu")),
    lambda t: init.xavier_normal_(t),
    lambda t: init.kaiming_uniform_(t, mode="fan_in", nonlinearity="relu"),
    lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)),
    lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="leaky_relu"),
    lambda t: init.trunc_normal_(t),
    lambda t: init.trunc_normal_(t, std=0.02, a=-0.03, b=0.03),
    lambda t: init.orthogonal_(t),
    lambda t: init.orthogonal_(t, gain=2),
):
    print(f(w))
    r = f(c)
    print(r.sum(), r.std())
print(init.eye_(w), init.sparse_(w, 0.4), init.dirac_(c).sum())
for n in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
    print(n, init.calculate_gain(n))
print(init.calculate_gain("leaky_relu", 0.2), init._calculate_fan_in_and_fan_out(c))
for l in (
    nn.Linear(4, 3),
    nn.Conv1d(2, 3, 3),
    nn.Conv2d(3, 4, 3, groups=1),
    nn.Conv3d(1, 2, 2),
    nn.ConvTranspose2d(3, 2, 3),
    nn.Embedding(3, 2),
    nn.LSTM(2, 3),
    nn.GRU(2, 3),
    nn.RNN(2, 3),
    nn.LSTMCell(2, 2),
    nn.Bilinear(2, 3, 2),
    nn.MultiheadAttention(4, 2),
    nn.TransformerEncoderLayer(4, 2, 8),
    nn.EmbeddingBag(3, 2),
    nn.PReLU(),
    nn.TransformerDecoderLayer(4, 2, 8),
    nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
    nn.Transformer(4, 2, 1, 1, 8),
):
    print(type(l).__name__, [(n, p.sum().item()) for n, p in l.named_parameters()])


def init_weights(m):
    if isinstance(m, nn.Linear):
        torch.nn.init.xavier_uniform_(m.weight)
        m.bias.data.fill_(0.01)


net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
net.apply(init_weights)
print(net[0].weight, net[0].bias)


@torch.no_grad()
def init_w(m):
    print(m)
    if type(m) == nn.Linear:
        m.weight.fill_(1.0)
        print(m.weight)


net.apply(init_w)
for m in net.modules():
    if hasattr(m, "reset_parameters"):
        m.reset_parameters()
print(net[0].weight)
conv = nn.Conv2d(3, 8, 3)
conv.weight = nn.Parameter(torch.ones_like(conv.weight) * 0.1)
print(
    conv.weight.sum(),
    isinstance(conv.weight, nn.Parameter),
    conv.kernel_size,
    conv.stride,
    conv.padding,
    conv.in_channels,
    conv.groups,
    conv.dilation,
    conv.padding_mode,
)

import torch, torch.nn as nn
from collections import OrderedDict

torch.manual_seed(0)
mods = [
    nn.Linear(2, 3),
    nn.Linear(2, 3, bias=False),
    nn.Conv2d(1, 2, 3),
    nn.Conv2d(1, 2, 3, stride=2, padding=1, dilation=2, bias=False),
    nn.Conv2d(4, 4, 3, groups=2, padding="same", padding_mode="reflect"),
    nn.Conv1d(1, 2, 3, padding=1),
    nn.Conv3d(1, 2, (1, 2, 3)),
    nn.ConvTranspose2d(4, 2, 3, 2, 1, 1),
    nn.BatchNorm2d(3),
    nn.BatchNorm1d(3, affine=False),
    nn.BatchNorm1d(3, track_running_stats=False, momentum=None),
    nn.LayerNorm(4),
    nn.LayerNorm((2, 3), elementwise_affine=False),
    nn.GroupNorm(2, 4),
    nn.InstanceNorm2d(3),
    nn.RMSNorm(3),
    nn.LocalResponseNorm(2),
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.AvgPool2d(2),
    nn.AdaptiveAvgPool2d((1, 1)),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveMaxPool1d(2),
    nn.LPPool2d(2, 3),
    nn.MaxUnpool2d(2),
    nn.Dropout(),
    nn.Dropout2d(0.3, inplace=True),
    nn.AlphaDropout(),
    nn.Embedding(10, 3),
    nn.Embedding(10, 3, padding_idx=0),
    nn.EmbeddingBag(10, 3),
    nn.LSTM(3, 4),
    nn.LSTM(3, 4, 2, batch_first=True, dropout=0.5, bidirectional=True),
    nn.GRU(3, 4),
    nn.RNN(3, 4, nonlinearity="relu"),
    nn.LSTMCell(3, 4),
    nn.GRUCell(3, 4),
    nn.RNNCell(3, 4, bias=False),
    nn.MultiheadAttention(4, 2),
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.LeakyReLU(0.2),
    nn.LeakyReLU(0.2, True),
    nn.PReLU(),
    nn.ELU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Softmax(dim=1),
    nn.Softmax(),
    nn.LogSoftmax(dim=-1),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Hardtanh(),
    nn.Softplus(),
    nn.Softshrink(),
    nn.Threshold(1, 2),
    nn.GLU(),
    nn.Hardswish(),
    nn.ReLU6(),
    nn.SELU(),
    nn.CELU(),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.RReLU(),
    nn.Flatten(),
    nn.Unflatten(1, (2, 3)),
    nn.Identity(),
    nn.Upsample(scale_factor=2),
    nn.Upsample(size=(3, 3), mode="bilinear", align_corners=True),
    nn.UpsamplingNearest2d(scale_factor=2),
    nn.PixelShuffle(2),
    nn.ZeroPad2d(1),
    nn.ReflectionPad2d((1, 2, 3, 4)),
    nn.ConstantPad1d(2, 3.0),
    nn.ReplicationPad2d(2),
    nn.CircularPad2d(1),
    nn.Bilinear(1, 2, 3),
    nn.CosineSimilarity(),
    nn.PairwiseDistance(),
    nn.Fold((3, 3), 2),
    nn.Unfold(2),
    nn.ChannelShuffle(2),
    nn.Softmax2d(),
    nn.CrossEntropyLoss(),
    nn.MSELoss(),
    nn.NLLLoss(),
    nn.BCELoss(),
    nn.BCEWithLogitsLoss(),
    nn.L1Loss(),
    nn.SmoothL1Loss(),
    nn.HuberLoss(),
    nn.KLDivLoss(),
    nn.CTCLoss(),
    nn.TripletMarginLoss(),
    nn.CosineEmbeddingLoss(),
    nn.MarginRankingLoss(),
    nn.HingeEmbeddingLoss(),
    nn.GaussianNLLLoss(),
    nn.PoissonNLLLoss(),
    nn.MultiMarginLoss(),
    nn.MultiLabelMarginLoss(),
    nn.SoftMarginLoss(),
    nn.MultiLabelSoftMarginLoss(),
    nn.LazyLinear(3),
    nn.LazyConv2d(3, 3),
    nn.LazyBatchNorm2d(),
    nn.TransformerEncoderLayer(8, 2, 16),
    nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
    nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    nn.Transformer(8, 2, 1, 1, 16),
    nn.ModuleList([nn.Linear(1, 1) for _ in range(3)]),
    nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 2)}),
    nn.ParameterList([nn.Parameter(torch.ones(2, 3))]),
    nn.ParameterDict({"x": nn.Parameter(torch.ones(1))}),
    nn.Sequential(OrderedDict([("c", nn.Conv2d(1, 2, 3)), ("r", nn.ReLU())])),
    nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Sequential()),
    nn.AdaptiveLogSoftmaxWithLoss(20, 200, [20, 100, 150]),
    nn.FractionalMaxPool2d(3, output_size=(2, 3)),
    nn.FractionalMaxPool2d(3, output_ratio=0.5),
    nn.FractionalMaxPool3d(2, output_size=2),
    nn.CircularPad1d(1),
    nn.ZeroPad1d(1),
    nn.ReflectionPad3d(1),
    nn.SyncBatchNorm(3),
    nn.Linear(2, 3, dtype=torch.float64),
    nn.Sequential(),
    nn.ModuleList(),
    nn.Upsample(scale_factor=(2, 3), mode="nearest"),
    nn.TripletMarginWithDistanceLoss(),
    nn.Dropout1d(),
    nn.FeatureAlphaDropout(),
    nn.Identity(),
]
for m in mods:
    print(repr(m))
    print(
        [(n, tuple(p.shape), p.dtype) for n, p in m.state_dict().items()]
        if not isinstance(m, (nn.LazyLinear, nn.LazyConv2d, nn.LazyBatchNorm2d))
        else ""
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)])
        self.d = nn.ModuleDict([["x", nn.Tanh()], ["y", nn.Linear(3, 3)]])
        self.register_buffer("buf", torch.zeros(3))
        self.register_buffer("tmp", torch.ones(1), persistent=False)
        self.p = nn.Parameter(torch.zeros(1))
        self.register_parameter("none", None)

    def extra_repr(self):
        return "k=3"


n = Net()
print(n)
print(list(n.state_dict().keys()))
print([k for k, _ in n.named_buffers()])
print([k for k, _ in n.named_modules()])
print([k for k, _ in n.named_children()])
print([type(m).__name__ for m in n.modules()])
print(
    sum(p.numel() for p in n.parameters() if p.requires_grad),
    n.training,
    n.eval().training,
    n.get_submodule("layers.0"),
    n.get_parameter("layers.0.weight").shape,
    n.get_buffer("buf"),
)
print(n.state_dict())
print(n._parameters.keys(), n._buffers.keys(), n._modules.keys())
print(
    n.half().p.dtype,
    n.double().p.dtype,
    n.float().p.dtype,
    n.to(torch.float64).buf.dtype,
    n.type(torch.float32).p.dtype,
)
print(n.requires_grad_(False).p.requires_grad, n.apply(lambda m: None) is n)

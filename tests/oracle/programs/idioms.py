import torch, os, random, numpy as np, copy, pickle, io, warnings, sys, math, time
import torch.nn as nn, torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.nn.parameter import Parameter
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.utils import _pair, _single, _triple
from torch.optim import Optimizer, Adam, SGD
from torch.optim.lr_scheduler import _LRScheduler, ReduceLROnPlateau
from torch.utils.data.sampler import SubsetRandomSampler
from torch.utils.data.dataset import Dataset, random_split
from torch.autograd.function import Function, once_differentiable
from torch.types import Number
from typing import Optional, Tuple, List


def seed_everything(seed=42):
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


seed_everything()
print(torch.initial_seed(), torch.rand(1), random.random(), np.random.rand())
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print(device, device.type, device.index)
if torch.cuda.is_available():
    print(torch.cuda.get_device_name(0))
device = "mps" if torch.backends.mps.is_available() else "cpu"
print(
    device,
    torch.cuda.device_count(),
    torch.get_num_threads() > 0,
    torch.__version__ is not None,
    torch.version.cuda,
    torch.backends.cudnn.version(),
    torch.backends.cudnn.is_available(),
    torch.backends.mkl.is_available() in (True, False),
    torch.backends.openmp.is_available() in (True, False),
)
x = torch.randn(2, 3).to(device, non_blocking=True)
y = x.to("cpu", torch.float64, copy=True)
print(y.dtype, x.to(y).dtype, x.cpu() is x, x.is_cuda, x.device == torch.device("cpu"), x.get_device())
torch.set_default_dtype(torch.float64)
print(torch.ones(1).dtype, torch.tensor(1.5).dtype)
torch.set_default_dtype(torch.float32)
with torch.device("cpu"):
    print(torch.ones(1).device)
torch.set_float32_matmul_precision("high")
torch.set_num_threads(2)
torch.set_printoptions(precision=4)
with torch.no_grad():
    print(torch.is_grad_enabled())
with torch.enable_grad():
    print(torch.is_grad_enabled())
with torch.inference_mode():
    t = torch.ones(1)
    print(torch.is_inference_mode_enabled())


@torch.inference_mode()
def fi(x):
    return x * 2


print(fi(torch.ones(1)).requires_grad)
with torch.random.fork_rng():
    torch.manual_seed(1)
    print(torch.rand(1))
st = torch.get_rng_state()
a = torch.rand(1)
torch.set_rng_state(st)
print(torch.equal(a, torch.rand(1)))
b = io.BytesIO()
torch.save({"a": torch.ones(2)}, b)
b.seek(0)
print(torch.load(b, weights_only=True))
print(
    pickle.loads(pickle.dumps(torch.ones(2))),
    copy.deepcopy(nn.Linear(1, 1)).weight.shape,
    pickle.loads(pickle.dumps(nn.Linear(2, 1)))(torch.ones(1, 2)).shape,
)
with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
    l = nn.Linear(2, 2)(torch.ones(1, 2))
scaler = torch.cuda.amp.GradScaler(enabled=False)
print(scaler.is_enabled(), scaler.get_scale())
with torch.amp.autocast("cpu", enabled=False):
    pass


class Swish(Function):
    @staticmethod
    def forward(ctx, i):
        result = i * torch.sigmoid(i)
        ctx.save_for_backward(i)
        ctx.k = 3
        return result

    @staticmethod
    def backward(ctx, grad_output):
        i = ctx.saved_tensors[0]
        s = torch.sigmoid(i)
        return grad_output * (s * (1 + i * (1 - s)))


i = torch.randn(4, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(Swish.apply, (i,), eps=1e-6, atol=1e-4))


class LinearFunction(Function):
    @staticmethod
    def forward(input, weight, bias):
        output = input.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    @staticmethod
    def setup_context(ctx, inputs, output):
        input, weight, bias = inputs
        ctx.save_for_backward(input, weight, bias)

    @staticmethod
    def backward(ctx, grad_output):
        input, weight, bias = ctx.saved_tensors
        gi = gw = gb = None
        if ctx.needs_input_grad[0]:
            gi = grad_output.mm(weight)
        if ctx.needs_input_grad[1]:
            gw = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]:
            gb = grad_output.sum(0)
        return gi, gw, gb


w = torch.randn(3, 4, requires_grad=True)
bb = torch.randn(3, requires_grad=True)
inp = torch.randn(2, 4)
LinearFunction.apply(inp, w, bb).sum().backward()
print(w.grad, bb.grad)


class MyRelu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x.clamp_(min=0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x > 0)


q = torch.randn(3, requires_grad=True)
(MyRelu.apply(q * 1)).sum().backward()
print(q.grad)
x = torch.tensor([1.0, 2.0], requires_grad=True)
y = (x**3).sum()
(g,) = torch.autograd.grad(y, x, create_graph=True)
(g2,) = torch.autograd.grad(g.sum(), x)
print(g.tolist(), g2)
torch.autograd.backward([x.sum(), (x * 2).sum()])
print(x.grad)
x.grad.data.zero_()
print(x.grad)
x.grad = None
print(x.grad)

from torch.utils.checkpoint import checkpoint, checkpoint_sequential

net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
o = checkpoint(net, torch.ones(1, 2, requires_grad=True), use_reentrant=False)
o.backward(torch.ones_like(o))
print(net[0].weight.grad.shape)
print(checkpoint_sequential(net, 2, torch.ones(1, 2), use_reentrant=False).shape)


class Cfg(nn.Module):
    def __init__(self, *, hidden: int = 4, act: Optional[nn.Module] = None):
        super().__init__()
        self.fc = nn.Linear(2, hidden)
        self.act = act or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(x))

    @property
    def device(self):
        return next(self.parameters()).device

    @staticmethod
    def helper():
        return 1


c = Cfg(hidden=3)
print(c.device, c, c.training, sum(p.numel() for p in c.parameters()))
print({n: tuple(p.shape) for n, p in c.named_parameters()})
c.eval()
print(c.training, c.fc.training)
c.train(False)
print(
    _pair(3),
    _single(2),
    _triple((1, 2, 3)),
    issubclass(nn.Conv2d, _ConvNd),
    torch.Size([2, 3]).numel(),
    torch.typename(x),
)
net.zero_grad(set_to_none=False)
print(net[0].weight.grad)
print(isinstance(net.state_dict(), dict), type(net.state_dict()).__name__, next(iter(net.state_dict())))
try:
    import tensorboard
except ImportError:
    pass
m2 = torch.jit.script(net)
print(m2(torch.ones(1, 2)).shape)
tr = torch.jit.trace(net, torch.ones(1, 2))
print(tr(torch.ones(3, 2)).shape)
print(torch.ones(2, 2, device="cpu", dtype=torch.float32, requires_grad=True))
print(F.softmax(torch.tensor([1.0, 2.0]), dim=0), nn.Softmax()(torch.ones(1, 2))) if True else 0
print(
    torch.get_default_dtype(),
    torch.float32.itemsize,
    torch.int64.is_floating_point,
    torch.tensor([1]).element_size(),
)
print(
    nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]), ignore_index=-1, reduction="sum", label_smoothing=0.1)(
        torch.ones(2, 2), torch.tensor([0, -1])
    ),
    nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(torch.ones(2), torch.tensor([1.0, 0.0])),
    nn.KLDivLoss(reduction="batchmean", log_target=True)(torch.zeros(1, 2), torch.zeros(1, 2)),
    nn.SmoothL1Loss(beta=0.5)(torch.ones(1), torch.zeros(1)),
    nn.CTCLoss()(torch.randn(5, 1, 3).log_softmax(2), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])),
)
from torch.utils.data import DataLoader

print([b for b in DataLoader([1, 2, 3], 2)])

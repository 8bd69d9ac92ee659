import torch, math
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
num_hiddens = 16
vocab = 28
bs = 2
T = 5
text = "the time machine by h g wells " * 20
chars = sorted(set(text))
idx = {c: i for i, c in enumerate(chars)}
vocab = len(chars)
corpus = torch.tensor([idx[c] for c in text])
X = torch.arange(10).reshape((2, 5))
print(F.one_hot(X.T, 28).shape, F.one_hot(torch.tensor([0, 2]), 5))


def get_params(vocab_size, num_hiddens, device):
    def normal(shape):
        return torch.randn(size=shape, device=device) * 0.01

    W_xh = normal((vocab_size, num_hiddens))
    W_hh = normal((num_hiddens, num_hiddens))
    b_h = torch.zeros(num_hiddens, device=device)
    W_hq = normal((num_hiddens, vocab_size))
    b_q = torch.zeros(vocab_size, device=device)
    params = [W_xh, W_hh, b_h, W_hq, b_q]
    for param in params:
        param.requires_grad_(True)
    return params


def rnn(inputs, state, params):
    W_xh, W_hh, b_h, W_hq, b_q = params
    (H,) = state
    outputs = []
    for X in inputs:
        H = torch.tanh(torch.mm(X, W_xh) + torch.mm(H, W_hh) + b_h)
        Y = torch.mm(H, W_hq) + b_q
        outputs.append(Y)
    return torch.cat(outputs, dim=0), (H,)


def grad_clipping(net, theta):
    params = [p for p in net if p.requires_grad]
    norm = torch.sqrt(sum(torch.sum((p.grad**2)) for p in params))
    if norm > theta:
        for param in params:
            param.grad[:] *= theta / norm


params = get_params(vocab, num_hiddens, torch.device("cpu"))
state = (torch.zeros((bs, num_hiddens)),)
for e in range(5):
    Xb = torch.stack([corpus[i * T + e : i * T + T + e] for i in range(bs)])
    Yb = torch.stack([corpus[i * T + 1 + e : i * T + T + 1 + e] for i in range(bs)])
    for s in state:
        s.detach_()
    out, state = rnn(F.one_hot(Xb.T, vocab).type(torch.float32), state, params)
    l = F.cross_entropy(out, Yb.T.reshape(-1).long()).mean()
    l.backward()
    grad_clipping(params, 1)
    with torch.no_grad():
        for p in params:
            p -= 1.0 * p.grad
            p.grad.zero_()
    print(math.exp(l.item()))


class RNNModel(nn.Module):
    def __init__(self, rnn_layer, vocab_size, **kwargs):
        super().__init__(**kwargs)
        self.rnn = rnn_layer
        self.vocab_size = vocab_size
        self.num_hiddens = self.rnn.hidden_size
        if not self.rnn.bidirectional:
            self.num_directions = 1
            self.linear = nn.Linear(self.num_hiddens, self.vocab_size)
        else:
            self.num_directions = 2
            self.linear = nn.Linear(self.num_hiddens * 2, self.vocab_size)

    def forward(self, inputs, state):
        X = F.one_hot(inputs.T.long(), self.vocab_size)
        X = X.to(torch.float32)
        Y, state = self.rnn(X, state)
        output = self.linear(Y.reshape((-1, Y.shape[-1])))
        return output, state

    def begin_state(self, device, batch_size=1):
        if not isinstance(self.rnn, nn.LSTM):
            return torch.zeros((self.num_directions * self.rnn.num_layers, batch_size, self.num_hiddens), device=device)
        return (
            torch.zeros((self.num_directions * self.rnn.num_layers, batch_size, self.num_hiddens), device=device),
            torch.zeros((self.num_directions * self.rnn.num_layers, batch_size, self.num_hiddens), device=device),
        )


for layer in (
    nn.RNN(vocab, 16),
    nn.GRU(vocab, 16),
    nn.LSTM(vocab, 16, 2),
    nn.LSTM(vocab, 16, 2, bidirectional=True),
    nn.RNN(vocab, 16, nonlinearity="relu"),
):
    net = RNNModel(layer, vocab)
    print(net)
    opt = torch.optim.Adam(net.parameters(), 0.01)
    st = net.begin_state("cpu", 4)
    for e in range(6):
        Xb = torch.stack([corpus[i * 7 : i * 7 + T] for i in range(4)])
        Yb = torch.stack([corpus[i * 7 + 1 : i * 7 + T + 1] for i in range(4)])
        out, st = net(Xb, st)
        st = tuple(s.detach() for s in st) if isinstance(st, tuple) else st.detach()
        l = F.cross_entropy(out, Yb.T.reshape(-1))
        opt.zero_grad()
        l.backward()
        n = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        print(l.item(), n)
    with torch.no_grad():
        pred = net(corpus[:5].reshape(1, 5), net.begin_state("cpu", 1))[0].argmax(1)
        print(pred)
gru = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
o, h = gru(torch.randn(2, 6, 3))
print(o.shape, h.shape, o.sum(), h.mean())
print([n for n, _ in gru.named_parameters()])
cell = nn.LSTMCell(3, 4)
h = c = torch.zeros(2, 4)
for t in range(3):
    h, c = cell(torch.ones(2, 3) * t, (h, c))
print(h, c)
lstm = nn.LSTM(10, 20, 2, proj_size=5)
o, (h, c) = lstm(torch.randn(5, 3, 10))
print(o.shape, h.shape, c.shape, o.mean())

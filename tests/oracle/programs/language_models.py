import torch, math, string, random, unicodedata, time
import torch.nn as nn, torch.nn.functional as F

torch.manual_seed(1)
random.seed(1)
allowed_characters = string.ascii_letters + " .,;'" + "_"
n_letters = len(allowed_characters)


def unicodeToAscii(s):
    return "".join(
        c for c in unicodedata.normalize("NFD", s) if unicodedata.category(c) != "Mn" and c in allowed_characters
    )


print(unicodeToAscii("Ślusàrski"))


def letterToIndex(letter):
    return allowed_characters.find(letter) if letter in allowed_characters else allowed_characters.find("_")


def lineToTensor(line):
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][letterToIndex(letter)] = 1
    return tensor


print(lineToTensor("a").argmax(), lineToTensor("Ahn").size())


class CharRNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(CharRNN, self).__init__()
        self.rnn = nn.RNN(input_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, line_tensor):
        rnn_out, hidden = self.rnn(line_tensor)
        output = self.h2o(hidden[0])
        return self.softmax(output)


cats = ["English", "French", "German"]
rnn = CharRNN(n_letters, 32, 3)
print(rnn)
print(rnn(lineToTensor("Albert")))
data = [("Smith", 0), ("Jones", 0), ("Dubois", 1), ("Moreau", 1), ("Schmidt", 2), ("Weber", 2)]
crit = nn.NLLLoss()
opt = torch.optim.SGD(rnn.parameters(), lr=0.15)
for e in range(5):
    loss = 0
    random.shuffle(data)
    for w, c in data:
        loss = loss + crit(rnn(lineToTensor(w)), torch.tensor([c]))
    loss.backward()
    nn.utils.clip_grad_norm_(rnn.parameters(), 3)
    opt.step()
    opt.zero_grad()
    print(loss.item() / len(data))
conf = torch.zeros(3, 3)
with torch.no_grad():
    for w, c in data:
        top_n, top_i = rnn(lineToTensor(w)).topk(1)
        conf[c][top_i[0].item()] += 1
for i in range(3):
    denom = conf[i].sum()
    if denom > 0:
        conf[i] = conf[i] / denom
print(conf.cpu().numpy())


class GenRNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(3 + input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(3 + input_size + hidden_size, output_size)
        self.o2o = nn.Linear(hidden_size + output_size, output_size)
        self.dropout = nn.Dropout(0.0)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, category, input, hidden):
        ic = torch.cat((category, input, hidden), 1)
        hidden = self.i2h(ic)
        output = self.i2o(ic)
        oc = torch.cat((hidden, output), 1)
        return self.softmax(self.dropout(self.o2o(oc))), hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


g = GenRNN(n_letters, 16, n_letters)


def train(cat, line, target):
    target.unsqueeze_(-1)
    hidden = g.initHidden()
    g.zero_grad()
    loss = torch.Tensor([0])
    for i in range(line.size(0)):
        output, hidden = g(cat, line[i], hidden)
        l = nn.NLLLoss()(output, target[i])
        loss += l
    loss.backward()
    for p in g.parameters():
        p.data.add_(p.grad.data, alpha=-0.0005)
    return output, loss.item() / line.size(0)


for w, c in data[:3]:
    cat = torch.zeros(1, 3)
    cat[0][c] = 1
    print(train(cat, lineToTensor(w), torch.LongTensor([letterToIndex(ch) for ch in w[1:]] + [n_letters - 1]))[1])


class RNNModel(nn.Module):
    def __init__(self, rnn_type, ntoken, ninp, nhid, nlayers, dropout=0.0, tie_weights=False):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        if rnn_type in ["LSTM", "GRU"]:
            self.rnn = getattr(nn, rnn_type)(ninp, nhid, nlayers, dropout=dropout)
        else:
            self.rnn = nn.RNN(
                ninp, nhid, nlayers, nonlinearity={"RNN_TANH": "tanh", "RNN_RELU": "relu"}[rnn_type], dropout=dropout
            )
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        self.rnn_type = rnn_type
        self.nhid = nhid
        self.nlayers = nlayers

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        if self.rnn_type == "LSTM":
            return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))
        return weight.new_zeros(self.nlayers, bsz, self.nhid)


def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous()


corpus = torch.randint(0, 20, (400,)).type(torch.int64)
td = batchify(corpus, 4)
for rt in ("LSTM", "GRU", "RNN_TANH"):
    m = RNNModel(rt, 20, 16, 16, 2, tie_weights=True)
    hidden = m.init_hidden(4)
    lr = 2
    tot = 0
    for b, i in enumerate(range(0, td.size(0) - 1, 10)):
        sl = min(10, len(td) - 1 - i)
        d, t = td[i : i + sl], td[i + 1 : i + 1 + sl].view(-1)
        m.zero_grad()
        hidden = repackage_hidden(hidden)
        out, hidden = m(d, hidden)
        loss = nn.NLLLoss()(out, t)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 0.25)
        for p in m.parameters():
            p.data.add_(p.grad, alpha=-lr)
        tot += loss.item()
    print("| {:5d} batches | lr {:02.2f} | loss {:5.4f} | ppl {:8.2f}".format(b, lr, tot / b, math.exp(tot / b)))
    inp = torch.randint(20, (1, 1), dtype=torch.long)
    hid = m.init_hidden(1)
    ws = []
    with torch.no_grad():
        for i in range(10):
            o, hid = m(inp, hid)
            ww = o.squeeze().div(1.0).exp().cpu()
            wi = torch.multinomial(ww, 1)[0]
            inp.fill_(wi)
            ws.append(wi.item())
    print(ws)
# pack/pad, sentiment
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence, pack_sequence, unpad_sequence

seqs = [torch.randn(n, 3) for n in (5, 3, 4)]
lens = torch.tensor([5, 3, 4])
p = pad_sequence(seqs, batch_first=True)
print(p.shape)
pk = pack_padded_sequence(p, lens, batch_first=True, enforce_sorted=False)
print(pk.batch_sizes, pk.sorted_indices, pk.unsorted_indices, pk.data.shape)
lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
o, (h, c) = lstm(pk)
u, ul = pad_packed_sequence(o, batch_first=True)
print(u.shape, ul, u.sum(), h.sum())
print(
    torch.cat((h[-2], h[-1]), 1).shape,
    pack_sequence(seqs, enforce_sorted=False).batch_sizes,
    [s.shape for s in unpad_sequence(p, lens, batch_first=True)],
)
emb = nn.EmbeddingBag(50, 8, sparse=False)
fc = nn.Linear(8, 4)
text = torch.tensor([1, 2, 4, 5, 4, 3, 2, 9])
off = torch.tensor([0, 4])
print(fc(emb(text, off)))


class NGram(nn.Module):
    def __init__(self, v, e, c):
        super().__init__()
        self.embeddings = nn.Embedding(v, e)
        self.linear1 = nn.Linear(c * e, 128)
        self.linear2 = nn.Linear(128, v)

    def forward(self, inputs):
        embeds = self.embeddings(inputs).view((1, -1))
        return F.log_softmax(self.linear2(F.relu(self.linear1(embeds))), dim=1)


ng = NGram(20, 10, 2)
o = torch.optim.SGD(ng.parameters(), lr=0.01)
ls = []
for e in range(3):
    tl = 0
    for i in range(20):
        ng.zero_grad()
        l = nn.NLLLoss()(ng(torch.tensor([i, (i + 1) % 20])), torch.tensor([(i + 2) % 20]))
        l.backward()
        o.step()
        tl += l.item()
    ls.append(tl)
print(ls)
emb = nn.Embedding.from_pretrained(torch.arange(6.0).view(3, 2))
print(emb(torch.tensor([1])), emb.weight.requires_grad, nn.Embedding(3, 2, padding_idx=0).weight[0])

import torch, math
from torch import nn, Tensor
import torch.nn.functional as F
from torch.nn import TransformerEncoder, TransformerEncoderLayer

torch.manual_seed(0)


class TransformerModel(nn.Module):
    def __init__(self, ntoken: int, d_model: int, nhead: int, d_hid: int, nlayers: int, dropout: float = 0.5):
        super().__init__()
        self.model_type = "Transformer"
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        encoder_layers = TransformerEncoderLayer(d_model, nhead, d_hid, dropout)
        self.transformer_encoder = TransformerEncoder(encoder_layers, nlayers)
        self.embedding = nn.Embedding(ntoken, d_model)
        self.d_model = d_model
        self.linear = nn.Linear(d_model, ntoken)
        self.init_weights()

    def init_weights(self) -> None:
        initrange = 0.1
        self.embedding.weight.data.uniform_(-initrange, initrange)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-initrange, initrange)

    def forward(self, src: Tensor, src_mask: Tensor = None) -> Tensor:
        src = self.embedding(src) * math.sqrt(self.d_model)
        src = self.pos_encoder(src)
        if src_mask is None:
            src_mask = nn.Transformer.generate_square_subsequent_mask(len(src))
        return self.linear(self.transformer_encoder(src, src_mask))


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 5000):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pe[: x.size(0)]
        return self.dropout(x)


def batchify(data: Tensor, bsz: int) -> Tensor:
    seq_len = data.size(0) // bsz
    data = data[: seq_len * bsz]
    data = data.view(bsz, seq_len).t().contiguous()
    return data


train_data = batchify(torch.randint(0, 50, (1000,)), 10)


def get_batch(source, i):
    seq_len = min(8, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].reshape(-1)


model = TransformerModel(50, 20, 2, 20, 2, 0.0)
print(model)
criterion = nn.CrossEntropyLoss()
lr = 5.0
optimizer = torch.optim.SGD(model.parameters(), lr=lr)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1.0, gamma=0.95)
model.train()
for epoch in range(2):
    total = 0.0
    for batch, i in enumerate(range(0, train_data.size(0) - 1, 8)):
        data, targets = get_batch(train_data, i)
        output = model(data)
        loss = criterion(output.view(-1, 50), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        total += loss.item()
    print(
        f"| epoch {epoch} | lr {scheduler.get_last_lr()[0]:02.2f} | loss {total / batch:5.2f} | ppl {math.exp(total / batch):8.2f}"
    )
    scheduler.step()
model.eval()
with torch.no_grad():
    print(model(train_data[:5]).sum())
# Full nn.Transformer with masks
t = nn.Transformer(
    d_model=16, nhead=4, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=32, dropout=0.0, batch_first=True
)
src, tgt = torch.rand(2, 5, 16), torch.rand(2, 4, 16)
mask = t.generate_square_subsequent_mask(4)
print(mask)
pad = torch.tensor([[False] * 5, [False, False, False, True, True]])
out = t(src, tgt, tgt_mask=mask, src_key_padding_mask=pad, memory_key_padding_mask=pad)
print(out.shape, out[0, 0])
mha = nn.MultiheadAttention(16, 4, batch_first=True)
o, w = mha(src, src, src, key_padding_mask=pad)
print(o[0, 0, :4], w)
o, w = mha(src, src, src, need_weights=False)
print(w)
o, w = mha(tgt, src, src, average_attn_weights=False)
print(w.shape)
o, w = mha(tgt, tgt, tgt, attn_mask=mask)
print(w[0])
o, w = mha(tgt, tgt, tgt, attn_mask=torch.triu(torch.ones(4, 4, dtype=torch.bool), 1), is_causal=True)
print(w[0])
print(
    F.scaled_dot_product_attention(
        torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), torch.arange(24.0).reshape(1, 2, 3, 4), is_causal=True
    )
)
el = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", norm_first=True, batch_first=True, dropout=0.0)
print(el(src)[0, 0, :3])
el.eval()
print(el(src, src_key_padding_mask=pad)[0, 0, :3])
dl = nn.TransformerDecoder(
    nn.TransformerDecoderLayer(16, 4, 32, batch_first=True, activation=F.gelu), 2, norm=nn.LayerNorm(16)
)
dl.eval()
print(dl(tgt, src, tgt_mask=mask)[0, 0, :3])

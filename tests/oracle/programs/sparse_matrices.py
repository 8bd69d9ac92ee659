import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
i = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]])
s = torch.sparse_coo_tensor(i, torch.tensor([1.0, 2.0, 3.0, 4.0]), (2, 3))
print(s)
print(s.coalesce(), s.is_coalesced(), s.coalesce().indices(), s.coalesce().values(), s._nnz(), s._indices().shape)
print(s.t().to_dense(), (s * 2).to_dense(), (s + s).to_dense(), (-s / 2).to_dense(), s.shape, s.size(0), s.dtype)
print(
    s.sum(),
    torch.sparse.sum(s),
    torch.sparse.sum(s, dim=1).to_dense(),
    s.is_sparse,
    s.layout,
    s.sparse_dim(),
    s.dense_dim(),
)
print(torch.sparse.softmax(s.coalesce(), dim=1).to_dense(), torch.sparse.log_softmax(s.coalesce(), dim=0).values())
print(
    torch.eye(3).to_sparse(),
    torch.sparse_coo_tensor([[0, 1], [1, 1]], [3, 4]),
    torch.sparse_coo_tensor(size=(2, 3)).to_dense(),
)
dense = torch.randn(3, 2, requires_grad=True)
values = torch.randn(4, requires_grad=True)
a = torch.sparse_coo_tensor(i, values, (2, 3))
for product in (a @ dense, torch.sparse.mm(a, dense), torch.spmm(a, dense), a.matmul(dense)):
    print(product.detach())
print((torch.ones(4, 2) @ s).shape, torch.ones(4, 2) @ s.coalesce())
(a @ dense).pow(2).sum().backward()
print(values.grad, dense.grad)
a = torch.sparse_coo_tensor(i, values, (2, 3))
torch.sparse.addmm(torch.ones(2, 2), a, dense, beta=0.5, alpha=2).sum().backward()
print(values.grad)
for wrong in (
    lambda: s.indices(),
    lambda: torch.sparse_coo_tensor([[0, 1]], [1.0], (2,)),
    lambda: s @ torch.ones(2, 2),
):
    try:
        wrong()
    except RuntimeError as error:
        print("RuntimeError")


# Kipf and Welling's graph convolution, as their repository has it
def normalized(adjacency):
    adjacency = adjacency + torch.eye(adjacency.shape[0])
    return adjacency / adjacency.sum(1, keepdim=True)


def sparse_of(dense):
    indices = dense.nonzero().t()
    return torch.sparse.FloatTensor(indices, dense[indices[0], indices[1]], torch.Size(dense.shape))


class GraphConvolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, input, adj):
        return torch.spmm(adj, torch.mm(input, self.weight)) + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1, self.gc2 = GraphConvolution(5, 8), GraphConvolution(8, 3)

    def forward(self, x, adj):
        return F.log_softmax(self.gc2(F.relu(self.gc1(x, adj)), adj), dim=1)


adj = sparse_of(normalized((torch.rand(10, 10) < 0.3).float()))
features, labels = torch.randn(10, 5), torch.randint(0, 3, (10,))
model = GCN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=5e-4)
for _ in range(4):
    optimizer.zero_grad()
    loss = F.nll_loss(model(features, adj), labels)
    loss.backward()
    optimizer.step()
    print(loss.item())

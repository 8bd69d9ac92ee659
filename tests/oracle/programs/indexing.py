import torch, numpy as np

torch.manual_seed(0)
x = torch.arange(24).reshape(2, 3, 4)
f = torch.randn(3, 4)
for e in [
    "x[0]",
    "x[0, 1]",
    "x[0, 1, 2]",
    "x[:, 1]",
    "x[..., 0]",
    "x[..., -1]",
    "x[:, ::2]",
    "x[:, :, 1:3]",
    "x[None].shape",
    "x[:, None].shape",
    "x[[0, 1]]",
    "x[[0, 1], [1, 2]]",
    "x[torch.tensor([1, 0])]",
    "x[:, torch.tensor([0, 2])]",
    "x[x > 10]",
    "x[:, [True, False, True]]",
    "x[torch.tensor([True, False])]",
    "x[0][torch.tensor([0, 2])][:, 1]",
    "x[-1]",
    "x[1:, 1:, 1:]",
    "x[(0, 1)]",
    "x[0, [0, 2], 1:3]",
    "x[:, [0, 2], [1, 3]]",
    "x[torch.tensor([[0, 1], [1, 0]])].shape",
    "x[:, np.array([0, 1])]",
    "x[range(2)]",
    "x[torch.tensor(1)]",
    "x[x.sum((1, 2)) > 100]",
    "x.sum()",
    "x[..., None, 0].shape",
    "f[f.argmax(0), torch.arange(4)]",
    "f[torch.arange(3).unsqueeze(1), torch.tensor([[0, 1], [1, 2], [2, 3]])]",
    "x[True].shape",
    "x[False].shape",
    "f.gather(1, torch.tensor([[0], [1], [2]]))",
    "torch.gather(f, 0, torch.tensor([[0, 1, 2, 0]]))",
    "f.take(torch.tensor([0, 5]))",
    "torch.take_along_dim(f, f.argsort(1), 1)",
    "f.index_select(1, torch.tensor([3, 0]))",
    "torch.masked_select(f, f > 0)",
    "f.nonzero().shape",
    "(f > 0).nonzero(as_tuple=True)",
    "torch.where(f > 0)",
    "torch.where(f > 0, f, 0)",
    "torch.where(f > 0, 1.0, 0.0)",
    "torch.where(f > 0, f, torch.zeros(1))",
    "f.topk(2, dim=1)",
    "f.sort(dim=1, descending=True)",
    "f.argsort(dim=-1)",
    "f.max(dim=1)",
    "f.max(1, keepdim=True)[0]",
    "f.min(), f.argmin()",
    "f.kthvalue(2, 1)",
    "f.median(1)",
    "f.mode(1)",
    "f.unique()",
    "torch.unique(torch.tensor([1, 3, 1]), return_counts=True)",
    "torch.unique(torch.tensor([1, 3, 1]), return_inverse=True)",
    "torch.unique_consecutive(torch.tensor([1, 1, 2]))",
    "torch.bincount(torch.tensor([0, 1, 1]))",
    "torch.histc(f, 4, -1, 1)",
    "torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([2, 5]))",
    "torch.bucketize(torch.tensor([2, 5]), torch.tensor([1, 3, 5]), right=True)",
    "torch.cumsum(f, 1)",
    "f.cumprod(0)",
    "f.cummax(1)",
    "f.diff()",
    "f.flip(0, 1)",
    "f.roll(1, 0)",
    "f.rot90()",
    "f.tril()",
    "torch.triu(f, 1)",
    "f.diagonal()",
    "torch.diag(torch.tensor([1, 2]))",
    "torch.diag_embed(torch.tensor([[1, 2]]))",
    "torch.tril_indices(3, 3)",
    "torch.meshgrid(torch.arange(2), torch.arange(3), indexing='ij')",
    "torch.cartesian_prod(torch.arange(2), torch.arange(2))",
    "torch.einsum('ij,ij->i', f, f)",
    "torch.einsum('ij,kj->ik', f, f)",
    "torch.einsum('bij,bjk->bik', torch.ones(2, 2, 3), torch.ones(2, 3, 2))",
    "torch.einsum('ii->i', torch.ones(3, 3))",
    "torch.einsum('i,j->ij', f[0], f[1])",
    "torch.einsum('...ij->...ji', f).shape",
    "torch.einsum('nhwc,cd->nhwd', torch.ones(1, 2, 2, 3), torch.ones(3, 2)).shape",
    "torch.tensordot(f, f, dims=([1], [1]))",
    "torch.scatter(torch.zeros(3, 4), 1, torch.tensor([[0], [1], [2]]), 1.)",
    "torch.zeros(3, 4).scatter_add_(0, torch.tensor([[0, 0, 1, 2]]), torch.ones(1, 4))",
    "torch.zeros(3).scatter_reduce(0, torch.tensor([0, 0, 1]), torch.tensor([1., 2., 3.]), 'mean', include_self=False)",
    "torch.zeros(3, 2).index_add_(0, torch.tensor([0, 0]), torch.ones(2, 2))",
    "torch.zeros(3, 2).index_copy_(0, torch.tensor([1]), torch.ones(1, 2))",
    "torch.zeros(3).index_fill_(0, torch.tensor([1]), 5)",
    "torch.zeros(2, 3).masked_scatter_(torch.tensor([True, False, True]), torch.arange(4.))",
    "f.repeat(1, 2).shape",
    "f.repeat_interleave(2, 0).shape",
    "torch.repeat_interleave(torch.tensor([1, 2]), torch.tensor([2, 3]))",
    "f.expand(2, 3, 4).shape",
    "torch.tile(f, (2, 1)).shape",
    "f.unfold(1, 2, 1).shape",
    "f.view(-1, 2).shape",
    "f.t().contiguous().view(-1).shape",
    "f.permute(1, 0).is_contiguous()",
    "f.unsqueeze(0).squeeze().shape",
    "torch.stack([f, f], -1).shape",
    "torch.hstack([f, f]).shape",
    "torch.vstack((f, f)).shape",
    "torch.chunk(f, 2, 1)[0].shape",
    "torch.split(f, [1, 2])[1].shape",
    "f.movedim(0, 1).shape",
    "torch.block_diag(torch.ones(1, 1), torch.ones(2, 2))",
    "f.clamp(-0.5, 0.5)",
    "f.clip(min=0)",
    "torch.lerp(f, f * 2, 0.5)",
    "f.round(decimals=2)",
    "f.floor(), f.ceil(), f.trunc()",
    "f % 1",
    "f // 0.5",
    "torch.fmod(f, 1)",
    "-f ** 2",
    "(f > 0) & (f < 1)",
    "~(f > 0)",
    "(f > 0) | (f < -1)",
    "(f > 0) ^ (f < 1)",
    "torch.logical_and(f > 0, f < 1)",
    "f.isnan().any()",
    "torch.isclose(f, f + 1e-9).all()",
    "torch.allclose(f, f)",
    "f.eq(f).sum()",
    "f.std(), f.var(unbiased=False), f.std(dim=0, correction=0)",
    "f.norm(), f.norm(p=1), f.norm(dim=1), torch.linalg.norm(f), torch.linalg.vector_norm(f, 3), torch.linalg.matrix_norm(f)",
    "f.prod(), f.mean(0), f.sum(-1, keepdim=True)",
    "f.logsumexp(1), f.softmax(1).sum(1)",
    "f.abs().log10(), f.sign(), f.sigmoid()",
    "torch.quantile(f, 0.3), torch.quantile(f, torch.tensor([0.1, 0.9]), dim=1)",
    "torch.dist(f, f * 2), torch.cdist(f, f)",
    "torch.linalg.svd(f)[1], torch.linalg.matrix_rank(f), torch.pinverse(f).shape",
    "torch.linalg.solve(torch.eye(3) * 2, torch.ones(3))",
    "torch.linalg.inv(torch.tensor([[2., 1.], [1., 3.]]))",
    "torch.det(torch.tensor([[2., 1.], [1., 3.]])), torch.trace(f[:, :3]), torch.linalg.eigvalsh(torch.tensor([[2., 1.], [1., 3.]]))",
    "torch.linalg.cholesky(torch.tensor([[2., 1.], [1., 3.]]))",
    "torch.linalg.qr(f)[1].abs()",
    "torch.linalg.lstsq(f.T, torch.ones(4, 1)).solution",
    "torch.outer(f[0], f[1]), torch.dot(f[0], f[1]), torch.cross(f[:, :3], f[:, 1:], dim=1)",
    "torch.kron(torch.eye(2), torch.ones(1, 2))",
    "x.float().mean((1, 2)), x.double().std(), x.type(torch.int32).dtype, x.to(torch.float16).dtype, x.long().dtype, x.bool().sum(), x.byte().dtype",
    "torch.result_type(f, 1), torch.promote_types(torch.int32, torch.float16), torch.can_cast(torch.float, torch.int)",
    "torch.tensor([1, 2]) / 2, torch.tensor([1, 2]) // 2, torch.tensor([5]) % 3, torch.tensor([1]) + 1.5, torch.tensor([True]) + 1",
    "torch.tensor(1) == 1, torch.tensor([1.]) > 0, bool(torch.tensor(1))",
    "torch.rand(2, 3).shape, torch.randint(5, (2,)).dtype, torch.randperm(3).dtype, torch.empty(2).shape",
    "torch.as_tensor([1, 2]), torch.from_numpy(np.ones(2)), torch.asarray(np.arange(2))",
    "torch.linspace(0, 1, 3), torch.logspace(0, 1, 3), torch.arange(0, 1, 0.3), torch.arange(5, 0, -2)",
    "torch.complex64 if False else 1",
    "torch.iinfo(torch.int8).max, torch.finfo(torch.float32).tiny",
    "torch.nan_to_num(torch.tensor([float('nan'), float('inf')]))",
    "torch.cov(f).shape, torch.corrcoef(f)",
    "torch.cumulative_trapezoid(f[0]), torch.trapezoid(f[0])",
    "torch.atleast_2d(torch.tensor(1)).shape, torch.broadcast_shapes((2, 1), (3,)), torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))[0].shape",
    "torch.vander(torch.tensor([1, 2, 3]))",
    "torch.isin(torch.tensor([1, 2]), torch.tensor([2])), torch.count_nonzero(f)",
    "torch.erf(f[0]), torch.lgamma(f[0].abs()), torch.digamma(f[0].abs()), torch.special.expit(f[0])",
    "torch.bitwise_and(torch.tensor([3]), 1), torch.tensor([1]) << 2",
    "torch.addcmul(f, f, f, value=0.5)[0], torch.addmm(torch.ones(3, 3), f, f.T)[0], torch.baddbmm(torch.ones(1, 3, 3), f[None], f.T[None])[0, 0]",
    "[t.item() for t in f[0]]",
    "len(f), [r.sum().item() for r in f], f.tolist()[0][0] == f[0, 0].item(), 0.5 in torch.tensor([0.5]), list(torch.tensor([1, 2]))",
    "f.numpy().dtype, np.asarray(f).shape, np.mean(f.numpy()), f.detach().cpu().numpy().shape",
    "f.new_tensor([1]).dtype, torch.zeros_like(f).shape, torch.full_like(f, 2.).sum(), torch.ones_like(f, dtype=torch.long).dtype, torch.empty_like(f).shape",
    "str(f.dtype), str(f.shape), f'{f.shape}', f'{f[0, 0]:.3f}', f'{f[0, 0].item():.2e}'",
    "hash(torch.tensor(1)) is not None, torch.is_tensor(f), isinstance(f, torch.Tensor), isinstance(f, torch.FloatTensor), torch.numel(f)",
]:
    try:
        print(e, "->", eval(e))
    except Exception as ex:
        print(e, "!!", type(ex).__name__)
y = torch.zeros(3, 4)
y[0] = 1
y[:, 1] = torch.tensor([1.0, 2.0, 3.0])
y[y > 2] = -1
y[[0, 2], [3, 3]] = 9
y[1:, 2:] += 5
y[..., 0] *= 2
print(y)
y[torch.tensor([0, 1])] = torch.ones(2, 4) * 7
print(y)
y[:] = 0
y.fill_diagonal_(3)
print(y)
y[0, 0] = torch.tensor(2.0)
y[None, 1, 2] = 4
print(y)
y.index_put_((torch.tensor([0, 0]), torch.tensor([1, 1])), torch.tensor([1.0, 2.0]), accumulate=True)
print(y)
a = y.view(-1)
a[0] = 100
print(y[0, 0])
b = y.t()
b[3, 0] = -5
print(y)
y.masked_fill_(y < 0, 0)
y.clamp_(max=10)
print(y)
z = y.clone()
z.zero_()
print(z.sum(), y.sum())
x, y = torch.ones(2), torch.zeros(2)
x, y = y, x
print(x, y)
a = [torch.ones(1)] * 2
a[0] += 1
print(a)

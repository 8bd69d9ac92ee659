"""Functions and methods of tensors against PyTorch: values, dtypes, shapes, gradients, errors."""

import pytest

pytest.importorskip("torch")
from expressions import check

pytestmark = pytest.mark.oracle

SHAPE = """
x.view(4, 3); x.view(-1); x.view(2, -1); x.view(5, 2); x.view(-1, -1); x.t().view(-1); x.view(torch.int32)
x.view_as(y.t()); x.reshape(4, 3); x.reshape((2, 6)); x.t().reshape(-1); x.reshape(7); x.reshape(-1, 5)
z.permute(2, 0, 1); z.permute((0, -1, 1)); z.permute(0, 1); z.permute(0, 1, 1); z.permute(0, 1, 5)
z.transpose(0, -1); z.transpose(0, 3); x.t(); z.t(); v.t(); s.t(); x.T; z.mT; v.mT; torch.swapaxes(z, 0, 1)
z.movedim(0, -1); z.movedim((0, 1), (1, 0)); z.movedim(0, 5); z.squeeze(); e.squeeze(0); x[None].squeeze()
x[None].squeeze(0); x[None].squeeze(1); x[None, :, None].squeeze((0, 2)); x.squeeze(5); x.unsqueeze(0)
x.unsqueeze(-1); x.unsqueeze(3); x.unsqueeze(-4); s.unsqueeze(0); v.expand(3, 4); v.expand(3, -1); v.expand(-1, 4)
v.expand(5); x.expand(2, 3, 4); x.expand(4); v.expand_as(x); torch.broadcast_to(v, (2, 4)); z.flatten()
z.flatten(1); z.flatten(0, 1); z.flatten(-2); z.flatten(2, 1); s.flatten(); z.ravel(); x.unflatten(1, (2, 2))
x.unflatten(1, (2, -1)); x.unflatten(1, (3, 2)); x.chunk(2); x.chunk(2, 1); x.chunk(3, dim=1); x.chunk(0)
v.chunk(3); x.split(2); x.split([1, 2]); x.split([1, 1]); x.split(2, dim=1); x.split(0); s.split(1)
torch.split(x, 3, 1); torch.tensor_split(v, 3); torch.tensor_split(v, (1, 3)); torch.hsplit(x, 2)
torch.vsplit(x, 3); x.unbind(); x.unbind(1); s.unbind(); torch.unbind(e); x.narrow(0, 1, 2); x.narrow(1, -2, 2)
x.narrow(0, 2, 2); x.select(1, 2); x.select(0, -1); x.select(0, 3); s.select(0, 0); x.diagonal(); x.diagonal(1)
z.diagonal(-1, 1, 2); z.diagonal(0, 0, 0); v.diagonal(); v.unfold(0, 2, 1); x.unfold(1, 2, 2); x.unfold(1, 5, 1)
x.unfold(0, 2, 0); x.as_strided((2, 2), (1, 2)); x.as_strided((2, 2), (4, 1), 3); x.as_strided((5, 5), (4, 1))
x.contiguous(); x.t().contiguous(); x.t().is_contiguous(); x.t().stride(); z.permute(1, 2, 0).stride()
z[:, 1:].storage_offset(); z.stride(1); z.size(); z.size(0); z.size(-1); z.size(3); s.size(); z.dim(); z.numel()
z.nelement(); z.element_size(); z.nbytes; len(z); len(s); z.shape; z.shape[1:]; z.shape.numel(); z.ndim
x.is_contiguous(); torch.atleast_1d(s); torch.atleast_2d(v); torch.atleast_3d(x); torch.atleast_2d(s, v); x.type()
x.dtype; i.type(); x.itemsize; torch.cat([x, y]); torch.cat([x, y], 1); torch.cat((x, y), dim=-1); torch.cat([x, v])
torch.cat([]); torch.cat([x, i]); torch.cat([x, d]); torch.cat([x, z]); torch.cat([e[:0, 0], x]); torch.cat([s, s])
torch.cat([x, y], dim=2); torch.cat([x], axis=1); torch.concat([x, y]); torch.stack([x, y]); torch.stack([x, y], 1)
torch.stack([x, y], -1); torch.stack([x, v]); torch.stack([]); torch.stack([s, s]); torch.hstack([v, v])
torch.hstack([x, y]); torch.vstack([v, v]); torch.vstack([x, v]); torch.dstack([v, v])
torch.column_stack([v, x.t()]); torch.block_diag(x, v); torch.meshgrid(v, v, indexing='ij')
torch.meshgrid(v, k, indexing='xy'); torch.meshgrid(v, v[:3] + 9, indexing='xy')
torch.meshgrid(k, k[:2], k[1:4], indexing='xy'); torch.meshgrid(v, indexing='xy')
torch.cartesian_prod(k, k); torch.combinations(v)
torch.combinations(v, 3, with_replacement=True); torch.broadcast_tensors(x, v); torch.broadcast_tensors(x, z[:, :2])
torch.broadcast_shapes((3, 1), (4,)); x.repeat(2, 1); x.repeat(2, 1, 3); x.repeat(2); v.repeat(2, 2); x.repeat(0, 1)
x.tile(2); torch.tile(x, (2, 1, 2)); x.repeat_interleave(2); x.repeat_interleave(2, 0)
x.repeat_interleave(torch.tensor([1, 0, 2]), dim=0); torch.repeat_interleave(k)
torch.repeat_interleave(x, torch.tensor([1, 2]), dim=0); x.flip(0); x.flip(0, 1); x.flip([-1])
torch.flip(x, dims=(0,)); x.flip(0, 0); torch.fliplr(x); torch.flipud(x); x.roll(1); x.roll(1, 0)
x.roll((1, 2), (0, 1)); x.roll(-1, 1); x.rot90(); torch.rot90(x, 2); torch.rot90(z, -1, (1, 2))
torch.rot90(x, 1, (0, 0)); x.tril(); x.triu(1); z.tril(-1); v.tril(); torch.tril_indices(3, 4)
torch.triu_indices(3, 3, 1); torch.diag(v); torch.diag(x); torch.diag(v, 1); torch.diag(z); torch.diag_embed(x)
torch.diagflat(x); x.trace(); torch.trace(v); torch.vander(v); torch.vander(v, 2, True); torch.swapdims(x, 0, 1)
torch.moveaxis(z, 0, 2); torch.permute(x, (1, 0)); torch.permute(x, dims=(1, 0)); torch.squeeze(x[None], dim=0)
torch.unsqueeze(x, dim=1); torch.transpose(x, dim0=0, dim1=1); torch.flatten(z, start_dim=1)
torch.reshape(x, shape=(4, 3)); torch.narrow(x, 1, 0, 2); x.ndimension(); x.sum().item()
"""

CHOICE = """
x.gather(0, j[:2]); x.gather(1, j); x.gather(1, j[:, :2]); x.gather(0, j + 5); x.gather(0, k)
torch.gather(x, 1, index=j); x.gather(0, x); x.scatter(0, j, y); x.scatter(0, j[:1], 2.0)
x.scatter(1, j[:, :1], value=3); x.scatter(0, j, d); x.scatter(0, torch.tensor([[0, 1, 2, 0]]), y, reduce='add')
x.scatter_add(0, j, y); x.scatter_add(1, j, y); x.scatter_add(0, j[:2], y[:2]); x.scatter_reduce(0, j, y, 'sum')
x.scatter_reduce(0, j, y, 'mean'); x.scatter_reduce(0, j, y, 'amax', include_self=False)
x.scatter_reduce(0, j, y, 'amin'); x.scatter_reduce(1, j, y, 'mean', include_self=False)
x.scatter_reduce(0, j, y, 'other'); x.index_select(0, k); x.index_select(1, k); x.index_select(0, k + 3)
x.index_select(0, j); x.index_select(0, s); x.index_add(0, k[:2], y[:2]); x.index_add(0, k[:2], y[:2], alpha=2)
x.index_add(1, torch.tensor([0, 0]), y[:, :2]); x.index_add(0, k, y); x.index_copy(0, torch.tensor([2, 0]), y[:2])
x.index_fill(0, torch.tensor([0, 2]), 5.0); x.index_fill(1, torch.tensor([1]), s.detach())
x.index_put((k[:2],), y[:2])
torch.index_put(x, (torch.tensor([0, 1]), torch.tensor([1, 2])), v[:2], accumulate=True); torch.take(x, j)
x.take(torch.tensor([0, -1])); x.take(torch.tensor([12])); x.put(torch.tensor([0, 5]), v[:2])
x.take_along_dim(j, 1); torch.take_along_dim(x, torch.tensor([[0], [1], [2]]), dim=1); torch.take_along_dim(x, j)
x.masked_fill(b, 0); x.masked_fill(b, -float('inf')); x.masked_fill(b, s); x.masked_fill(b[0], 1.5)
x.masked_fill(i, 0); i.masked_fill(b, 7); x.masked_fill(b, v); x.masked_select(b); x.masked_select(b[0])
torch.masked_select(x, x > 0); x.masked_scatter(b, y); x.masked_scatter(b, v[:1]); v.masked_scatter(b, y)
s.masked_scatter(b, y); i.masked_fill(b, 1.7); b.masked_fill(b, 0); x.index_fill(1, torch.tensor([0, 2, 2]), s)
torch.where(b, x, y)
torch.where(b, x, 0.0); torch.where(b, 1, 0); torch.where(b, 1.0, x); torch.where(b, i, x); torch.where(b)
torch.where(x > 0, x, v); x.where(b, y); torch.where(i, x, y); torch.where(b, x, d); torch.where(b, 1, 2.5)
x.nonzero(); b.nonzero(); torch.nonzero(b, as_tuple=True); s.nonzero(); torch.argwhere(b); torch.count_nonzero(b)
torch.count_nonzero(p, dim=0); x.select_scatter(v, 0, 1); x.slice_scatter(y[:2], 0, 1); x.diagonal_scatter(v[:3])
torch.nn.functional.one_hot(k); torch.nn.functional.one_hot(k, 5); torch.nn.functional.one_hot(k, 2)
torch.nn.functional.one_hot(i); x.sort(); x.sort(0, True); x.sort(dim=1, descending=True); p.sort(stable=True)
n.sort(); n.sort(descending=True); s.sort(); x.sort(2); x.argsort(); x.argsort(0, descending=True)
torch.argsort(x, dim=1); x.topk(2); x.topk(2, 0); x.topk(2, largest=False); x.topk(5); x.topk(0); s.topk(1)
torch.topk(x, k=1, dim=1); x.kthvalue(2); x.kthvalue(1, 0, True); x.kthvalue(0); x.median(); x.median(0)
x.median(1, keepdim=True); p.median(); n.median(); n.nanmedian(); torch.median(i, dim=1); p.mode(); p.mode(0)
x.quantile(0.5); x.quantile(torch.tensor([0.1, 0.6])); x.quantile(0.25, dim=1); x.quantile(0.3, 0, True)
x.quantile(0.3, interpolation='nearest'); s.quantile(0.5, dim=0, keepdim=True); v[:1].unique_consecutive()
u.all(); u.any(1); i.logsumexp(0); i.cov(); i.corrcoef(); x[:1, :2].cov(); x.quantile(2.0); p.unique()
p.unique(return_inverse=True)
p.unique(return_counts=True); p.unique(dim=0); p.unique(return_inverse=True, return_counts=True, dim=1); i.unique()
b.unique(); torch.unique_consecutive(p); p.unique_consecutive(return_counts=True, return_inverse=True); k.bincount()
k.bincount(minlength=7); torch.bincount(k, weights=torch.ones(5)); i.bincount(); p.histc(4, 0, 4)
torch.searchsorted(torch.tensor([1.0, 2.0, 3.0]), x.detach())
torch.bucketize(x.detach(), torch.tensor([-1.0, 0.0, 1.0]), right=True); torch.isin(i, torch.tensor([1, 2]))
torch.msort(x); x.equal(x); x.equal(y); torch.equal(x, v); torch.allclose(x, x + 1e-9); torch.allclose(x, y)
torch.isclose(x, y, atol=1.0); torch.isclose(n, n, equal_nan=True); torch.isclose(x, d)
"""

POINTWISE = """
torch.diff(x); x.diff(dim=0, n=2); torch.diff(v, append=v[:1]); torch.cross(x[:, :3], y[:, :3], dim=1)
torch.cross(x, y, dim=1); torch.inner(x, y); torch.inner(v, v); torch.inner(x, s); torch.kron(x, v)
torch.kron(x, y); torch.linalg.norm(x)
torch.linalg.norm(x, 1); torch.linalg.norm(v, 3); torch.linalg.vector_norm(x, dim=1); torch.linalg.matrix_norm(z)
torch.linalg.matrix_power(x[:, :3], 3); torch.linalg.multi_dot([x, x.t(), y])
x + y; x + 1; 1 + x; x - y; 2 - x; x * y; x / y; 1 / x; x // y; x % y; x ** 2; 2 ** x; x.abs() ** y; -x; +x; abs(x)
~b; ~i; -b; b - b; b + b; i / 2; i // 2; i % 3; i ** 2; x + i; i + 1.5; i + True; b + 1; b * x; x + d; s + d; d * s
i + s; u + i; u + 1; u - 200; u * 2; x + v; x + z; x + torch.ones(3); i & 3; i | j; i ^ j; j << 2; j >> 1; b & b
b | ~b; b ^ b; x == y; x != y; x < y; x <= 0; x > y; 0 >= x; x == 'a'; x == None; x != None; x + 'a'; x + None
x < 'a'; i == i; b == 1; x + np.float32(1); np.float64(2) * x; x.detach() * np.ones(4, np.float32); torch.add(x, y)
torch.add(x, y, alpha=2); torch.add(x, 2); x.add(y, alpha=-1); torch.sub(x, y, alpha=3); torch.mul(x, 2)
torch.div(x.detach(), y.detach(), rounding_mode='floor'); torch.div(i, 2, rounding_mode='trunc')
torch.div(x, y, rounding_mode='bad'); x.pow(2); x.pow(0.5); torch.pow(2, x); x.abs().pow(y); i.pow(-1)
x.float_power(2); x.neg(); x.reciprocal(); x.abs(); x.sign(); x.floor(); x.ceil(); x.round(); x.trunc(); x.frac()
x.round(decimals=1); torch.clamp(x, 0); x.clamp(min=0); x.clamp(max=0.5); x.clamp(-0.5, 0.5); x.clamp(y, y + 1)
x.clamp(); x.clip(0, 1); x.clamp_min(0); x.maximum(y); torch.minimum(x, y); x.fmax(y); n.nan_to_num()
n.nan_to_num(1, 2, 3); n.isnan(); n.isinf(); n.isfinite(); x.exp(); x.log(); x.abs().log(); x.log1p(); x.expm1()
x.sqrt(); x.rsqrt(); x.square(); x.sin(); x.cos(); x.tan(); x.tanh(); x.sigmoid(); x.relu(); x.asin(); x.acos()
x.atan(); x.atan2(y); x.sinh(); x.cosh(); x.erf(); x.erfc(); x.abs().lgamma(); x.logaddexp(y); x.hypot(y)
x.lerp(y, 0.3); x.addcmul(y, y, value=2); x.addcdiv(y, y, value=0.5); x.softmax(1); x.log_softmax(0)
torch.softmax(x, dim=-1); torch.relu(x); torch.sigmoid(i); torch.exp(i); torch.sqrt(j); torch.logical_and(x, b)
torch.logical_not(b); x.logical_or(i); x.fmod(y); x.remainder(2); i.remainder(-3); i.fmod(-3)
torch.floor_divide(x, y); torch.copysign(x, y); x.deg2rad(); torch.heaviside(x, s); torch.gcd(i, j)
x.xlogy(y.abs()); x.exp2(); x.log2(); x.log10(); x.mul(other=y); torch.mul(input=x, other=y); torch.exp(input=x)
torch.abs(i); torch.exp('a'); torch.add(1, 2); torch.mul(x, 'a'); x.exp(2); torch.logit(x.sigmoid())
torch.true_divide(i, 2); torch.square(i); torch.sign(i); torch.relu(i); torch.lerp(x, y, y); torch.rsub(x, 1)
torch.dist(x, y); d.angle(); x.diff(n=0, append=y); torch.norm(x, 'nuc'); torch.norm(x * 0, 3)
torch.nn.functional.cosine_similarity(x[None], y[:, None], dim=-2); torch.nn.functional.pairwise_distance(x, y)
torch.nn.functional.pad(z[None], (-1, 1, -2, 1), mode='circular')
torch.nn.functional.gaussian_nll_loss(x, y, y[:1].abs() + 1); torch.nn.functional.gaussian_nll_loss(x, y, y[:2].abs())
"""

CONVERSION = """
x.double(); x.half(); x.long(); x.int(); x.short(); x.char(); x.bool(); i.float(); i.to(torch.float64); x.to('cpu')
x.to(torch.device('cpu'), torch.float64); x.to(d); x.to(dtype=torch.float16); x.type(torch.int32)
x.type('torch.DoubleTensor'); x.type_as(i); x.bfloat16(); x.bfloat16().float(); x.tolist(); s.item(); x.item()
i.tolist(); b[0, 0].item(); float(s); int(s); bool(s); bool(x); bool(e); float(x); int(i[0, 0]); [1, 2, 3][k[0]]
x.numpy().sum() is not None; x.detach().numpy().shape; x.clone(); x.cpu(); x.data; x.detach(); x.is_floating_point()
i.is_floating_point(); x.is_complex(); torch.is_tensor(x); torch.is_floating_point(x); torch.numel(x); 1.5 in x
i[0, 0] in i; 'a' in x; list(v); list(s); x.device; x.is_leaf; x.requires_grad; x.grad is None; f'{s:.3f}'
'{:d}'.format(i[0, 0]); f'{x:.2f}'; torch.typename(x); x.new_tensor([1, 2]); x.new_zeros(2, 3); i.new_ones((2,))
x.new_full((2, 2), 3); x.new_empty(0); x.cuda(); torch.result_type(x, i); torch.result_type(i, 1.5)
torch.promote_types(torch.int32, torch.float16); torch.can_cast(torch.float32, torch.int32)
torch.finfo(torch.float32).eps; torch.iinfo(torch.int8).max; np.asarray(x.detach()).shape; np.sin(x.detach())
np.ones(4) + v.detach().numpy(); torch.from_numpy(np.arange(3)); torch.as_tensor(np.arange(3.0))
torch.as_tensor([1, 2]); torch.asarray([1.0]); int(torch.tensor(2.7)); round(float(s), 2)
"""

CREATION = """
torch.tensor([1, 2]); torch.tensor([1.0, 2]); torch.tensor([True, False]); torch.tensor([[1, 2], [3, 4]])
torch.tensor([]); torch.tensor(3); torch.tensor(3.5); torch.tensor([1, 2], dtype=torch.float64)
torch.tensor([[1, 2], [3]]); torch.tensor('a'); torch.tensor(None); torch.tensor([None]); torch.tensor([1, 'a'])
torch.tensor([2**63]); torch.tensor(np.arange(3)); torch.tensor(np.float64(2)); torch.tensor([np.float64(2)])
torch.tensor([s, s]); torch.tensor([x, x]); torch.tensor((1, 2)); torch.tensor([[[]]])
torch.tensor([1.5], dtype=torch.int64); torch.tensor([1, 2.5, True]); torch.tensor(range(3)); torch.tensor([1e40])
torch.tensor(True); torch.tensor([0, 1], dtype=torch.bool); torch.tensor({1: 2}); torch.Tensor([1, 2])
torch.Tensor(2, 3).shape; torch.Tensor([[1, 2], [3, 4]]); torch.Tensor(); torch.Tensor(2.5); torch.Tensor((2, 3))
torch.Tensor(np.ones(2)); torch.LongTensor([1, 2]); torch.FloatTensor(2, 3).shape; torch.BoolTensor([1, 0])
torch.zeros(2, 3); torch.zeros((2, 3)); torch.zeros([2]); torch.zeros(2, dtype=torch.int64); torch.zeros(())
torch.zeros(2, 3.0); torch.zeros(-1); torch.zeros(); torch.ones(2, 3); torch.ones(size=(2,)); torch.full((2, 3), 7)
torch.full((2,), 1.5); torch.full((2,), True); torch.full((2,), 1, dtype=torch.float32); torch.empty(2, 3).shape
torch.eye(3); torch.eye(2, 3); torch.arange(5); torch.arange(2, 8, 3); torch.arange(0, 1, 0.25); torch.arange(5.0)
torch.arange(5, 0, -2); torch.arange(5, 0); torch.arange(0, 5, 0); torch.arange(1, 2, 0.1)
torch.arange(-0.9, 2.1, 2.0, dtype=torch.int64); torch.arange(0, -8.01, -4.0, dtype=torch.int64)
torch.linspace(4.3, -3, 9, dtype=torch.int64); torch.logspace(0, 1.2, 4, dtype=torch.int64)
torch.arange(3, dtype=torch.float64); torch.arange(start=1, end=4); torch.arange(end=3); torch.arange(1, 6, step=2)
torch.linspace(0, 1, 5); torch.linspace(-3, 10, 7); torch.linspace(0, 10, 5, dtype=torch.int64)
torch.linspace(0, 1, 1); torch.linspace(0, 1, 0); torch.linspace(0, 1, steps=4, dtype=torch.float64)
torch.logspace(0, 2, 3); torch.logspace(0, 3, 4, base=2); torch.zeros_like(x); torch.ones_like(i)
torch.full_like(x, 2); torch.empty_like(x).shape; torch.zeros_like(x, dtype=torch.int64); torch.rand_like(x).shape
torch.zeros(2, device='cpu'); torch.zeros(2, device=torch.device('cpu')); torch.zeros(2, device='cuda')
torch.zeros(2, requires_grad=True).requires_grad; torch.zeros(2, dtype=torch.int64, requires_grad=True)
torch.device('cpu'); torch.device('cuda:1'); torch.device('cuda', 1); torch.device('foo')
torch.device('cpu') == torch.device('cpu'); str(torch.device('cuda:0')); torch.from_numpy([1])
torch.from_numpy(np.array(['a'])); torch.scalar_tensor(3); torch.tensor([1, 2]).dtype; torch.get_default_dtype()
torch.empty(2, 0).shape; torch.zeros(torch.Size([2, 3])); torch.zeros(torch.tensor(2)); torch.ones(np.int64(2))
torch.tensor(5).shape; torch.arange(10).sum(); torch.range(1, 4)
"""

IN_PLACE = """
r = x.clone(); r.add_(y); | r = x.clone(); r += 1 | r = x.clone(); r *= y | r = x.clone(); r -= y
r = x.clone(); r /= 2 | r = x.clone(); r **= 2 | r = i.clone(); r += 1.5 | r = i.clone(); r /= 2
r = i.clone(); r //= 2 | r = x.clone(); r.mul_(2).sub_(y).div_(3) | r = x.clone(); r.add_(y, alpha=2)
r = x.clone(); r.clamp_(0, 1) | r = x.clone(); r.exp_() | r = x.clone(); r.zero_() | r = x.clone(); r.fill_(3)
r = x.clone(); r.fill_(s) | r = x.clone(); r.copy_(y) | r = x.clone(); r.copy_(v) | r = x.clone(); r.copy_(i)
r = i.clone(); r.copy_(x) | r = x.clone(); r.copy_(z) | r = x.clone(); r.relu_() | r = x.clone(); r.neg_().abs_()
r = x.clone(); r.add_(z) | r = v.clone(); r.add_(x) | r = x.clone(); r.masked_fill_(b, 9)
r = x.clone(); r.scatter_(0, j, 2.0) | r = x.clone(); r.scatter_add_(0, j, y)
r = x.clone(); r.index_add_(0, torch.tensor([0, 0]), y[:2]) | r = x.clone(); r.index_fill_(0, torch.tensor([1]), 7)
r = x.clone(); r.index_copy_(0, torch.tensor([1]), y[:1]) | r = x.clone(); r.squeeze_()
r = x.clone(); r.unsqueeze_(0) | r = x.clone(); r.t_() | r = x.clone(); r.transpose_(0, 1)
r = x.clone(); r[0].fill_(1) | r = x.clone(); r[1:3].mul_(2) | r = x.clone(); r.view(-1)[::2] += 1
r = x.clone(); r.t()[1] = 0 | r = x.clone(); r.diagonal().zero_() | r = x.clone(); r.tril_()
r = x.clone(); r.fill_diagonal_(2) | r = x.clone(); r.data.add_(1) | r = x.clone(); r.data = y
r = x.clone(); r.pow_(2) | r = x.clone(); r.floor_() | r = x.clone(); r.lerp_(y, 0.5)
r = x.clone(); r.addcmul_(y, y) | r = x.clone(); torch.add(x, y, out=r) | r = torch.empty(0); torch.add(x, y, out=r)
r = x.clone(); torch.exp(y, out=r) | r = i.clone(); torch.add(x, y, out=r) | r = x.clone(); r.masked_scatter_(b, y)
r = x.clone(); r.put_(torch.tensor([1]), v[:1]) | r = x.clone(); r.index_put_((torch.tensor([0]),), v)
r = x.clone(); r.resize_(2, 2) | r = x.clone(); r.expand(3, 4).add_(1) | r = v.clone(); r.expand(3, 4).add_(1)
"""


def cases(table):
    return [c.strip() for line in table.strip().split("\n") for c in line.split(";") if c.strip()]


def statements(table):
    return [c.strip() for line in table.strip().split("\n") for c in line.split("|") if c.strip()]


@pytest.mark.parametrize("text", cases(SHAPE + CHOICE + POINTWISE + CONVERSION + CREATION))
def test_value(text):
    check(text)


@pytest.mark.parametrize("text", cases(SHAPE + CHOICE + POINTWISE))
def test_gradient(text):
    check(text.replace("i.", "i.clone().").replace("s.detach()", "s.detach()"), gradients=True, tolerance=1e-4)


@pytest.mark.parametrize("text", statements(IN_PLACE))
def test_in_place(text):
    check(text)


@pytest.mark.parametrize(
    "text", [t for t in statements(IN_PLACE) if "out=" not in t and ".data" not in t and "resize" not in t]
)
def test_gradient_in_place(text):
    check(text + "; r = r * r if r.is_floating_point() else r", gradients=True, tolerance=1e-4)

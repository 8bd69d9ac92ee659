"""Mistakes that beginners make: they raise where PyTorch raises, an error that PyTorch's `except` clauses catch."""

import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def wrong_in_features(t):
    return t.nn.Sequential(t.nn.Linear(4, 3), t.nn.ReLU(), t.nn.Linear(5, 2))(t.ones(2, 4))


@case
def conv_channels_last(t):
    return t.nn.Conv2d(3, 8, 3)(t.ones(2, 28, 28, 3))


@case
def conv_missing_dims(t):
    return t.nn.Conv2d(3, 8, 3)(t.ones(28, 28))


@case
def conv_kernel_too_big(t):
    return t.nn.Conv2d(1, 1, 5)(t.ones(1, 1, 3, 3))


@case
def flatten_linear_mismatch(t):
    return t.nn.Sequential(t.nn.Flatten(), t.nn.Linear(784, 10))(t.ones(2, 1, 32, 32))


@case
def batchnorm_wrong_channels(t):
    return t.nn.BatchNorm2d(3)(t.ones(2, 4, 5, 5))


@case
def batchnorm_wrong_ndim(t):
    return t.nn.BatchNorm2d(3)(t.ones(2, 3))


@case
def batchnorm_one_value(t):
    return t.nn.BatchNorm1d(3)(t.ones(1, 3))


@case
def ce_float_labels(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0.0, 1.0]))


@case
def ce_int32_labels(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, 1], dtype=t.int32))


@case
def ce_class_out_of_range(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, 3]))


@case
def ce_negative_class(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, -1]))


@case
def ce_batch_mismatch(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, 1, 2]))


@case
def ce_onehot_long(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([[0, 1, 0], [1, 0, 0]]))


@case
def ce_target_2d(t):
    return t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([[0], [1]]))


@case
def nll_no_batch(t):
    return t.nn.NLLLoss()(t.ones(2, 3), t.ones(2, 3))


@case
def bce_out_of_range(t):
    return t.nn.BCELoss()(t.tensor([1.5]), t.tensor([1.0]))


@case
def bce_shape(t):
    return t.nn.BCELoss()(t.ones(2, 1), t.ones(2))


@case
def bce_long_target(t):
    return t.nn.BCELoss()(t.ones(2), t.ones(2, dtype=t.long))


@case
def bcel_shape(t):
    return t.nn.BCEWithLogitsLoss()(t.ones(2, 1), t.ones(2))


@case
def mse_int_only(t):
    return t.nn.MSELoss()(t.ones(2, dtype=t.long), t.ones(2, dtype=t.long))


@case
def mse_shapes(t):
    return t.nn.MSELoss()(t.ones(2, 3), t.ones(4))


@case
def embedding_float(t):
    return t.nn.Embedding(3, 2)(t.ones(2))


@case
def embedding_range(t):
    return t.nn.Embedding(3, 2)(t.tensor([3]))


@case
def dtype_double_input(t):
    return t.nn.Linear(2, 2)(t.ones(2, 2, dtype=t.float64))


@case
def dtype_int_input(t):
    return t.nn.Linear(2, 2)(t.ones(2, 2, dtype=t.long))


@case
def conv_byte_input(t):
    return t.nn.Conv2d(1, 1, 1)(t.ones(1, 1, 2, 2, dtype=t.uint8))


@case
def matmul_shapes(t):
    return t.ones(2, 3) @ t.ones(2, 3)


@case
def matmul_dtypes(t):
    return t.ones(2, 2) @ t.ones(2, 2, dtype=t.float64)


@case
def mm_needs_2d(t):
    return t.mm(t.ones(2), t.ones(2, 2))


@case
def bmm_needs_3d(t):
    return t.bmm(t.ones(2, 2), t.ones(2, 2))


@case
def dot_2d(t):
    return t.dot(t.ones(2, 2), t.ones(2))


@case
def broadcast(t):
    return t.ones(2, 3) + t.ones(2, 4)


@case
def cat_shapes(t):
    return t.cat([t.ones(2, 3), t.ones(3, 2)])


@case
def cat_numbers(t):
    return t.cat([1, 2])


@case
def stack_shapes(t):
    return t.stack([t.ones(2), t.ones(3)])


@case
def view_size(t):
    return t.ones(2, 3).view(4)


@case
def view_noncontig(t):
    return t.ones(2, 3).t().view(6)


@case
def reshape_minus(t):
    return t.ones(5).reshape(2, -1)


@case
def index_range(t):
    return t.ones(3)[3]


@case
def index_many(t):
    return t.ones(3)[0, 0]


@case
def index_float(t):
    return t.ones(3)[1.0]


@case
def index_bool_mismatch(t):
    return t.ones(3)[t.tensor([True, False])]


@case
def index_list_range(t):
    return t.ones(3)[[0, 5]]


@case
def dim_range(t):
    return t.ones(2, 2).sum(2)


@case
def squeeze_dim(t):
    return t.ones(2).unsqueeze(3)


@case
def item_many(t):
    return t.ones(2).item()


@case
def bool_many(t):
    return bool(t.ones(2) > 0)


@case
def float_many(t):
    return float(t.ones(2))


@case
def inplace_leaf(t):
    x = t.ones(2, requires_grad=True)
    x += 1


@case
def inplace_leaf_method(t):
    x = t.ones(2, requires_grad=True)
    x.add_(1)


@case
def inplace_leaf_index(t):
    x = t.ones(2, requires_grad=True)
    x[0] = 1


@case
def inplace_saved(t):
    x = t.ones(2, requires_grad=True)
    y = x.exp()
    y += 1
    y.sum().backward()


@case
def backward_twice(t):
    x = t.ones(2, requires_grad=True)
    y = (x**2).sum()
    y.backward()
    y.backward()


@case
def backward_nonscalar(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).backward()


@case
def backward_nograd(t):
    t.ones(1).backward()


@case
def backward_shape(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).backward(t.ones(3))


@case
def numpy_grad(t):
    return t.ones(2, requires_grad=True).numpy()


@case
def np_asarray_grad(t):
    return np.asarray(t.ones(2, requires_grad=True))


@case
def requires_grad_int(t):
    return t.tensor([1], requires_grad=True)


@case
def requires_grad_nonleaf(t):
    x = t.ones(1, requires_grad=True) * 2
    x.requires_grad = False


@case
def forgot_super(t):
    class N(t.nn.Module):
        def __init__(self):
            self.l = t.nn.Linear(1, 1)

    return N()


@case
def forgot_super_param(t):
    class N(t.nn.Module):
        def __init__(self):
            self.p = t.nn.Parameter(t.ones(1))

    return N()


@case
def forgot_forward(t):
    class N(t.nn.Module):
        pass

    return N()(t.ones(1))


@case
def misspelled_attr(t):
    class N(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = t.nn.Linear(1, 1)

        def forward(self, x):
            return self.fc(x)

    return N()(t.ones(1))


@case
def list_of_modules(t):
    class N(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.ls = [t.nn.Linear(1, 1)]

    return t.optim.SGD(N().parameters(), lr=0.1)


@case
def assign_tensor_to_param(t):
    l = t.nn.Linear(1, 1)
    l.weight = t.ones(1, 1)


@case
def assign_module_str(t):
    l = t.nn.Sequential(t.nn.Linear(1, 1), "relu")


@case
def sequential_class(t):
    return t.nn.Sequential(t.nn.Linear(1, 1), t.nn.ReLU)


@case
def module_class_called(t):
    return t.nn.ReLU(t.ones(2))(t.ones(2))


@case
def optim_no_lr_neg(t):
    return t.optim.SGD([t.nn.Parameter(t.ones(1))], lr=-1)


@case
def optim_tensor(t):
    return t.optim.SGD(t.ones(1), lr=0.1)


@case
def optim_generator_module(t):
    return t.optim.SGD(t.nn.Linear(1, 1), lr=0.1)


@case
def optim_nonleaf(t):
    return t.optim.SGD([t.ones(1, requires_grad=True) * 2], lr=0.1)


@case
def optim_ints(t):
    return t.optim.Adam([1, 2])


@case
def sched_not_optim(t):
    return t.optim.lr_scheduler.StepLR(t.nn.Linear(1, 1), 1)


@case
def state_shape(t):
    l = t.nn.Linear(1, 1)
    l.load_state_dict({"weight": t.ones(2, 1), "bias": t.ones(1)})


@case
def state_missing(t):
    t.nn.Linear(1, 1).load_state_dict({"weight": t.ones(1, 1)})


@case
def state_notdict(t):
    t.nn.Linear(1, 1).load_state_dict(t.nn.Linear(1, 1))


@case
def load_missing_file(t):
    return t.load("/nonexistent.pt")


@case
def to_cuda(t):
    return t.ones(1).to("cuda")


@case
def cuda_call(t):
    return t.ones(1).cuda()


@case
def module_cuda(t):
    return t.nn.Linear(1, 1).cuda()


@case
def device_bad(t):
    return t.device("gpu")


@case
def tensor_ragged(t):
    return t.tensor([[1, 2], [3]])


@case
def tensor_str(t):
    return t.tensor("abc")


@case
def tensor_of_tensors(t):
    return t.tensor([t.ones(2), t.ones(2)])


@case
def from_numpy_list(t):
    return t.from_numpy([1, 2])


@case
def from_numpy_str(t):
    return t.from_numpy(np.array(["a"]))


@case
def mean_int(t):
    return t.tensor([1, 2]).mean()


@case
def softmax_int(t):
    return t.softmax(t.tensor([1, 2]), 0)


@case
def pool_too_big(t):
    return t.nn.MaxPool2d(4)(t.ones(1, 1, 2, 2))


@case
def pool_pad(t):
    return t.nn.MaxPool2d(2, padding=2)(t.ones(1, 1, 4, 4))


@case
def lstm_input_size(t):
    return t.nn.LSTM(3, 4)(t.ones(5, 2, 2))


@case
def lstm_hidden(t):
    return t.nn.LSTM(3, 4)(t.ones(5, 2, 3), (t.zeros(1, 3, 4), t.zeros(1, 3, 4)))


@case
def lstm_4d(t):
    return t.nn.LSTM(3, 4)(t.ones(5, 2, 3, 1))


@case
def gru_tuple(t):
    return t.nn.GRU(3, 4)(t.ones(5, 2, 3), (t.zeros(1, 2, 4), t.zeros(1, 2, 4)))


@case
def layernorm_shape(t):
    return t.nn.LayerNorm(4)(t.ones(2, 3))


@case
def groupnorm_div(t):
    return t.nn.GroupNorm(3, 4)


@case
def dropout_p(t):
    return t.nn.Dropout(1.5)


@case
def conv_groups(t):
    return t.nn.Conv2d(3, 4, 1, groups=2)


@case
def one_hot_float(t):
    return t.nn.functional.one_hot(t.ones(2))


@case
def one_hot_neg(t):
    return t.nn.functional.one_hot(t.tensor([-1]))


@case
def scatter_range(t):
    return t.zeros(2, 2).scatter_(1, t.tensor([[5]]), 1.0)


@case
def transpose_range(t):
    return t.ones(2, 2).transpose(0, 2)


@case
def permute_few(t):
    return t.ones(2, 2, 2).permute(0, 1)


@case
def expand_bad(t):
    return t.ones(2).expand(3, 3)


@case
def einsum_bad(t):
    return t.einsum("ij,jk->ik", t.ones(2, 3), t.ones(2, 3))


@case
def chunk_zero(t):
    return t.ones(2).chunk(0)


@case
def arange_bad(t):
    return t.arange(5, 0)


@case
def randint_bad(t):
    return t.randint(5, 2, (3,))


@case
def randperm_neg(t):
    return t.randperm(-1)


@case
def multinomial_neg(t):
    return t.multinomial(t.tensor([-1.0, 2.0]), 1)


@case
def dataloader_batch0(t):
    return t.utils.data.DataLoader([1], batch_size=0)


@case
def dataloader_shuffle_sampler(t):
    return t.utils.data.DataLoader([1], shuffle=True, sampler=[0])


@case
def dataloader_collate(t):
    return list(t.utils.data.DataLoader([t.ones(2), t.ones(3)], batch_size=2))


@case
def dataset_no_len(t):
    class D(t.utils.data.Dataset):
        def __getitem__(self, i):
            return i

    return t.utils.data.DataLoader(D(), shuffle=True)


@case
def dataset_none(t):
    class D(t.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return None

    return list(t.utils.data.DataLoader(D(), batch_size=2))


@case
def tensordataset_mismatch(t):
    return t.utils.data.TensorDataset(t.ones(2), t.ones(3))


@case
def random_split_sum(t):
    return t.utils.data.random_split(range(10), [3, 3])


@case
def function_wrong_count(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    a = t.ones(1, requires_grad=True)
    F.apply(a, a).backward()


@case
def function_call_direct(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

    return F()(t.ones(1))


@case
def grad_unused(t):
    a = t.ones(1, requires_grad=True)
    b = t.ones(1, requires_grad=True)
    return t.autograd.grad((a * 2).sum(), b)


@case
def lbfgs_no_closure(t):
    p = t.nn.Parameter(t.ones(1))
    t.optim.LBFGS([p]).step()


@case
def plateau_no_metric(t):
    p = t.nn.Parameter(t.ones(1))
    t.optim.lr_scheduler.ReduceLROnPlateau(t.optim.SGD([p], 0.1)).step()


@case
def getattr_tensor(t):
    return t.ones(1).foo


@case
def getattr_torch(t):
    return t.foo


@case
def getattr_nn(t):
    return t.nn.Foo


@case
def int_tensor_len(t):
    return len(t.tensor(1))


@case
def iter_0d(t):
    return list(t.tensor(1))


@case
def linear_kwarg(t):
    return t.nn.Linear(in_feature=1, out_features=2)


@case
def forward_missing_arg(t):
    return t.nn.Linear(1, 1)()


@case
def pad_sequence_dims(t):
    return t.nn.utils.rnn.pad_sequence([t.ones(2, 3), t.ones(2, 4)])


@case
def pack_unsorted(t):
    return t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [1, 3])


@case
def set_item_shape(t):
    x = t.zeros(2, 3)
    x[0] = t.ones(4)


@case
def copy_shape(t):
    t.zeros(2).copy_(t.ones(3))


@case
def masked_fill_shape(t):
    return t.zeros(2, 2).masked_fill(t.ones(3, dtype=t.bool), 1.0)


@case
def where_shape(t):
    return t.where(t.ones(2, dtype=t.bool), t.ones(3), t.ones(2))


@case
def inv_singular(t):
    return t.linalg.inv(t.zeros(2, 2))


@case
def cholesky_bad(t):
    return t.linalg.cholesky(-t.eye(2))


@case
def div_zero_int(t):
    return t.tensor([1]) // 0


@case
def bitwise_float(t):
    return t.ones(1) & t.ones(1)


@case
def not_float(t):
    return ~t.ones(1)


@case
def interp_no_size(t):
    return t.nn.functional.interpolate(t.ones(1, 1, 2, 2))


@case
def pixelshuffle(t):
    return t.nn.PixelShuffle(2)(t.ones(1, 3, 2, 2))


@case
def triplet_shape(t):
    return t.nn.TripletMarginLoss()(t.ones(2, 3), t.ones(2, 4), t.ones(2, 3))


@case
def kl_reduction(t):
    return t.nn.KLDivLoss(reduction="foo")(t.ones(2), t.ones(2))


def raised(function, library):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(library)
        except Exception as error:
            return error
    return None


@pytest.mark.parametrize("name", CASES)
def test_same_error(name):
    theirs, ours = raised(CASES[name], torch), raised(CASES[name], rushlight)
    assert theirs is not None and ours is not None, f"PyTorch raises {theirs!r}, ours {ours!r}"
    same_name = type(theirs).__name__.lstrip("_") == type(ours).__name__
    assert same_name or isinstance(ours, type(theirs)), f"PyTorch raises {theirs!r}, ours {ours!r}"
    assert len(str(ours)) > 10

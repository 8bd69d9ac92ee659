"""What tensors share with NumPy: memory, subscripts, conversions, copies."""

import copy
import pickle

import numpy as np
import pytest

import rushlight as torch
from rushlight.errors import DeviceError


def test_from_numpy_and_numpy_share_memory():
    array = np.arange(6.0).reshape(2, 3)
    tensor = torch.from_numpy(array)
    tensor[0, 0] = 7
    assert array[0, 0] == 7
    assert np.shares_memory(tensor.numpy(), array)
    assert not np.shares_memory(torch.tensor(array).numpy(), array)
    assert torch.as_tensor(array).numpy() is array or np.shares_memory(torch.as_tensor(array).numpy(), array)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("value", [0, 5, 127, 200, 1.75, True, 1e5])
def test_numbers_are_set_as_whole_tensors_are(dtype, value):
    dtype = getattr(torch, dtype)
    for subscript in (2, -1, (1, 2), slice(1, 3), (slice(None), -1), (0, slice(1, 2))):
        x, y = torch.zeros(4, 3, dtype=dtype), torch.zeros(4, 3, dtype=dtype)
        x[subscript] = value
        y[subscript] = torch.full(y[subscript].shape, value).to(dtype)
        assert x.tolist() == y.tolist()
        x[subscript] = torch.tensor(value).to(dtype)
        assert x.tolist() == y.tolist()


def test_a_set_element_is_noticed_by_gradients():
    x = torch.ones(3)
    y = (torch.ones(3, requires_grad=True) * x).sum()
    x[1] = 5
    assert x._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        leaf[0] = 2
    with pytest.raises(RuntimeError, match="expand"):
        torch.ones(1).expand(3)[0] = 1
    with pytest.raises(IndexError, match="index 7 is out of bounds for dimension 0 with size 3"):
        x[7] = 1
    assert x._version == 1


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 0), (4, 5), (2, 3, 4), (1, 1, 2, 3)])
def test_places_of_elements_that_are_not_zero(shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3
    for values in (array, array.T, array > 0, array.astype("float32")):
        tensor = torch.from_numpy(np.array(values)) if values.ndim == 0 else torch.from_numpy(values)
        np.testing.assert_array_equal(tensor.nonzero().numpy(), np.argwhere(values))
        np.testing.assert_array_equal(tensor[tensor != 0].numpy(), values[values != 0])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_whole_slices_are_scattered_as_elements_are(dim):
    index = torch.tensor([2, 0, 2, 1])
    index = index[:, None].expand(4, 3) if dim == 0 else index.expand(3, 4)
    found = []
    for chosen in (index, index.contiguous()):
        x = torch.arange(9.0).reshape(3, 3).requires_grad_()
        source = torch.randn(*index.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        y = x.scatter_add(dim, chosen, source)
        assert y.grad_fn.name() == "ScatterAddBackward0"
        (y * torch.arange(9.0).reshape(3, 3)).sum().backward()
        found.append([y.detach(), x.grad, source.grad, torch.zeros(3, 3).scatter_add_(dim, chosen, source.detach())])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6)
    with pytest.raises(IndexError):
        torch.zeros(2, 3).scatter_add_(0, torch.tensor([[2]]).expand(1, 3), torch.ones(1, 3))


VIEWS = [
    lambda x: x[1:],
    lambda x: x[0],
    lambda x: x[0, 0],
    lambda x: x[..., None],
    lambda x: x.t(),
    lambda x: x.view(-1),
    lambda x: x.diagonal(),
    lambda x: x.unfold(1, 2, 1),
    lambda x: x.expand(4, 3, 4),
    lambda x: x.data,
    lambda x: x.detach(),
]


@pytest.mark.parametrize("view", VIEWS)
def test_views_share_memory_and_version(view):
    x = torch.arange(12.0).reshape(3, 4).clone()
    assert np.shares_memory(view(x).numpy(), x.numpy())
    if view(x)._base is not None:
        before = x._version
        x.add_(1)
        assert view(x)._version == before + 1


def test_writing_through_views_reaches_the_base():
    x = torch.zeros(3, 4)
    x[1].fill_(2)
    x.t()[0] = 5
    x[[0, 2], 1] = torch.tensor([7.0, 8.0])
    x[x == 2] -= 1
    assert x.tolist() == [[5, 7, 0, 0], [5, 1, 1, 1], [5, 8, 0, 0]]


def test_numpy_functions_and_operators():
    x = torch.arange(3.0)
    assert isinstance(np.ones(3, np.float32) * x, torch.Tensor)
    assert isinstance(np.float64(2) * x, torch.Tensor) and (np.float64(2) * x).dtype is torch.float32
    assert np.sin(x).tolist() == pytest.approx(np.sin(np.arange(3.0)).tolist())
    assert np.asarray(x).tolist() == [0, 1, 2]
    assert np.from_dlpack(x).tolist() == [0, 1, 2]
    assert torch.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]


def test_copies():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.extra = ["kept"]
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.tolist() == [1, 2] and other.requires_grad and other.extra == ["kept"]
        assert not np.shares_memory(other.array, x.array)
    assert copy.deepcopy(x).grad.tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(x * 2)
    half = torch.tensor([1.5, 2.5], dtype=torch.bfloat16)
    assert pickle.loads(pickle.dumps(half)).tolist() == [1.5, 2.5]


def test_absent_devices_say_what_to_do():
    for ask in (lambda: torch.zeros(2).cuda(), lambda: torch.zeros(2, device="cuda"), lambda: torch.zeros(2).to("mps")):
        with pytest.raises(DeviceError, match='"cuda" if torch.cuda.is_available'):
            ask()
    assert not torch.cuda.is_available() and not torch.backends.mps.is_available()


def test_data_changes_without_the_graph_noticing():
    w = torch.ones(3, requires_grad=True)
    y = (w * w).sum()
    w.data -= 0.5
    y.backward()
    assert w.grad.tolist() == [1, 1, 1]
    w.data = torch.zeros(2)
    assert w.shape == (2,) and w.requires_grad


def test_hash_and_identity():
    x = torch.ones(2)
    assert x in {x} and {x: 1}[x] == 1
    assert (x == x).all()


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="zeros"):
        torch.zeross  # noqa: B018

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

"""What of PyTorch isn't here says so, and what to do instead; what is under another path is found under both."""

import importlib
import sys

import pytest

import rushlight
from rushlight import distributions, optim


@pytest.mark.parametrize("name", ["fft", "masked", "onnx", "fx", "utils.cpp_extension"])
def test_absent_modules(name):
    with pytest.raises(ModuleNotFoundError, match=f"rushlight has no {name}: .{{20}}"):
        importlib.import_module(f"rushlight.{name}")


@pytest.mark.parametrize("name", ["fft", "complex64", "sparse_csr_tensor", "stft"])
def test_absent_names(name):
    with pytest.raises(AttributeError, match=f"rushlight has no {name}: .{{20}}"):
        getattr(rushlight, name)


def test_absent_parts_of_parts():
    with pytest.raises(AttributeError, match="rushlight has no utils.bottleneck: profiler"):
        rushlight.utils.bottleneck  # noqa: B018
    with pytest.raises(AttributeError, match="module 'rushlight.utils' has no attribute 'nonsense'"):
        rushlight.utils.nonsense  # noqa: B018
    with pytest.raises(AttributeError, match="no isend: training runs in one process"):
        rushlight.distributed.isend  # noqa: B018
    with pytest.raises(AttributeError, match="no _C._cuda_init: PyTorch's C"):
        rushlight._C._cuda_init  # noqa: B018


def test_what_packages_ask_for():
    """torchmetrics and torchinfo do, when they are imported or called."""
    assert rushlight._C._log_api_usage_once("torchmetrics.metric") is None
    assert not isinstance(rushlight.jit.script(rushlight.nn.Linear(2, 3)), rushlight.jit.ScriptModule)
    x = rushlight.zeros(1000)
    assert sys.getsizeof(x.untyped_storage()) >= 4000 and sys.getsizeof(x.storage()) >= 4000


def test_a_group_of_one_process(monkeypatch):
    from rushlight import distributed

    with pytest.raises(NotImplementedError, match="group of 4 processes; training runs in one process here"):
        distributed.init_process_group("gloo", rank=0, world_size=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NotImplementedError, match="group of 2 processes"):
        distributed.init_process_group()
    with pytest.raises(ValueError, match="has not been initialized"):
        distributed.get_backend()
    assert not distributed.is_initialized()


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'zeroes'. Did you mean: 'zeros'"):
        rushlight.zeroes  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="No module named 'rushlight.nonsense'"):
        importlib.import_module("rushlight.nonsense")


def test_other_paths_are_the_same_objects():
    paths = importlib.import_module("rushlight.submodules")._PATHS
    for other, path in paths.items():
        assert importlib.import_module(f"rushlight.{other}") is importlib.import_module(f"rushlight.{path}")
    assert importlib.import_module("rushlight.distributions.normal").Normal is distributions.Normal
    assert importlib.import_module("rushlight.optim.adamw").AdamW is optim.AdamW
    assert importlib.import_module("rushlight.nn.modules").Linear is rushlight.nn.Linear
    for name in ("weight_norm", "spectral_norm"):  # modules there, and functions
        assert not hasattr(getattr(rushlight.nn.utils, name), "__path__")
        assert callable(getattr(rushlight.nn.utils, name))


def test_more_memory_than_there_is():
    x = rushlight.ones(1, 2, 4, 4)
    for function, arguments in (
        (rushlight.nn.functional.adaptive_avg_pool2d, (x, 2**40)),
        (rushlight.nn.functional.adaptive_max_pool2d, (x, (10**9, 10**9))),
        (rushlight.zeros, (10**6, 10**6, 10**3)),
    ):
        with pytest.raises(rushlight.OutOfMemoryError, match="can't allocate memory: a tensor of shape"):
            function(*arguments)

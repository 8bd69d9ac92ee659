"""The examples in the docstrings run, and every public layer has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import rushlight
from rushlight import nn
from rushlight.nn import modules

NAMES = ["rushlight.nn.parameter", *(f"rushlight.nn.modules.{m.name}" for m in pkgutil.iter_modules(modules.__path__))]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    names = {"nn": nn, "torch": rushlight, "F": nn.functional}
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


WITHOUT = {"Container", "Identity", "Buffer", "RNNBase", "RNNCellBase", "UninitializedParameter"}


def test_every_layer_has_an_example():
    layers = [v for n, v in vars(nn).items() if inspect.isclass(v) and n not in WITHOUT]
    assert len(layers) > 100
    assert [layer.__name__ for layer in layers if ">>>" not in (layer.__doc__ or "")] == []

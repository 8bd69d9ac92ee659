"""Declarations: those that can't be meant, and operations as values."""

from __future__ import annotations

import copy
import pickle

import pytest

import rushlight as rl
from rushlight.ops.declare import OPERATIONS, elementwise


def test_an_elementwise_meaning_has_no_defaults() -> None:
    with pytest.raises(TypeError, match="'scaled': the parameters of an elementwise meaning have no defaults"):

        @elementwise()
        def scaled(xp, x, by=2.0):
            return x * by

    assert "scaled" not in OPERATIONS


def test_a_name_is_declared_once() -> None:
    before = OPERATIONS["sigmoid"]
    with pytest.raises(ValueError, match="operation 'sigmoid' is declared twice"):

        @elementwise()
        def sigmoid(xp, x):
            return x

    assert OPERATIONS["sigmoid"] is before


def test_operations_are_copied_and_pickled_as_functions_are():
    net = rl.nn.Module()
    net.activation = rl.tanh
    assert copy.deepcopy(net).activation is rl.tanh
    assert pickle.loads(pickle.dumps(net)).activation is rl.tanh

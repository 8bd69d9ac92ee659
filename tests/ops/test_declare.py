"""Declarations that can't be meant."""

from __future__ import annotations

import pytest

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

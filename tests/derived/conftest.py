"""Runs the tests of this folder for every declared operation."""

from __future__ import annotations

import pytest
from operation_samples import declared


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        chosen = declared()
        kind = metafunc.definition.get_closest_marker("only")
        if kind is not None:
            chosen = {n: o for n, o in chosen.items() if kind.kwargs["where"](o)}
        metafunc.parametrize("name", sorted(chosen))

"""The table of the signatures that shape rules have passed."""

import numpy as np
import pytest

from rushlight import core

pytestmark = pytest.mark.skipif(core.native is None, reason="needs the core")


def test_holds_what_was_added_and_nothing_else():
    table = core.native.Signatures(integers=False)
    x = np.zeros((2, 3), np.float32)
    known = [[x], [x, x], [x, None], [x, 1], [x, 1.0], [x.T], [x.astype(np.float64)], [x[0]], [x[:0]]]
    for position, arrays in enumerate(known):
        assert not table.holds(arrays, {})
        table.add(arrays, {})
        assert all(table.holds(added, {}) for added in known[: position + 1])
    assert table.holds([np.ones((2, 3), np.float32)], {})  # whatever the values are
    assert not table.holds([x], {"dim": 0})
    table.add([x], {"dim": 0})
    assert table.holds([x], {"dim": 0})
    assert not table.holds([x], {"dim": 1})
    assert not table.holds([x], {"axis": 0})


def test_integers_are_looked_at_unless_said_otherwise():
    index = np.zeros(3, np.int64)
    for integers in (False, True):
        table = core.native.Signatures(integers=integers)
        table.add([index, index > 0], {})
        assert table.holds([index, index > 0], {}) == integers


def test_what_has_no_signature_is_never_held():
    table = core.native.Signatures(integers=True)
    x = np.zeros(3, np.float32)
    for arrays, options in (([x], {"index": [0]}), ([x.astype(">f4")], {}), (["x"], {}), ([x] * 100, {})):
        table.add(arrays, options)
        assert not table.holds(arrays, options)


def test_an_option_that_cannot_be_compared_raises():
    class Bad:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise RuntimeError("no")

    table = core.native.Signatures(integers=True)
    table.add([np.zeros(3)], {"option": Bad()})
    with pytest.raises(RuntimeError, match="no"):
        table.holds([np.zeros(3)], {"option": Bad()})


def test_a_full_table_forgets():
    table = core.native.Signatures(integers=True)
    for size in range(2000):
        table.add([np.zeros(size, np.float32)], {})
    assert table.holds([np.zeros(1999, np.float32)], {})
    assert sum(table.holds([np.zeros(size, np.float32)], {}) for size in range(2000)) < 1000

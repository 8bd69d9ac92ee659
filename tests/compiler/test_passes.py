"""Each pass by itself: text in, text out, and the same values before and after."""

import pytest
from graph_checks import check, named

from rushlight.compiler.passes import simplify
from rushlight.compiler.passes.common import merge_common
from rushlight.compiler.passes.dead import remove_dead


def test_dead_nodes_and_inputs():
    check(
        remove_dead,
        """
        argument %0: f32[3]
        argument %1: f32[3]
        state %2: f32[3]
        state %3: f32[3]
        number %4: f64[] "lr"
        %5: f32[3] = exp(%0)
        %6: f32[3] = exp(%3)
        %7: f32[3] = add(%6, %5)
        return %5
        write %2 <- %2
        """,
        """
        argument %0: f32[3]
        argument %1: f32[3]
        %5: f32[3] = exp(%0)
        return %5
        """,
    )


def test_dead_keeps_nodes_of_which_one_output_is_used():
    text = """
        argument %0: f32[3,4]
        %1: f32[3], %2: i64[3] = max_with_indices(%0, dim=1, keepdim=False)
        return %2
        """
    check(remove_dead, text, text)


def test_common():
    check(
        merge_common,
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = add(%0, 1)
        %2: f32[2,3] = add(%0, 1)
        %3: f32[2,3] = exp(%1)
        %4: f32[2,3] = exp(%2)
        %5: f32[2] = slice(%3, index=(slice(0, 2, None), 1))
        %6: f32[2,3] = slice(%4, index=(slice(0, 2, None),))
        %7: f32[2,3] = slice(%4, index=(slice(0, 2, None),))
        return %5, %6, %7
        """,
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = add(%0, 1)
        %3: f32[2,3] = exp(%1)
        %5: f32[2] = slice(%3, index=(slice(0, 2, None), 1))
        %6: f32[2,3] = slice(%3, index=(slice(0, 2, None),))
        return %5, %6, %6
        """,
    )


@pytest.mark.parametrize("numbers", [("0.0", "-0.0"), ("1", "1.0"), ("1", "True"), ("0.0", "1.0")])
def test_numbers_that_differ_in_any_way_are_not_common(numbers):
    text = f"""
        argument %0: f32[8]
        %1: f32[8] = multiply(%0, {numbers[0]})
        %2: f32[8] = multiply(%0, {numbers[1]})
        return %1, %2
        """
    check(merge_common, text, text)


def test_nan_is_common_with_itself():
    graph = named("argument %0: f32[4]\n%1: f32[4] = add(%0, nan)\n%2: f32[4] = add(%0, nan)\nreturn %1, %2")
    assert len(merge_common(graph).nodes) == 1


def test_equal_constants_are_common():
    check(
        merge_common,
        """
        argument %0: f32[2]
        constant %1: f32[2] = [1.0, 2.0]
        constant %2: f32[2] = [1.0, 2.0]
        constant %3: f32[2] = [1.0, -0.0]
        %4: f32[2] = add(%0, %1)
        %5: f32[2] = add(%0, %2)
        %6: f32[2] = add(%0, %3)
        return %4, %5, %6
        """,
        """
        argument %0: f32[2]
        constant %1: f32[2] = [1.0, 2.0]
        constant %3: f32[2] = [1.0, -0.0]
        %4: f32[2] = add(%0, %1)
        %6: f32[2] = add(%0, %3)
        return %4, %4, %6
        """,
    )


def test_updates_are_not_common():
    line = "= sgd_update((%0,), (%1,), None, lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False, "
    text = f"""
        state %0: f32[3]
        argument %1: f32[3]
        %2: f32[3] {line} maximize=False, first=True)
        %3: f32[3] {line.replace("(%0,)", "(%2,)")} maximize=False, first=True)
        write %0 <- %3
        """
    check(merge_common, text, text)


def test_simplify_runs_all_passes():
    graph = named(
        "argument %0: f32[4]\n%1: f32[4] = exp(%0)\n%2: f32[4] = exp(%0)\n%3: f32[4] = sin(%0)\nreturn %1, %2"
    )
    assert len(simplify(graph).nodes) == 1

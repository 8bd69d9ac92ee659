"""Each pass by itself: text in, text out, and the same values before and after."""

import pytest
from graph_checks import arrays_for, check, close, named, random_graph, run

from rushlight.compiler.graph import Value
from rushlight.compiler.passes import simplify
from rushlight.compiler.passes.common import merge_common
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.passes.epilogue import attach_epilogues
from rushlight.compiler.passes.fold import fold
from rushlight.compiler.passes.fuse import fuse
from rushlight.compiler.passes.join import join_slices


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


# Folding


@pytest.mark.parametrize(
    "node",
    [
        "multiply(%0, 1)",
        "multiply(1.0, %0)",
        "divide(%0, 1)",
        "power(%0, 1)",
        "subtract(%0, 0)",
        "add(%0, -0.0)",
        "cast(%0, dtype=f32)",
        "clone(%0)",
        "identity(%0)",
        "reshape(%0, shape=(2, -1, 4))",
        "permute(%0, dims=(0, 1, -1))",
        "expand(%0, shape=(-1, 3, 4))",
        "slice(%0, index=(slice(None, None, None), ...))",
        "cat(%0, dim=1)",
        "assign(%1, %0)",
    ],
)
def test_fold_drops_what_changes_nothing(node):
    check(
        fold,
        f"""
        argument %0: f32[2,3,4]
        argument %1: f32[2,3,4]
        %2: f32[2,3,4] = {node}
        %3: f32[2,3,4] = exp(%2)
        return %3
        """,
        """
        argument %0: f32[2,3,4]
        argument %1: f32[2,3,4]
        %3: f32[2,3,4] = exp(%0)
        return %3
        """,
    )


@pytest.mark.parametrize(
    "node", ["add(%0, 0)", "add(0.0, %0)", "subtract(0, %0)", "divide(1, %0)", "subtract(%0, -0.0)"]
)
def test_fold_keeps_what_changes_zeros(node):
    text = f"""
        argument %0: f32[8]
        %1: f32[8] = {node}
        return %1
        """
    check(fold, text, text)


def test_fold_goes_back_to_stacks_before_they_were_merged():
    check(
        fold,
        """
        argument %0: f32[2,5,3,4]
        argument %1: f32[2,5,3,4]
        argument %2: f32[6,5,4]
        %3: f32[2,3,5,4] = permute(%0, dims=(0, 2, 1, 3))
        %4: f32[6,5,4] = reshape(%3, shape=(6, 5, 4))
        %5: f32[2,3,4,5] = permute(%1, dims=(0, 2, 3, 1))
        %6: f32[6,4,5] = reshape(%5, shape=(6, 4, 5))
        %7: f32[6,5,5] = matmul(%4, %6)
        %8: f32[6,4,5] = permute(%2, dims=(0, 2, 1))
        %9: f32[6,4,4] = matmul(%8, %4)
        return %7, %9
        """,
        """
        argument %0: f32[2,5,3,4]
        argument %1: f32[2,5,3,4]
        argument %2: f32[6,5,4]
        %3: f32[2,3,5,4] = permute(%0, dims=(0, 2, 1, 3))
        %4: f32[6,5,4] = reshape(%3, shape=(6, 5, 4))
        %5: f32[2,3,4,5] = permute(%1, dims=(0, 2, 3, 1))
        %6: f32[6,4,5] = reshape(%5, shape=(6, 4, 5))
        %7: f32[2,3,5,5] = matmul(%3, %5)
        %8: f32[6,5,5] = reshape(%7, shape=(6, 5, 5))
        %9: f32[6,4,5] = permute(%2, dims=(0, 2, 1))
        %10: f32[2,3,5,4] = reshape(%2, shape=(2, 3, 5, 4))
        %11: f32[2,3,4,5] = permute(%10, dims=(0, 1, 3, 2))
        %12: f32[2,3,4,4] = matmul(%11, %3)
        %13: f32[6,4,4] = reshape(%12, shape=(6, 4, 4))
        return %8, %13
        """,
    )


def test_fold_leaves_stacks_that_only_a_copy_would_show_unmerged():
    text = """
        argument %0: f32[2,5,3,4]
        argument %1: f32[4,5,6]
        %2: f32[2,3,5,4] = permute(%0, dims=(0, 2, 1, 3))
        %3: f32[6,5,4] = reshape(%2, shape=(6, 5, 4))
        %4: f32[6,4,5] = permute(%1, dims=(2, 0, 1))
        %5: f32[6,5,5] = matmul(%3, %4)
        return %5
        """
    check(fold, text, text)


def test_fold_finishes_products_before_they_are_reshaped():
    check(
        fold,
        """
        argument %0: f32[6,4]
        argument %1: f32[5,4]
        argument %2: f32[2,3,5]
        argument %3: f32[3,2,5]
        %4: f32[6,5] = linear(%0, %1, None)
        %5: f32[2,3,5] = reshape(%4, shape=(2, 3, 5))
        %6: f32[2,3,5] = add(%2, %5)
        %7: f32[6,5] = linear(%0, %1, None)
        %8: f32[2,3,5] = reshape(%7, shape=(2, 3, 5))
        %9: f32[2,3,5] = permute(%3, dims=(1, 0, 2))
        %10: f32[2,3,5] = add(%9, %8)
        %11: f32[6,5] = linear(%0, %1, None)
        %12: f32[2,3,5] = reshape(%11, shape=(2, 3, 5))
        %13: f32[2,3,5] = relu(%12)
        return %6, %10, %13
        """,
        """
        argument %0: f32[6,4]
        argument %1: f32[5,4]
        argument %2: f32[2,3,5]
        argument %3: f32[3,2,5]
        %4: f32[6,5] = linear(%0, %1, None)
        %5: f32[2,3,5] = reshape(%4, shape=(2, 3, 5))
        %6: f32[6,5] = reshape(%2, shape=(6, 5))
        %7: f32[6,5] = add(%6, %4)
        %8: f32[2,3,5] = reshape(%7, shape=(2, 3, 5))
        %9: f32[6,5] = linear(%0, %1, None)
        %10: f32[2,3,5] = reshape(%9, shape=(2, 3, 5))
        %11: f32[2,3,5] = permute(%3, dims=(1, 0, 2))
        %12: f32[2,3,5] = add(%11, %10)
        %13: f32[6,5] = linear(%0, %1, None)
        %14: f32[2,3,5] = reshape(%13, shape=(2, 3, 5))
        %15: f32[6,5] = relu(%13)
        %16: f32[2,3,5] = reshape(%15, shape=(2, 3, 5))
        return %8, %12, %16
        """,
    )


def test_fold_merges_views():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[2,3,4]
        %1: f32[4,2,3] = permute(%0, dims=(2, 0, 1))
        %2: f32[2,3,4] = permute(%1, dims=(1, 2, 0))
        %3: f32[24] = reshape(%2, shape=(24,))
        %4: f32[4,6] = reshape(%3, shape=(4, -1))
        %5: f32[4,6] = expand(%4, shape=(4, 6))
        %6: f32[5,4,6] = expand(%5, shape=(5, 4, 6))
        return %5, %6
        """,
        """
        argument %0: f32[2,3,4]
        %4: f32[4,6] = reshape(%0, shape=(4, 6))
        %7: f32[5,4,6] = expand(%4, shape=(5, 4, 6))
        return %4, %7
        """,
    )


def test_fold_copies_once_where_a_reshape_copies():
    """Both readers of %2 take views of one copy."""
    text = """
        argument %0: f32[2,3,4]
        %1: f32[4,2,3] = permute(%0, dims=(2, 0, 1))
        %2: f32[8,3] = reshape(%1, shape=(8, 3))
        %3: f32[24] = reshape(%2, shape=(24,))
        return %2, %3
        """
    check(lambda graph: remove_dead(fold(graph)), text, text)


def test_fold_computes_constants():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[3]
        constant %1: f32[3] = [1.0, 2.0, 3.0]
        constant %2: f32[3] = [1.0, 0.0, 0.0]
        %3: f32[3] = add(%1, %2)
        %4: f32[1,3] = reshape(%3, shape=(1, 3))
        %5: bool[1,3] = greater(%4, 2)
        %6: f32[1,3] = where(%5, %0, %4)
        return %6
        """,
        """
        argument %0: f32[3]
        constant %1: f32[1,3] = [[2.0, 2.0, 3.0]]
        constant %2: bool[1,3] = [[False, False, True]]
        %6: f32[1,3] = where(%2, %0, %1)
        return %6
        """,
    )


def test_fold_reads_numbers_where_constants_are():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[2,3]
        constant %1: f32[] = 1.0
        %2: f32[] = multiply(%1, 0.25)
        %3: f32[2,3] = expand(%2, shape=(2, 3))
        %4: f32[2,3] = multiply(%3, %0)
        return %4
        """,
        """
        argument %0: f32[2,3]
        %4: f32[2,3] = multiply(0.25, %0)
        return %4
        """,
    )


def test_fold_sees_that_all_elements_are_equal():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[2]
        constant %1: f32[2] = [2.0, 2.0]
        constant %2: f32[2] = [0.0, -0.0]
        %3: f32[2] = add(%0, %1)
        %4: f32[2] = add(%0, %2)
        return %3, %4, %1
        """,
        """
        argument %0: f32[2]
        constant %2: f32[2] = [0.0, -0.0]
        constant %1: f32[] = 2.0
        %5: f32[2] = expand(%1, shape=(2,))
        %3: f32[2] = add(%0, 2.0)
        %4: f32[2] = add(%0, %2)
        return %3, %4, %5
        """,
    )


def test_fold_keeps_the_shape_and_dtype_that_a_constant_gives():
    text = """
        argument %0: bool[2]
        constant %1: f32[] = 2.0
        constant %2: f32[3,1] = [[1.0], [1.0], [2.0]]
        argument %3: f32[2]
        %4: f32[2] = where(%0, %1, 1.0)
        %5: f32[3,2] = add(%2, %3)
        return %4, %5
        """
    check(fold, text, text)


def test_fold_computes_small_values_before_they_are_expanded():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[3]
        %1: f32[2,3] = expand(%0, shape=(2, 3))
        %2: f32[2,3] = exp(%1)
        return %2
        """,
        """
        argument %0: f32[3]
        %2: f32[3] = exp(%0)
        %3: f32[2,3] = expand(%2, shape=(2, 3))
        return %3
        """,
    )


def test_fold_moves_a_reshape_behind_what_can_be_fused():
    check(
        lambda graph: fuse(fold(graph)),
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = exp(%0)
        %2: f32[6] = reshape(%1, shape=(6,))
        %3: f32[6] = multiply(%2, 2)
        return %3
        """,
        """
        argument %0: f32[2,3]
        %1: f32[2,3] = fused(%0) { b = exp(a); c = multiply(b, 2); return c }
        %3: f32[6] = reshape(%1, shape=(6,))
        return %3
        """,
    )


def test_fold_casts_there_and_back():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f16[3]
        argument %1: i64[3]
        argument %2: f32[3]
        %3: f32[3] = cast(%0, dtype=f32)
        %4: f16[3] = cast(%3, dtype=f16)
        %5: f64[3] = cast(%1, dtype=f64)
        %6: i64[3] = cast(%5, dtype=i64)
        %7: f16[3] = cast(%2, dtype=f16)
        %8: f32[3] = cast(%7, dtype=f32)
        return %4, %6, %8
        """,
        """
        argument %0: f16[3]
        argument %1: i64[3]
        argument %2: f32[3]
        %5: f64[3] = cast(%1, dtype=f64)
        %6: i64[3] = cast(%5, dtype=i64)
        %7: f16[3] = cast(%2, dtype=f16)
        %8: f32[3] = cast(%7, dtype=f32)
        return %0, %6, %8
        """,
    )


def test_fold_sums_over_single_elements():
    check(
        fold,
        """
        argument %0: f32[3,1]
        %1: f32[3] = sum(%0, dim=(1,), keepdim=False)
        %2: f32[3] = exp(%1)
        return %2
        """,
        """
        argument %0: f32[3,1]
        %1: f32[3] = reshape(%0, shape=(3,))
        %2: f32[3] = exp(%1)
        return %2
        """,
    )


def test_fold_reads_what_was_written():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[3,4]
        argument %1: f32[4]
        argument %2: f32[4,3]
        %3: f32[3,4] = view_scatter(%0, %1, views=((op.slice, {'index': (2,)}),))
        %4: f32[4] = slice(%3, index=(2,))
        %5: f32[3,4] = view_scatter(%0, %2, views=((op.permute, {'dims': (1, 0)}),))
        %6: f32[3,4] = assign(%5, 2)
        return %4, %5, %6
        """,
        """
        argument %0: f32[3,4]
        argument %1: f32[4]
        argument %2: f32[4,3]
        constant %3: f32[] = 2.0
        %5: f32[3,4] = permute(%2, dims=(1, 0))
        %6: f32[3,4] = expand(%3, shape=(3, 4))
        return %1, %5, %6
        """,
    )


def test_fold_transposes_products():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[5,3,4]
        argument %1: f32[4,6]
        %2: f32[5,3,6] = matmul(%0, %1)
        %3: f32[5,6,3] = permute(%2, dims=(0, 2, 1))
        %5: f32[5,6,3] = exp(%3)
        return %5
        """,
        """
        argument %0: f32[5,3,4]
        argument %1: f32[4,6]
        %2: f32[6,4] = permute(%1, dims=(1, 0))
        %3: f32[5,4,3] = permute(%0, dims=(0, 2, 1))
        %4: f32[5,6,3] = matmul(%2, %3)
        %5: f32[5,6,3] = exp(%4)
        return %5
        """,
        exact=False,
    )


def test_fold_sees_through_dimensions_of_size_one():
    check(
        lambda graph: remove_dead(fold(graph)),
        """
        argument %0: f32[2,3,4]
        %1: f32[3,2,4] = permute(%0, dims=(1, 0, 2))
        %2: f32[1,3,2,4] = reshape(%1, shape=(1, 3, 2, 4))
        %3: f32[2,1,3,4] = permute(%2, dims=(2, 0, 1, 3))
        %4: f32[4,1,3,2] = permute(%2, dims=(3, 0, 1, 2))
        return %3, %4
        """,
        """
        argument %0: f32[2,3,4]
        %1: f32[3,2,4] = permute(%0, dims=(1, 0, 2))
        %2: f32[1,3,2,4] = reshape(%1, shape=(1, 3, 2, 4))
        %3: f32[2,1,3,4] = reshape(%0, shape=(2, 1, 3, 4))
        %4: f32[4,1,3,2] = permute(%2, dims=(3, 0, 1, 2))
        return %3, %4
        """,
    )


# Joining


def test_join_slices():
    check(
        lambda graph: remove_dead(join_slices(graph)),
        """
        argument %0: f32[4,5]
        argument %1: f32[4,5]
        argument %2: f32[4,2]
        argument %3: f32[4,3]
        %4: f32[2,4,5] = slice_gradient(%0, shape=(2, 4, 5), index=(1,))
        %5: f32[2,4,5] = slice_gradient(%1, shape=(2, 4, 5), index=(-2, ...))
        %6: f32[2,4,5] = add(%4, %5)
        %7: f32[4,2,5] = permute(%6, dims=(1, 0, 2))
        %8: f32[4,5] = slice_gradient(%2, shape=(4, 5), index=(..., slice(0, 2, None)))
        %9: f32[4,5] = slice_gradient(%3, shape=(4, 5), index=(slice(None, None, None), slice(2, 5, None)))
        %10: f32[4,5] = add(%8, %9)
        return %7, %10
        """,
        """
        argument %0: f32[4,5]
        argument %1: f32[4,5]
        argument %2: f32[4,2]
        argument %3: f32[4,3]
        %4: f32[1,4,5] = reshape(%1, shape=(1, 4, 5))
        %5: f32[1,4,5] = reshape(%0, shape=(1, 4, 5))
        %6: f32[4,1,5] = permute(%4, dims=(1, 0, 2))
        %7: f32[4,1,5] = permute(%5, dims=(1, 0, 2))
        %8: f32[4,2,5] = cat(%6, %7, dim=1)
        %9: f32[4,5] = cat(%2, %3, dim=1)
        return %8, %9
        """,
        exact=False,  # -0.0 + 0.0 is 0.0
    )


def test_join_slices_of_every_third():
    check(
        lambda graph: remove_dead(join_slices(graph)),
        """
        argument %0: f32[4,2]
        argument %1: f32[4,2]
        argument %2: f32[4,2]
        %3: f32[4,6] = slice_gradient(%0, shape=(4, 6), index=(..., slice(1, None, 3)))
        %4: f32[4,6] = slice_gradient(%1, shape=(4, 6), index=(..., slice(0, None, 3)))
        %5: f32[4,6] = add(%3, %4)
        %6: f32[4,6] = slice_gradient(%2, shape=(4, 6), index=(..., slice(2, None, 3)))
        %7: f32[4,6] = add(%5, %6)
        return %7
        """,
        """
        argument %0: f32[4,2]
        argument %1: f32[4,2]
        argument %2: f32[4,2]
        %3: f32[4,2,3] = stack(%1, %0, %2, dim=2)
        %4: f32[4,6] = reshape(%3, shape=(4, 6))
        return %4
        """,
        exact=False,
    )


@pytest.mark.parametrize("index", ["1", "slice(0, 2, None)", "slice(2, 4, None)", "slice(1, 4, 2)", "slice(2, 5, 2)"])
def test_join_slices_leaves_gaps_and_overlaps(index):
    text = f"""
        argument %0: f32[{2 if index.startswith("s") else ""}]
        argument %1: f32[]
        %2: f32[5] = slice_gradient(%0, shape=(5,), index=({index},))
        %3: f32[5] = slice_gradient(%1, shape=(5,), index=(1,))
        %4: f32[5] = add(%2, %3)
        return %4
        """
    check(join_slices, text, text)


# Epilogues


def test_epilogue_of_linear():
    check(
        attach_epilogues,
        """
        argument %0: f32[2,5,4]
        argument %1: f32[3,4]
        argument %2: f32[3]
        argument %3: f32[2,5,3]
        %4: f32[2,5,3] = linear(%0, %1, %2)
        %5: f32[2,5,3] = add(%3, %4)
        %6: f32[2,5,3] = relu(%5)
        %7: f32[2,5,3] = linear(%0, %1, None)
        %8: f32[2,5,3] = gelu(%7)
        return %6, %8
        """,
        """
        argument %0: f32[2,5,4]
        argument %1: f32[3,4]
        argument %2: f32[3]
        argument %3: f32[2,5,3]
        %6: f32[2,5,3] = linear_activation(%0, %1, %2, %3, activation='relu')
        %8: f32[2,5,3] = linear_activation(%0, %1, None, None, activation='gelu')
        return %6, %8
        """,
        exact=False,
    )


def test_epilogue_of_matmul():
    check(
        attach_epilogues,
        """
        argument %0: f32[5,4]
        argument %1: f32[4,3]
        argument %2: f32[3]
        argument %3: f32[3,4]
        %4: f32[5,3] = matmul(%0, %1)
        %5: f32[5,3] = add(%4, %2)
        %6: f32[5,3] = tanh(%5)
        %7: f32[4,3] = permute(%3, dims=(1, 0))
        %8: f32[5,3] = matmul(%0, %7)
        %9: f32[5,3] = add(%8, %6)
        return %9
        """,
        """
        argument %0: f32[5,4]
        argument %1: f32[4,3]
        argument %2: f32[3]
        argument %3: f32[3,4]
        %4: f32[3,4] = permute(%1, dims=(1, 0))
        %6: f32[5,3] = linear_activation(%0, %4, %2, None, activation='tanh')
        %9: f32[5,3] = linear_activation(%0, %3, None, %6, activation='none')
        return %9
        """,
        exact=False,
    )


def test_gradient_of_relu_as_epilogue():
    check(
        attach_epilogues,
        """
        argument %0: f32[5,4]
        argument %1: f32[4,3]
        argument %2: f32[5,3]
        %3: f32[5,3] = relu(%2)
        %4: f32[5,3] = matmul(%0, %1)
        %5: bool[5,3] = less_equal(%3, 0)
        %6: f32[5,3] = where(%5, 0.0, %4)
        return %6, %3
        """,
        """
        argument %0: f32[5,4]
        argument %1: f32[4,3]
        argument %2: f32[5,3]
        %3: f32[5,3] = relu(%2)
        %4: f32[3,4] = permute(%1, dims=(1, 0))
        %6: f32[5,3] = linear_relu_gradient(%0, %4, %3)
        return %6, %3
        """,
        exact=False,
    )


def test_epilogue_sees_living_readers_alone():
    check(
        attach_epilogues,
        """
        argument %0: f32[5,4]
        argument %1: f32[3,4]
        argument %2: f32[5,3]
        %3: f32[5,3] = linear(%0, %1, None)
        %4: f32[3,5] = permute(%3, dims=(1, 0))
        %5: f32[5,3] = add(%2, %3)
        return %5
        """,
        """
        argument %0: f32[5,4]
        argument %1: f32[3,4]
        argument %2: f32[5,3]
        %5: f32[5,3] = linear_activation(%0, %1, None, %2, activation='none')
        return %5
        """,
        exact=False,
    )


def test_epilogue_of_convolution():
    options = "stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1"
    check(
        attach_epilogues,
        f"""
        argument %0: f32[2,3,6,6]
        argument %1: f32[4,3,3,3]
        argument %2: f32[2,4,6,6]
        %3: f32[2,4,6,6] = convolution(%0, %1, None, {options})
        %4: f32[2,4,6,6] = add(%3, %2)
        %5: f32[2,4,6,6] = relu(%4)
        return %5
        """,
        f"""
        argument %0: f32[2,3,6,6]
        argument %1: f32[4,3,3,3]
        argument %2: f32[2,4,6,6]
        %5: f32[2,4,6,6] = convolution_activation(%0, %1, None, %2, {options}, activation='relu')
        return %5
        """,
        exact=False,
    )


@pytest.mark.parametrize(
    "lines",
    [
        "%5: f32[5,3] = relu(%4)\n%6: f32[5,3] = add(%5, %4)",  # read twice
        "%5: f32[2,5,3] = add(%4, %3)\n%6: f32[2,5,3] = exp(%5)",  # broadcast
        "%5: f32[5,3] = add(%4, 1.5)\n%6: f32[5,3] = exp(%5)",
        "%5: f32[5,3] = add(%4, %4)\n%6: f32[5,3] = exp(%5)",
        "%5: bool[2,5,3] = less_equal(%3, 0)\n%6: f32[2,5,3] = where(%5, 0.0, %4)",
        "%5: bool[5,3] = less_equal(%4, 0)\n%6: f32[5,3] = where(%5, 0.0, %4)",
        "%5: bool[3] = less_equal(%2, 0)\n%6: f32[5,3] = where(%5, 0.0, %4)",
    ],
)
def test_epilogues_that_are_left(lines):
    text = f"""
        argument %0: f32[5,4]
        argument %1: f32[3,4]
        argument %2: f32[3]
        argument %3: f32[2,5,3]
        %4: f32[5,3] = linear(%0, %1, %2)
        {lines}
        return %6
        """
    check(attach_epilogues, text, text)


def test_epilogue_leaves_what_is_returned():
    text = """
        argument %0: f32[5,4]
        argument %1: f32[3,4]
        %2: f32[5,3] = linear(%0, %1, None)
        %3: f32[5,3] = relu(%2)
        return %2, %3
        """
    check(attach_epilogues, text, text)


# Fusion


def test_fuse_joins_a_chain():
    check(
        fuse,
        """
        argument %0: f32[5,7]
        argument %1: f32[7]
        %2: f32[5,7] = multiply(%0, %1)
        %3: f32[5,7] = relu(%2)
        %4: f32[5,7] = subtract(1, %3)
        return %4
        """,
        """
        argument %0: f32[5,7]
        argument %1: f32[7]
        %4: f32[5,7] = fused(%0, %1) { c = multiply(a, b); d = maximum(c, 0); e = subtract(1, d); return e }
        return %4
        """,
    )


def test_fuse_returns_what_is_read_elsewhere():
    check(
        fuse,
        """
        argument %0: f32[5,7]
        %1: f32[5,7] = exp(%0)
        %2: f32[5,7] = multiply(%1, %0)
        %3: f32[7,5] = permute(%1, dims=(1, 0))
        %4: f32[5] = sum(%2, dim=(1,))
        return %3, %4
        """,
        """
        argument %0: f32[5,7]
        %1: f32[5,7], %2: f32[5,7] = fused(%0) { b = exp(a); c = multiply(b, a); return b, c }
        %4: f32[5] = sum(%2, dim=(1,))
        %3: f32[7,5] = permute(%1, dims=(1, 0))
        return %3, %4
        """,
    )


def test_fuse_makes_no_cycle():
    text = """
        argument %0: f32[5,5]
        %1: f32[5,5] = exp(%0)
        %2: f32[5,5] = matmul(%1, %0)
        %3: f32[5,5] = add(%1, %2)
        return %3
        """
    check(fuse, text, text)


def test_fuse_keeps_apart_what_is_read_through_a_view():
    text = """
        argument %0: f32[5,5]
        %1: f32[5,5] = exp(%0)
        %2: f32[5,5] = permute(%1, dims=(1, 0))
        %3: f32[5,5] = add(%1, %2)
        return %3
        """
    check(fuse, text, text)


def test_fuse_leaves_small_values_out_of_large_ones():
    text = """
        argument %0: f32[5,7]
        argument %1: f32[7]
        %2: f32[7] = exp(%1)
        %3: f32[5,7] = multiply(%0, %2)
        return %3
        """
    check(fuse, text, text)


def test_fuse_moves_nodes_where_their_order_allows_it():
    check(
        fuse,
        """
        argument %0: f32[5,5]
        %1: f32[5,5] = exp(%0)
        %2: f32[5,5] = matmul(%1, %0)
        %3: f32[5,5] = add(%1, %0)
        %4: f32[5,5] = matmul(%3, %2)
        return %4
        """,
        """
        argument %0: f32[5,5]
        %1: f32[5,5], %3: f32[5,5] = fused(%0) { b = exp(a); c = add(b, a); return b, c }
        %2: f32[5,5] = matmul(%1, %0)
        %4: f32[5,5] = matmul(%3, %2)
        return %4
        """,
    )


def test_fuse_joins_readers_of_one_large_value():
    check(
        fuse,
        """
        argument %0: f32[100,100]
        argument %1: f32[100]
        %2: f32[100,100] = exp(%0)
        %3: f32[100,100] = multiply(%0, %1)
        return %2, %3
        """,
        """
        argument %0: f32[100,100]
        argument %1: f32[100]
        %2: f32[100,100], %3: f32[100,100] = fused(%0, %1) { c = exp(a); d = multiply(a, b); return c, d }
        return %2, %3
        """,
    )


def test_fuse_computes_a_mask_where_it_is_read():
    """Backward of relu: the result of relu is in memory for the product of matrices anyway."""
    check(
        fuse,
        """
        argument %0: f32[5,5]
        argument %1: f32[5,5]
        %2: f32[5,5] = matmul(%0, %1)
        %3: f32[5,5] = relu(%2)
        %4: f32[5,5] = matmul(%3, %1)
        %5: bool[5,5] = less_equal(%3, 0)
        %6: f32[5,5] = matmul(%4, %3)
        %7: f32[5,5] = where(%5, 0.0, %6)
        return %7
        """,
        """
        argument %0: f32[5,5]
        argument %1: f32[5,5]
        %2: f32[5,5] = matmul(%0, %1)
        %3: f32[5,5] = relu(%2)
        %4: f32[5,5] = matmul(%3, %1)
        %6: f32[5,5] = matmul(%4, %3)
        %7: f32[5,5] = fused(%3, %6) { c = less_equal(a, 0); d = where(c, 0.0, b); return d }
        return %7
        """,
        exact=False,
    )


def test_fuse_gives_each_reader_of_a_cheap_value_its_own():
    check(
        fuse,
        """
        argument %0: f32[5,5]
        argument %1: bool[5,5]
        %2: f32[5,5] = cast(%1, dtype=f32)
        %3: f32[5,5] = multiply(%0, %2)
        %4: f32[5,5] = matmul(%3, %3)
        %5: f32[5,5] = multiply(%4, %2)
        return %5
        """,
        """
        argument %0: f32[5,5]
        argument %1: bool[5,5]
        %3: f32[5,5] = fused(%1, %0) { c = where(a, 1, 0); d = multiply(b, c); return d }
        %4: f32[5,5] = matmul(%3, %3)
        %5: f32[5,5] = fused(%1, %4) { c = where(a, 1, 0); d = multiply(b, c); return d }
        return %5
        """,
    )


def test_fuse_needs_an_input_of_the_dtype():
    text = """
        argument %0: bool[5]
        %1: f32[5] = cast(%0, dtype=f32)
        %2: f32[5] = exp(%1)
        return %2
        """
    check(fuse, text, text)


def test_fuse_bools_with_numbers():
    check(
        fuse,
        """
        argument %0: f32[6]
        argument %1: bool[6]
        %2: bool[6] = greater(%0, 0)
        %3: bool[6] = bitwise_and(%2, %1)
        %4: bool[6] = bitwise_not(%3)
        %5: f32[6] = where(%4, %0, 2)
        return %5, %3
        """,
        """
        argument %0: f32[6]
        argument %1: bool[6]
        %3: bool[6], %5: f32[6] = fused(%0, %1) { PROGRAM; return d, f }
        return %5, %3
        """.replace("PROGRAM", "c = greater(a, 0); d = logical_and(c, b); e = logical_not(d); f = where(e, a, 2)"),
    )


def test_fuse_wraps_integers():
    check(
        fuse,
        """
        argument %0: u8[6]
        %1: u8[6] = add(%0, 300)
        %2: u8[6] = subtract(%1, -1)
        return %2
        """,
        """
        argument %0: u8[6]
        %2: u8[6] = fused(%0) { b = add(a, 44); c = subtract(b, 255); return c }
        return %2
        """,
    )


def test_fuse_keeps_a_read_of_state_before_its_update():
    options = "lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False, first=True"
    text = f"""
        state %0: f32[5]
        argument %1: f32[5]
        %2: f32[5] = exp(%0)
        %3: f32[5] = sgd_update((%0,), (%1,), None, {options})
        %4: f32[5] = sin(%1)
        %5: f32[5] = multiply(%4, %2)
        return %5
        write %0 <- %3
        """
    graph = named(text)
    assert [node.operation for node in fuse(graph).nodes] == ["fused", "sgd_update"]
    check(lambda g: g, text, text)
    arrays = arrays_for(named(text))
    for x, y in zip(run(named(text), arrays)[0], run(graph, arrays)[0], strict=True):
        close(x, y)


@pytest.mark.parametrize("run_pass", [remove_dead, fold, merge_common, fuse, simplify])
@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_compute_the_same(seed, run_pass):
    arrays = arrays_for(random_graph(seed), seed)
    expected, _ = run(random_graph(seed), arrays)
    graph = random_graph(seed)
    made: set[Value] = set(graph.inputs)
    run_pass(graph)
    for node in graph.nodes:
        assert made.issuperset(node.values())  # in order
        made.update(node.outputs)
    for x, y in zip(expected, run(graph, arrays)[0], strict=True):
        close(x, y)

"""The passes: functions from graph to graph, which change it in place, and their order."""

from __future__ import annotations

from rushlight.compiler.graph import Graph
from rushlight.compiler.passes.common import merge_common
from rushlight.compiler.passes.dead import remove_dead
from rushlight.compiler.passes.epilogue import attach_epilogues
from rushlight.compiler.passes.fold import fold
from rushlight.compiler.passes.fuse import fuse
from rushlight.compiler.passes.join import join_slices
from rushlight.compiler.passes.normalization import fold_normalization, rectify_normalization
from rushlight.compiler.passes.recompute import recompute
from rushlight.compiler.passes.reduce import reduce_at_end
from rushlight.compiler.passes.split import split

PASSES = (
    join_slices,
    remove_dead,
    fold,
    merge_common,
    rectify_normalization,
    fold_normalization,
    attach_epilogues,
    split,
    fuse,
    reduce_at_end,
    recompute,
)


def simplify(graph: Graph) -> Graph:
    """All passes, in order."""
    for run_pass in PASSES:
        run_pass(graph)
    return graph

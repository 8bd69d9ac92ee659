"""Values that are made again behind the peak of memory."""

from __future__ import annotations

import sys

import pytest
from graph_checks import arrays_for as arrays
from graph_checks import check, close, named, random_graph, run

import rushlight.compiler  # noqa: F401 (loads the pass)
from rushlight.compiler.passes import recompute, remove_dead

settings = sys.modules["rushlight.compiler.passes.recompute"]

BEFORE = """
    argument %0: f32[64,64]
    argument %1: f32[64,64]
    %3: f32[64,64] = tanh(%0)
    %6: f32[32,128] = reshape(%3, shape=(32, 128))
    %7: f32[64,64] = matmul(%3, %1)
    %8: f32[64,64] = matmul(%7, %1)
    %9: f32[64,64] = matmul(%8, %7)
    %10: f32[32,128] = multiply(%6, 2.0)
    return %9, %10
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_LEAST", 0)
    monkeypatch.setattr(settings, "_SHARE", 1.0)


def test_made_again_behind_the_peak(small: None) -> None:
    check(
        recompute,
        BEFORE,
        """
    argument %0: f32[64,64]
    argument %1: f32[64,64]
    %3: f32[64,64] = tanh(%0)
    %7: f32[64,64] = matmul(%3, %1)
    %8: f32[64,64] = matmul(%7, %1)
    %9: f32[64,64] = matmul(%8, %7)
    %11: f32[64,64] = tanh(%0)
    %14: f32[32,128] = reshape(%11, shape=(32, 128))
    %10: f32[32,128] = multiply(%14, 2.0)
    return %9, %10
""",
    )


@pytest.mark.parametrize("reason", ["cost", "little", "inputs"])
def test_not_made_again(small: None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = BEFORE
    if reason == "cost":
        monkeypatch.setattr(settings, "_SHARE", 0.001)
    elif reason == "little":
        monkeypatch.setattr(settings, "_LEAST", 1 << 20)
    else:  # what it is made of would have to be kept instead
        text = text.replace("    %3:", "    %20: f32[64,64] = matmul(%0, %1)\n    %3:").replace("tanh(%0", "tanh(%20")
    graph = named(text)
    before = str(graph)
    recompute(graph)
    assert str(graph) == before


def test_random_graphs_compute_the_same(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_peak", lambda made, last: (len(made) // 2, 1))
    changed = 0
    for seed in range(120):
        graph = remove_dead(random_graph(seed))
        given, before = arrays(graph), len(graph.nodes)
        expected, _ = run(remove_dead(random_graph(seed)), given)
        changed += len(recompute(graph).nodes) > before
        for x, y in zip(run(graph, given)[0], expected, strict=True):
            close(x, y)
    assert changed

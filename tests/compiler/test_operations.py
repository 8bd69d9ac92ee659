"""Every declared operation, inside a compiled function, against the eager call: its samples, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled_comparison import check_same
from operation_samples import declared, is_floating, laid_out, samples

import rushlight as rl
from rushlight.errors import TraceError
from rushlight.ops.declare import Operation, Sample
from rushlight.tensor.tensor import Tensor, wrap

LAYOUTS = ("contiguous", "strided", "broadcast")


def run(function: Any, sample: Sample, operation: Operation) -> list[Any]:
    """The results of `function(*tensors)` and the gradients of its floating arguments."""
    given = [wrap(np.array(a, order="K")) if isinstance(a, (np.ndarray, np.generic)) else a for a in sample.args]
    leaves = [t for a, t in zip(sample.args, given, strict=True) if is_floating(a)]
    for leaf in leaves:
        leaf.requires_grad_(operation.gradient_rule is not None)
    results = function(*given)
    return [*(r.array for r in results), *(None if leaf.grad is None else leaf.grad.array for leaf in leaves)]


def function_of(operation: Operation, sample: Sample) -> Any:
    def function(*tensors: Any) -> Any:
        result = operation(*tensors, **sample.options)
        several = [r for r in (result if isinstance(result, tuple) else (result,)) if isinstance(r, Tensor)]
        roots = [r for r in several if r.requires_grad]
        if roots and operation.gradient_rule is not None:
            rl.autograd.backward(roots, [rl.ones_like(r) * 0.5 for r in roots])
        return [r.detach() for r in several]

    return function


@pytest.mark.parametrize("name", sorted(declared()))
def test_compiled_operation(name: str) -> None:
    operation = declared()[name]
    for dtype in ("float64", "float32"):
        for number, given in enumerate(samples(operation, dtype)):
            for layout, sample in laid_out(given):
                if layout not in (("contiguous",) if operation.of_memory or dtype == "float32" else LAYOUTS):
                    continue
                function = function_of(operation, sample)
                compiled = rl.compile(function, fullgraph=True)
                what = f"{name}, sample {number}, {dtype}, {layout}"
                if not operation.traceable:
                    with pytest.raises(TraceError):
                        run(compiled, sample, operation)
                    continue
                expected = run(function, sample, operation)
                for _ in range(2):
                    check_same(run(compiled, sample, operation), expected, what)
                assert compiled.cache_info()[:2] == (1, 1), what

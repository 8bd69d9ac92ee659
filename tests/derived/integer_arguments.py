"""Runs operations with integers that don't fit, as a process of its own: `integer_arguments.py [first case]`.

Prints `start NUMBER CASE` before each case and `done` or `wrong MESSAGE` after it, so that whoever reads it knows where
a crash or a hang was. Memory is limited: what asks for more raises MemoryError.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from operation_samples import arrays_of, declared, samples, tensors

from rushlight.errors import InputError
from rushlight.ops.declare import Operation, Sample

INTEGERS = (-1, 0, 1, 2**31, 2**62)
TYPED = (InputError, MemoryError, ValueError, IndexError, TypeError, OverflowError)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def replaced(value: Any) -> Iterator[Any]:
    """`value` with each integer in it replaced by each of INTEGERS, one at a time."""
    if is_integer(value):
        yield from INTEGERS
    elif isinstance(value, tuple):
        for position, item in enumerate(value):
            for other in replaced(item):
                yield (*value[:position], other, *value[position + 1 :])


def cases() -> Iterator[tuple[Operation, Sample]]:
    for name in sorted(declared()):
        operation = declared()[name]
        seen: set[str] = set()
        for sample in samples(operation, "float32"):
            if not operation.elementwise and frozenset(sample.options) not in seen:
                seen.add(frozenset(sample.options))  # type: ignore[arg-type]
            for option, value in sample.options.items():
                for other in replaced(value):
                    changed = Sample(sample.args, {**sample.options, option: other})
                    shapes = [getattr(a, "shape", a) for a in sample.args]
                    text = f"{name} {shapes} {changed.options}"
                    if text not in seen:
                        seen.add(text)
                        yield operation, changed
            for position, argument in enumerate(sample.args):
                if isinstance(argument, np.ndarray) and argument.dtype == np.int64 and argument.size:
                    for other in (-1, 2**31, 2**62):  # indices among the arguments
                        filled = np.full_like(argument, other)
                        yield (
                            operation,
                            Sample((*sample.args[:position], filled, *sample.args[position + 1 :]), sample.options),
                        )


def run(operation: Operation, sample: Sample) -> str:
    try:
        found = arrays_of(operation(*tensors(sample.args), **sample.options))
    except TYPED:
        return "done"
    if sum([a.size for a in found]) > 10**6:
        return "done"  # a view that repeats itself
    try:
        expected = arrays_of(operation.reference(sample.args, sample.options))
    except MemoryError:
        return "done"  # the meaning takes more memory than the kernel
    except Exception as error:
        return f"wrong: a result, where the meaning raises {type(error).__name__}: {error}"
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape or not np.allclose(
            a.astype(np.float64), b.astype(np.float64), rtol=1e-3, atol=1e-3, equal_nan=True
        ):
            return f"wrong: another result than the meaning: shapes {a.shape} and {b.shape}"
    return "done"


def main() -> None:
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    prepared = list(cases())
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
    for number, (operation, sample) in enumerate(prepared):
        if number >= first:
            arguments = [a.shape if isinstance(a, np.ndarray) else a for a in sample.args]
            print("start", number, operation.name, arguments, sample.options, flush=True)
            print(run(operation, sample), flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    main()

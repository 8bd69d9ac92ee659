"""Integers that don't fit an operation give a typed error or the right answer: never a signal, a hang, garbage."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("integer_arguments.py")
SECONDS = 300  # for all cases; a single one takes milliseconds, but the machine may be busy


@functools.cache
def failures() -> dict[str, list[str]]:
    """By operation, what went wrong. A process that dies is started again after the case that killed it."""
    found: dict[str, list[str]] = {}
    first = 0
    for _ in range(20):
        environment = {**os.environ, "RUSHLIGHT_NUM_THREADS": "2"}
        try:
            process = subprocess.run(
                [sys.executable, "-W", "ignore", str(SCRIPT), str(first)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            output, ending = process.stdout, f"exit status {process.returncode}: {process.stderr[-500:]}"
        except subprocess.TimeoutExpired as timeout:
            output, ending = (timeout.stdout or b"").decode(), f"no end after {SECONDS} s"
        lines = output.splitlines()
        case = ""
        for line in lines:
            if line.startswith("start"):
                case = line
            elif line.startswith("wrong"):
                found.setdefault(case.split()[2], []).append(f"{case}\n    {line}")
        if lines and lines[-1] == "end":
            return found
        assert case, f"the process didn't start: {ending}"
        found.setdefault(case.split()[2], []).append(f"{case}\n    {ending}")
        first = int(case.split()[1]) + 1
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process as Linux does")
@pytest.mark.only(where=lambda operation: not operation.elementwise)
def test_integer_arguments(name: str) -> None:
    assert not failures().get(name), "\n".join(failures()[name][:10])

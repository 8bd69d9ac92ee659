"""The examples print the same lines under PyTorch and under `rushlight run`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", ["linear_regression", "logistic_regression", "custom_layer"])
def test_same_output(script):
    path = str(EXAMPLES / f"{script}.py")
    outputs = [
        subprocess.run([sys.executable, *command, path], capture_output=True, text=True, timeout=120, check=True).stdout
        for command in ([], ["-m", "rushlight.cli", "run"])
    ]
    assert outputs[0] == outputs[1]

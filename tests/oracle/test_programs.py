"""Programs as tutorials and courses have them print what they print under PyTorch: losses, tensors, modules.

Each runs unchanged, as under `rushlight run`, and with its imports changed. Texts must be the same, numbers nearly.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(not hasattr(os, "fork"), reason="the programs are forked off")]
HERE = Path(__file__).parent
VISION = sorted(HERE.glob("programs/vision_*.py"))
PROGRAMS = sorted(set(HERE.glob("programs/*.py")) - set(VISION))
NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+|inf|nan)(?![A-Za-z_])")


def outputs(kind, folder, programs):
    command = [sys.executable, "-W", "ignore", str(HERE / "run_programs.py"), kind, str(folder / kind)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # several of these run beside one another
    subprocess.run([*command, *map(str, programs)], timeout=300, check=True, capture_output=True, env=environment)
    return {program.stem: (folder / kind / f"{program.stem}.txt").read_text() for program in programs}


def near(a, b):
    a, b = float(a), float(b)
    return a == b or abs(a - b) <= 3e-4 * max(abs(a), abs(b)) + 2e-5 or (a != a and b != b)


def same(line, other):
    """Whether two lines differ at most in the last digits of numbers, and in what space these take."""
    texts = [re.sub(r"[\s+-]", "", NUMBER.sub("#", text)) for text in (line, other)]
    numbers = [NUMBER.findall(text) for text in (line, other)]
    return line == other or (texts[0] == texts[1] and all(near(a, b) for a, b in zip(*numbers, strict=True)))


def differences(ours, theirs):
    if len(ours.splitlines()) != len(theirs.splitlines()):
        return [f"{len(ours.splitlines())} lines, PyTorch prints {len(theirs.splitlines())}:\n{ours[-1500:]}"]
    lines = zip(ours.splitlines(), theirs.splitlines(), strict=True)
    return [f"ours    {a}\nPyTorch {b}" for a, b in lines if not same(a, b)]


@pytest.mark.parametrize("part", range(4))
def test_same_output(part, tmp_path):
    assert len(PROGRAMS[part::4]) > 4
    check(PROGRAMS[part::4], tmp_path)


def test_same_output_of_programs_for_torchvision(tmp_path):
    import torchvision_oracle  # noqa: F401 (skips where torchvision isn't)

    check(VISION, tmp_path)


def check(programs, tmp_path):
    theirs = outputs("torch", tmp_path, programs)
    for kind in ("run", "import"):
        ours = outputs(kind, tmp_path, programs)
        wrong = {name: differences(ours[name], theirs[name])[:5] for name in ours if not same(ours[name], theirs[name])}
        wrong = {name: found for name, found in wrong.items() if found}
        assert not wrong, f"{kind}: " + "\n\n".join(f"{name}\n" + "\n".join(lines) for name, lines in wrong.items())


def test_differences_are_found():
    assert same("loss 0.12345 at [1.0]", "loss 0.12346 at [1.0]")
    assert not same("loss 0.123 at [1.0]", "loss 0.124 at [1.0]")
    assert not same("tensor(1., grad_fn=<MulBackward0>)", "tensor(1., grad_fn=<AddBackward0>)")
    assert differences("a\nb", "a") and differences("a 1\nb", "a 2\nb")

"""The Python blocks of the README and of the docs run, from top to bottom."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the files go that a page writes
    namespace: dict[str, object] = {"__name__": "__example__"}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page.name}[{number}]", "exec"), namespace)


def test_both_readmes_show_the_same_code() -> None:
    pages = [(ROOT / name).read_text() for name in ("README.md", "README.zh.md")]
    fences = [re.findall(r"```(?:sh|python)\n.*?```", page, re.DOTALL) for page in pages]
    assert fences[0] == fences[1]

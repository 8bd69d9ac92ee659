"""Runs programs that were written for PyTorch, each in a process of its own, with what they print in files.

python run_programs.py torch | run | import FOLDER PROGRAM ...: by PyTorch; unchanged, as `rushlight run` does it; or
with their imports changed. Importing the library once and forking saves most of the time.
"""

import os
import re
import runpy
import sys
import traceback
from pathlib import Path

STANDS_FOR = {"torch": "rushlight", "torchvision": "rushlight.vision"}


def with_changed_imports(text):
    return re.sub(r"^(\s*)(?:import (torch.*|.*, torch.*)|from (torchvision|torch)\b)", changed, text, flags=re.M)


def changed(match):
    """A line of imports: `import torch.nn` makes `torch` known, too."""
    if match[2] is None:
        return f"{match[1]}from {STANDS_FOR[match[3]]}"
    parts = []
    for name in match[2].split(", "):
        package = re.match(r"torchvision\b|torch\b|", name)[0]
        ours = STANDS_FOR.get(package, "") + name.removeprefix(package)
        parts.append(f"{ours} as {package}" if package == name else ours)
        if package and " as " not in parts[-1]:
            parts.append(f"{STANDS_FOR[package]} as {package}")
    return f"{match[1]}import {', '.join(parts)}"


def run(path, kind, folder):
    """In the child: the program in `folder`, its output in `folder`.txt."""
    output = os.open(f"{folder}.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(output, 1)
    os.chdir(folder)
    sys.argv = [str(path)]
    text = path.read_text()
    if kind == "import":
        path = folder / path.name
        path.write_text(with_changed_imports(text))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except BaseException:
        traceback.print_exc(file=sys.stdout)
    sys.stdout.flush()


def main(kind, target, *programs):
    if kind == "torch":
        import torch  # noqa: F401

        if any("torchvision" in Path(program).read_text() for program in programs):
            import torchvision_oracle  # noqa: F401
    else:
        import rushlight.nn
        import rushlight.optim
        import rushlight.utils.data  # noqa: F401

        if kind == "run":
            from rushlight.cli.run import spell_as_pytorch, torch_is_rushlight

            torch_is_rushlight()
            spell_as_pytorch()
    for program in map(Path, programs):
        folder = Path(target, program.stem)
        folder.mkdir(parents=True)
        child = os.fork()
        if not child:
            run(program.resolve(), kind, folder.resolve())
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

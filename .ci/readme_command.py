"""Prints the n-th command of README.md's section "Two commands"."""

import re
import sys
from pathlib import Path

section = Path("README.md").read_text().split("## Two commands", 1)[1].split("\n## ", 1)[0]
print(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[int(sys.argv[1]) - 1])

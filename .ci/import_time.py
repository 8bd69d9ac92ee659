"""Prints what `import rushlight` costs over `import numpy`: the limit is 50 ms, but a shared machine is too noisy to be
held to it. Fails where that import loads a package that is to be loaded only when it is used."""

import subprocess
import sys
import time

LATER = {"ml_dtypes", "safetensors", "matplotlib", "tqdm", "multiprocessing.pool", "urllib.request", "rushlight.cli"}


def least(statement: str) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


print(f"import rushlight: {1000 * (least('import rushlight') - least('import numpy')):.0f} ms over import numpy")
listing = "import sys, numpy; before = set(sys.modules); import rushlight; print(*set(sys.modules) - before)"
loaded = set(subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout.split())
if loaded & LATER:
    sys.exit(f"import rushlight loads {', '.join(sorted(loaded & LATER))}")

"""The thread pool's size: environment, cgroup quota, set_num_threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rushlight.core import native

if native is None:
    pytest.skip("the native core is off", allow_module_level=True)


def count_with(**environment: str) -> int:
    inherited = {k: v for k, v in os.environ.items() if k not in ("RUSHLIGHT_NUM_THREADS", "OMP_NUM_THREADS")}
    code = "from rushlight.core import native; print(native.get_num_threads())"
    run = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def test_environment_sets_the_thread_count() -> None:
    assert count_with(RUSHLIGHT_NUM_THREADS="3", OMP_NUM_THREADS="5") == 3
    assert count_with(OMP_NUM_THREADS="5,2") == 5
    assert count_with(RUSHLIGHT_NUM_THREADS="many") == count_with(RUSHLIGHT_NUM_THREADS="-1") == count_with()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_thread_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert count_with() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def cgroup(tmp_path: Path, line: str, files: dict[str, str]) -> int:
    proc = tmp_path / "cgroup"
    proc.write_text(line + "\n")
    for name, text in files.items():
        file = tmp_path / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return native.cgroup_cpu_limit(str(proc), str(tmp_path / "mount"))


def test_quota_of_cgroup_version_2(tmp_path: Path) -> None:
    assert cgroup(tmp_path, "0::/a/b", {"a/b/cpu.max": "max 100000"}) == 0
    assert cgroup(tmp_path, "0::/a/b", {"a/cpu.max": "250000 100000"}) == 3
    assert cgroup(tmp_path, "0::/a/b", {"a/b/cpu.max": "100000 100000"}) == 1
    assert cgroup(tmp_path, "0::/", {"cpu.max": "50000 100000"}) == 1


def test_quota_of_cgroup_version_1(tmp_path: Path) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}
    assert cgroup(tmp_path, "4:cpu:/job", files) == 0
    assert cgroup(tmp_path, "4:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "400000"}) == 4
    # In a container the path is often the host's and the limit lies at the root of the mount.
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    assert cgroup(tmp_path, "4:cpu,cpuacct:/docker/0123", files) == 2


def test_no_cgroup_is_no_limit(tmp_path: Path) -> None:
    assert native.cgroup_cpu_limit(str(tmp_path / "missing"), str(tmp_path)) == 0


def test_set_num_threads() -> None:
    before = native.get_num_threads()
    try:
        native.set_num_threads(3)
        assert native.get_num_threads() == 3
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="positive"):
                native.set_num_threads(wrong)
        assert native.get_num_threads() == 3
    finally:
        native.set_num_threads(before)


SLEEPERS = """
import os, time
import numpy as np
from rushlight.core import native

native.set_num_threads(4)
before = set(os.listdir("/proc/self/task"))
a = np.ones((256, 256), np.float32)
for pause in [0.02] * 10:  # longer than workers wait before they sleep
    native.matmul(a, a)
    time.sleep(pause)
native.set_num_threads(1)
workers = set(os.listdir("/proc/self/task")) - before
assert len(workers) == 3, workers
for turn in range(100):
    allowed = [os.sched_getaffinity(int(worker)) for worker in workers]
    if all(processors == os.sched_getaffinity(0) for processors in allowed):
        break
    time.sleep(0.02)
else:
    raise SystemExit(f"{allowed} instead of {os.sched_getaffinity(0)}")
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads on this system")
def test_threads_that_were_woken_elsewhere_may_run_anywhere_again() -> None:
    subprocess.run([sys.executable, "-c", SLEEPERS], check=True, timeout=60)

"""The machine: what of the CPU the engine can use, cores, memory, file descriptors."""

import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path

from trunkline.config import Config
from trunkline.descriptors import ENOUGH
from trunkline.doctor.findings import Finding, fault, ok, warning

_FEATURES = {"avx2": "AVX2", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX"}
"""Flags of /proc/cpuinfo. The engine's 8-bit products need the first and are faster with the second."""

_LITTLE_MEMORY = 1 << 30
"""Bytes: the server with the demo model takes most of it."""


def check_cpu(config: Config) -> Iterator[Finding]:
    flags = _cpu_flags()
    features = [name for flag, name in _FEATURES.items() if flag in flags]
    cores, threads = len(os.sched_getaffinity(0)), config.engine.threads
    quota = _cpu_quota()
    named = {"threads of a step": threads, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}
    parts = [f"{cores} cores", *([f"{quota:g} of them by the control group's quota"] if quota else [])]
    parts += [f"{name} {value}" for name, value in named.items() if value]
    what = (
        f"{platform.machine()}, {', '.join(features) or 'none of ' + ', '.join(_FEATURES.values())}; {', '.join(parts)}"
    )
    usable = min(cores, quota or cores)
    runs_here = config.engine.device == "cpu" and ":" not in config.engine.process
    if runs_here and "avx2" not in flags and config.engine.precision == "int8":
        yield fault("cpu", f"{what}: [engine] precision = 'int8' needs AVX2: leave it out")
    elif runs_here and "avx2" not in flags:
        yield warning("cpu", f"{what}: without AVX2 steps are computed in float32, several times slower")
    elif threads is not None and threads > usable:
        yield warning("cpu", f"{what}: more threads than cores make steps late: set [engine] threads to {usable:g}")
    else:
        yield ok("cpu", what)


def check_memory(_config: Config) -> Iterator[Finding]:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (1024 * int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    limit = _group_value("memory.max")
    used = _group_value("memory.current")
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - (used or 0))
    what = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        yield warning("memory", f"{what}: the demo model needs 1 GiB, one of 0.6 B parameters 3: make room")
    else:
        yield ok("memory", what)


def check_descriptors(_config: Config) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ENOUGH:
        what = f"at most {hard} open files, some {hard // 4} calls: raise the hard limit (LimitNOFILE, ulimit -Hn)"
        yield warning("open files", what)
    else:
        yield ok("open files", f"at most {'as many as wanted' if hard == resource.RLIM_INFINITY else hard}")


def _cpu_flags() -> frozenset[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _cpu_quota() -> float | None:
    """CPUs that the control group may use; None for all. Kernel documentation, cgroup-v2, "cpu.max"."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _group_value(name: str) -> int | None:
    """Bytes, of the control group; None where it has no limit or is not there."""
    try:
        return int(Path("/sys/fs/cgroup", name).read_text())
    except (OSError, ValueError):
        return None

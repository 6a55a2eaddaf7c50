"""How many threads and how much memory this process may use: the environment, affinity, and control groups."""

import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import SupportsIndex


def thread_count(name: str, value: SupportsIndex) -> int:
    """`value` as a number of threads; TypeError or ValueError, with `name`, if it is none."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name}: expected at least 1 thread, got {count}")
    return count


def default_threads() -> int:
    """FASTCONV_NUM_THREADS, else OMP_NUM_THREADS (its first level), else the processors that we really get."""
    ours = os.environ.get("FASTCONV_NUM_THREADS", "").strip()
    if ours:
        if not ours.isdecimal():
            raise ValueError(f"FASTCONV_NUM_THREADS: expected a whole number, got {ours!r}")
        return thread_count("FASTCONV_NUM_THREADS", int(ours))
    openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if openmp.isdecimal() and int(openmp) > 0:
        return int(openmp)
    return available_cpus()


def available_cpus(root: Path = Path("/")) -> int:
    """The processors of our affinity mask, or fewer if a control group's quota gives us less of their time."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cpus, *(int(quota) for quota in _cpu_quotas(root))]))


def default_cache_bytes(root: Path = Path("/")) -> int:
    """FASTCONV_CACHE_BYTES, else 1 GiB, but at most an eighth of the memory that we may use."""
    ours = os.environ.get("FASTCONV_CACHE_BYTES", "").strip()
    if ours:
        if not ours.isdecimal():
            raise ValueError(f"FASTCONV_CACHE_BYTES: expected a whole number of bytes, got {ours!r}")
        return int(ours)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(1 << 30, min([memory, *_memory_limits(root)]) // 8)


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time that each control group above us allows (cgroup v2: cpu.max; v1: cfs_quota_us)."""
    for folder in _control_groups(root, "cpu"):
        v1 = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        for quota in (_words(folder / "cpu.max"), v1):
            if len(quota) == 2 and all(word.isdecimal() for word in quota):
                yield int(quota[0]) / int(quota[1])


def _memory_limits(root: Path) -> Iterator[int]:
    """Bytes that each control group above us allows."""
    for folder in _control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (int(word) for word in _words(folder / name) if word.isdecimal())


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of our control group for a controller and of the groups around it, v2's and v1's."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            base = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (base / group for group in (inner, *inner.parents))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()

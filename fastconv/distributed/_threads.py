"""The share of a node's CPUs that a process takes."""

import math
import os
from collections.abc import Sequence
from typing import Any

from .. import _threads
from ..kernels._cpu.limits import available_cpus, default_threads
from ._mpi import mpi

_shared: dict[int, int] = {}


def share_of(rank: int, masks: Sequence[frozenset[int]], allowed: Sequence[int]) -> int:
    """How many threads a process of a node should take.

    Parameters
    ----------
    rank : int
        The process among those of its node.
    masks : sequence of frozenset of int
        For each process, the CPUs that its affinity allows: mpiexec and Slurm may have bound it to some.
    allowed : sequence of int
        For each process, how many of them it really gets (a control group may give less).

    Returns
    -------
    int
        A CPU that several processes may use is divided among them.
    """
    mine = masks[rank]
    if not mine:
        return max(1, allowed[rank] // len(masks))
    part = math.fsum(1 / sum(cpu in mask for mask in masks) for cpu in mine)
    return max(1, math.floor(part * min(1.0, allowed[rank] / len(mine)) + 1e-9))


def described() -> str:
    """How many threads this process uses, in words."""
    threads = _threads.get_num_threads()
    return f"{threads} thread{'s' * (threads != 1)}"


def take_share(comm: Any) -> None:
    """Let kernels use this process's share of its node's CPUs, unless the number of threads was set by somebody."""
    handle = comm.handle
    if handle in _shared:
        return
    node = comm.Split_type(mpi().COMM_TYPE_SHARED)
    mask = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
    told = node.allgather((mask, available_cpus()))
    masks, allowed = zip(*told, strict=True)
    rank, size = node.rank, node.size
    node.Free()
    _shared[handle] = size
    given = any(os.environ.get(name, "").strip() for name in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"))
    if size > 1 and not given and _threads.get_num_threads() == default_threads():
        _threads.set_num_threads(share_of(rank, masks, allowed))
    _threads.processes_on_node = rank, size

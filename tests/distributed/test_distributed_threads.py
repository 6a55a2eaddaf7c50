"""Every process takes its share of its node's CPUs; a binding and a number that somebody set are respected."""

import os

import pytest
from launch import needs_mpi, results

from fastconv.distributed._threads import share_of


@pytest.mark.parametrize(
    ("masks", "allowed", "shares"),
    [
        ([range(8)] * 2, [8, 8], [4, 4]),
        ([range(8)] * 3, [8, 8, 8], [2, 2, 2]),
        ([range(2)] * 4, [2] * 4, [1] * 4),  # more processes than CPUs
        ([range(4), range(4, 8)], [4, 4], [4, 4]),  # bound by mpiexec, each to its own
        ([range(2), range(2, 8)], [2, 6], [2, 6]),
        ([range(8), range(8), range(8, 12)], [8, 8, 4], [4, 4, 4]),
        ([range(8)] * 2, [4, 4], [2, 2]),  # the control group gives half of them
        ([()] * 2, [8, 8], [4, 4]),  # a system that tells no affinity
    ],
)
def test_shares(masks, allowed, shares):
    masks = [frozenset(mask) for mask in masks]
    assert [share_of(rank, masks, allowed) for rank in range(len(masks))] == shares


def threads(processes, **more):
    return results(processes, "threads.py", FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="", **more)


@needs_mpi
def test_processes_divide_the_cpus():
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for processes in (1, 2):
        (found,) = threads(processes)
        assert all(1 <= each <= max(1, cpus // processes) for each in found["threads"])
        assert found["shown"] == [f"{processes}, which"] * processes


@needs_mpi
def test_what_was_set_stays():
    assert results(2, "threads.py", FASTCONV_NUM_THREADS="3")[0]["threads"] == [3, 3]
    assert results(2, "threads.py", FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="5")[0]["threads"] == [5, 5]
    assert threads(2, TEST_SET_THREADS="7")[0]["threads"] == [7, 7]

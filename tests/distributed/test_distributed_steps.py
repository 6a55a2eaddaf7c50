"""K processes give the parameters of one, whatever the sizes of buckets and shards are."""

import importlib.util

import numpy as np
import pytest
from launch import PROGRAMS, needs_mpi, results

from fastconv.distributed import shard

pytestmark = needs_mpi


def cases():
    """The names of the cases, from the text of the program: importing it needs MPI."""
    if importlib.util.find_spec("mpi4py") is None:
        return ["none: mpi4py is missing"]
    source = (PROGRAMS / "steps.py").read_text()
    names = [line.split('"')[1] for line in source.splitlines() if line.startswith('    "') and "np.float" in line]
    return [*names, *(f"buckets of {b}" for b in (1, 1000, 1 << 14, 1 << 22))]


@pytest.fixture(scope="module", params=[2, 3, 4], ids=lambda n: f"{n} processes")
def compared(request):
    return {result["case"]: result for result in results(request.param, "steps.py")}


@pytest.mark.parametrize("case", cases())
def test_processes_together_are_one_process(compared, case):
    found = compared[case]
    # float32: twenty steps, each with the rounding of a sum of some parts
    tolerance = 2e-5 if "float32" in case else 1e-12
    assert found["moved"] > 1e-4
    assert found["same"]
    for what in ("parameters", "statistics", "losses", "loss"):
        assert found[what] <= tolerance, (what, found)
    if "accuracy" in found:
        several, one = found["accuracy"]
        assert several == one


def test_all_cases_ran(compared):
    assert set(compared) == set(cases())


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 100])
def test_shards_are_the_batch_in_order(count, size):
    parts = [shard(count, rank, size) for rank in range(size)]
    np.testing.assert_array_equal(np.concatenate([np.arange(count)[part] for part in parts]), np.arange(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("count", "rank", "size"), [(-1, 0, 1), (3, 2, 2), (3, -1, 2), (3, 0, 0)])
def test_a_shard_that_cannot_be_is_refused(count, rank, size):
    with pytest.raises(ValueError, match="expected count >= 0 and 0 <= rank < size"):
        shard(count, rank, size)

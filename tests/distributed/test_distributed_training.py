"""Trainer(..., distributed=True): the course of one process, one set of files, checkpoints for any number of processes."""

import numpy as np
import pytest
from launch import needs_mpi, results, run, told
from numpy.testing import assert_allclose

from fastconv import _checkpoint

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def one_process():
    (found,) = results(1, "training.py", "plain", False)
    return found


def assert_same_course(found, wanted):
    assert found["same"]
    for key, p in wanted["parameters"].items():
        assert_allclose(found["parameters"][key], p, rtol=0, atol=1e-12)
    for got, expected in zip(found["lists"], wanted["lists"], strict=True):
        assert_allclose(got, expected, rtol=1e-12)
    assert [found[name] for name in ("matrices", "final", "best", "steps")] == [
        wanted[name] for name in ("matrices", "final", "best", "steps")
    ]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_course_is_that_of_one_process(one_process, processes):
    done = run(processes, "training.py", "plain", True)
    (found,) = told(done)
    assert done.stdout.count("Final Test Accuracy") == 1  # the first process's alone
    assert_same_course(found, one_process)


def test_without_a_seed_the_first_process_draws():
    assert results(3, "training.py", "drawn_anew") == [{"same": True}]


def test_one_process_may_stop_all():
    assert results(3, "training.py", "stopped") == [{"steps": [4, 4, 4]}]


def test_the_first_process_writes_the_files(tmp_path):
    (found,) = results(2, "training.py", "files", tmp_path)
    first, second = found["writes"]
    assert first.count("training.npz") == 3
    assert "best.npz" in first
    assert second == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.npz", "training.npz"]


@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 4), (2, 1)])
def test_any_number_of_processes_goes_on_from_a_checkpoint(one_process, tmp_path, before, after):
    results(before, "training.py", "epochs", tmp_path, 0, 1)
    (found,) = results(after, "training.py", "epochs", tmp_path, 1, 3)
    assert_same_course(found, one_process)


def test_a_checkpoint_of_several_processes_is_resumed_without_mpi(one_process, tmp_path):
    results(2, "training.py", "epochs", tmp_path, 0, 1)
    (found,) = results(1, "training.py", "epochs", tmp_path, 1, 3, False)
    assert_same_course(found, one_process)


def test_a_missing_checkpoint_is_an_error_of_all():
    assert results(3, "training.py", "missing_checkpoint", "/no/such/folder") == [{"raised": [True] * 3}]


def test_a_killed_save_leaves_the_old_checkpoint(tmp_path):
    done = run(2, "training.py", "killed_save", tmp_path)
    assert done.returncode
    assert _checkpoint.read(tmp_path / "training.npz")["course"]["finished_epochs"] == 1


@pytest.mark.parametrize("size", [8, 2])
def test_lazy_samples_are_read_by_part_with_the_same_transforms(size):
    """The whole batch of 2 has nothing for the third process."""
    (alone,) = results(1, "training.py", "lazy", size)
    (several,) = results(3, "training.py", "lazy", size)
    for key, p in alone["parameters"].items():
        assert_allclose(several["parameters"][key], p, rtol=0, atol=1e-11)
    drawn = size * alone["steps"]
    assert alone["read"][0] == pytest.approx(drawn, abs=5)  # and what the accuracies read
    assert max(several["read"]) <= -(-size // 3) * alone["steps"] + 5
    assert np.sum(several["read"]) <= drawn + 5 + (size < 3) * alone["steps"]

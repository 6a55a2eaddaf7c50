"""The whole job ends, soon, with a status and a message: a process that raises, one that is killed, Ctrl-C."""

import os
import signal
import subprocess
import time

import pytest
from launch import command, environment, needs_mpi, run, wait_for

pytestmark = needs_mpi
SOON = 60  # seconds: with the start of Python on a busy machine


def test_a_process_that_raises_ends_all(tmp_path):
    done = run(3, "training.py", "ends", "raises", tmp_path, timeout=SOON)
    assert done.returncode == 1
    assert "ArithmeticError: the batch is rotten" in done.stderr
    assert done.stderr.count("fastconv: process 1 of 3 ended with ArithmeticError: the batch is rotten") == 1


def test_a_killed_process_ends_all(tmp_path):
    """MPI's own launcher says so."""
    done = run(3, "training.py", "ends", "killed", tmp_path, timeout=SOON)
    assert done.returncode
    assert "signal 9" in done.stdout + done.stderr


def test_an_error_of_all_is_told_once():
    done = run(3, "training.py", "wrong", timeout=SOON)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "process 0 of 3 ended with TypeError: net: expected one of fastconv's networks, got str" in done.stderr


@pytest.mark.parametrize("whole_group", [True, False], ids=["of the terminal", "of mpiexec"])
def test_ctrl_c_ends_all_behind_one_step(tmp_path, whole_group):
    with subprocess.Popen(
        command(3, "training.py", "ends", "interrupted", tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(), start_new_session=True,
    ) as job:  # fmt: skip
        try:
            wait_for((tmp_path / "began").exists)
            start = time.monotonic()
            (os.killpg if whole_group else os.kill)(job.pid, signal.SIGINT)
            out, err = job.communicate(timeout=SOON)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    assert time.monotonic() - start < SOON
    assert job.returncode
    assert '"same": true' in out
    assert err.count("fastconv: interrupted after step") == 1
    assert "Traceback" not in err

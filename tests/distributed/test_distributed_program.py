"""``mpiexec -n K fastconv train --distributed``: one output, one set of files, one line for a user's error."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest
from launch import command, environment, needs_mpi, run

pytestmark = needs_mpi
PROGRAM = "program.py"
QUICK = ["train", "--distributed", "--net", "mlp", "--epochs", "2"]


@pytest.fixture(autouse=True)
def _packages_of_the_program():
    for name in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(name)


def parameters(folder):
    with np.load(folder / "mlp-digits.npz") as file:
        return dict(file)


def test_any_number_of_processes_trains_the_same_network(tmp_path):
    found = []
    for processes in (1, 3):
        done = run(processes, PROGRAM, *QUICK, "--dtype", "float64", "--out", tmp_path / str(processes))
        assert done.returncode == 0, done.stderr
        for line in ("test accuracy", "parameters  ", "learning curve", "time per step"):
            assert done.stdout.count(line) == 1
        assert f"; {processes} process" in done.stdout
        assert done.stderr.count("  0%|") == 1  # one bar
        found.append(parameters(tmp_path / str(processes)))
    for key, p in found[0].items():
        np.testing.assert_allclose(found[1][key], p, rtol=0, atol=1e-10)  # Adam divides by small numbers


def test_a_users_error_is_one_line_and_the_status_2(tmp_path):
    done = run(3, PROGRAM, *QUICK, "--dataset", "mnist", "--data", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"fastconv train: error: no such folder: {tmp_path / 'none'}\n"


def test_an_error_of_one_process_ends_all(tmp_path):
    done = run(3, PROGRAM, *QUICK, "--out", tmp_path, FASTCONV_TEST_FAILS="2")
    assert done.returncode == 2
    assert done.stderr == "fastconv train: error: process 2 of 3: the disk is gone\n"


def test_ctrl_c_saves_what_was_trained(tmp_path):
    with subprocess.Popen(
        command(2, PROGRAM, *QUICK[:-1], "100000", "--out", tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), start_new_session=True,
    ) as job:  # fmt: skip
        shown, deadline = b"", time.monotonic() + 60
        while not re.search(rb"epoch ([2-9]|\d\d+)/", shown) and time.monotonic() < deadline:
            shown += job.stderr.read1(4096)
        job.send_signal(signal.SIGINT)
        try:
            out, err = job.communicate(timeout=30)
        finally:
            job.kill()
    assert job.returncode
    assert b"Traceback" not in err
    assert len(re.findall(rb"interrupted after step \d+ of", out)) == 1
    assert parameters(tmp_path)["W1"].shape == (784, 100)


@pytest.mark.parametrize("processes", [1, 2])
def test_info_tells_the_threads_of_each_process(processes):
    done = run(processes, PROGRAM, "info", "--distributed")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^process \d +\S+, 1 thread$", done.stdout, re.MULTILINE)) == processes
    assert f"processes here           {processes}, which share" in done.stdout

"""Programs of tests/distributed/programs, started by mpiexec as a user starts them: one thread for each process."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
_BESIDE = Path(sys.executable).with_name("mpiexec")  # where the wheel of MPICH puts it
MPIEXEC = str(_BESIDE) if _BESIDE.exists() else shutil.which("mpiexec")

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpi4py or mpiexec is missing: pip install 'fastconv[mpi]'",
)

# Open MPI refuses root, and more processes than processors, unless told.
_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def environment(**more):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **_OPEN_MPI, "FASTCONV_NUM_THREADS": "1", "PYTHONPATH": path, **more}


def command(processes, program, *arguments):
    start = [sys.executable, str(PROGRAMS / program)] if program.endswith(".py") else [sys.executable, *program.split()]
    return [MPIEXEC, "-n", str(processes), *start, *map(str, arguments)]


def run(processes, program, *arguments, timeout=120, cwd=None, **more):
    """Run a program to its end; the job is ended and the test fails when it takes longer than `timeout`."""
    with subprocess.Popen(
        command(processes, program, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(**more), cwd=cwd, start_new_session=True,
    ) as job:  # fmt: skip
        try:
            out, err = job.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            out, err = job.communicate()
            pytest.fail(f"the job did not end in {timeout} s: {out[-2000:]}\n{err[-4000:]}")
    return subprocess.CompletedProcess(job.args, job.returncode, out, err)


def results(processes, program, *arguments, **options):
    """What a program printed as JSON, a line for each result."""
    return told(run(processes, program, *arguments, **options))


def told(done):
    """The JSON lines of a program that ended well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)

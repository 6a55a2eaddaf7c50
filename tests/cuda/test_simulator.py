"""The CUDA kernels without a GPU: the tests of `simulated/` in a process of their own, with Numba's simulator on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.cudasim
@pytest.mark.slow
def test_kernels_in_the_simulator():
    pytest.importorskip("numba")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")} | {"NUMBA_ENABLE_CUDASIM": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-n",
        "auto",  # pytest-xdist: on two processors in 6 minutes instead of 16
        Path(__file__).parent / "simulated",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout

"""The convolutions' CUDA kernels compile to machine code without a GPU, and spill no registers."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["conv2d", "depthwise"])
def test_no_spills(kernels):
    pytest.importorskip("numba_cuda", reason="needs the package numba-cuda")
    command = [sys.executable, "-W", "ignore", str(ROOT / "tools" / "ptx.py"), "--only", kernels, "--cc", "80,90"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    header, *lines = done.stdout.splitlines()
    if lines[0].endswith("?"):
        pytest.skip("needs ptxas: pip install nvidia-cuda-nvcc")
    rows = [line.split() for line in lines]
    assert {row[-5] for row in rows} == {"80", "90"} and len(rows) >= 12
    for row in rows:
        registers, shared, stack, spilled = map(int, row[-4:])
        assert 0 < registers <= 255 and shared <= 48 * 1024, row
        assert stack == 0, f"arrays meant for registers lie in memory: {row}"
        assert spilled == 0, row

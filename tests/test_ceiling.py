"""The machine's ceilings: the loops compute what they claim to, and the roofline is the slower of two times."""

import json
import subprocess
import sys

import numpy as np
import pytest

from fastconv import _ceiling
from fastconv._ceiling import Ceiling
from fastconv.kernels._cpu import engine
from fastconv.kernels.ceiling import cy


def test_loops_compute():
    x, z = np.arange(4096, dtype=np.float32), np.ones(4096, np.float32)
    y = np.empty_like(x)
    cy.copy(y, x)
    np.testing.assert_array_equal(y, x)
    cy.triad(y, x, z)
    np.testing.assert_array_equal(y, x + 3)


def test_sums_of_multiply_adds():
    out = np.zeros(3, np.float32)
    width = {"avx512": 16, "avx2": 8, "baseline": 4}[engine.isa()]
    assert cy.multiply_add(out, 5) == 2 * 12 * width * 5 * 3
    chains = np.arange(12.0)[:, None, None] * np.ones((1, 3, width))
    for _ in range(5):
        chains = chains * 0.999 + (np.arange(width) + np.arange(3)[:, None])
    np.testing.assert_allclose(out, chains.sum((0, 2)), rtol=1e-5)


def test_the_slower_ceiling_bounds():
    ceiling = Ceiling(100e9, (10e9,) * len(_ceiling.SIZES), (20e9,) * len(_ceiling.SIZES))
    assert ceiling.bandwidth(1) == ceiling.bandwidth(1e12) == pytest.approx(20e9)
    assert ceiling.seconds(100e9, 1e9) == pytest.approx(1.0)
    assert ceiling.seconds(1e9, 20e9) == pytest.approx(1.0)


def test_bandwidth_between_two_sizes():
    rates = tuple(float(10 - k) for k in range(len(_ceiling.SIZES)))
    ceiling = Ceiling(1.0, rates, rates)
    assert ceiling.bandwidth(_ceiling.SIZES[2]) == pytest.approx(8)
    assert ceiling.bandwidth(2 * _ceiling.SIZES[2]) == pytest.approx(7.5)


def test_measured_in_a_process_of_its_own():
    done = subprocess.run([sys.executable, "-m", "fastconv._ceiling"], capture_output=True, text=True, check=True)
    ceiling = Ceiling(**json.loads(done.stdout))
    assert ceiling.flops > 0
    assert len(ceiling.copy) == len(ceiling.triad) == len(_ceiling.SIZES)
    assert min(*ceiling.copy, *ceiling.triad) > 0

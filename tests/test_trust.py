"""docs/trust.md: every fault it lists has a test. Here is that check, and tests that belong nowhere else."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs/trust.md").read_text()
ROWS = [line.strip("|").split("|") for line in TABLE.splitlines() if re.match(r"\| \d+ \|", line)]
BACKENDS = ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"]


def names(path):
    """The tests of a file, those of classes with the class in front."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_table_is_numbered_and_long():
    assert [int(row[0]) for row in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= 35


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_every_fault_has_a_test_that_exists(row):
    _, fault, known, tests = (cell.strip() for cell in row)
    assert fault and known
    listed = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", tests)
    assert listed
    for file, name in listed:
        assert name in names(ROOT / file), f"{file} has no {name}"


def test_importing_and_computing_leaves_subnormal_numbers_alone():
    program = (
        "import sys; import fastconv as fc; import numpy as np\n"
        "x = np.full((2, 16, 16, 16), 1e-310); fc.conv2d(x, np.ones((16, 16, 3, 3))); fc.softmax(x); fc.sigmoid(x)\n"
        "assert sys.float_info.min / 2 != 0 and np.finfo(np.float64).smallest_subnormal > 0\n"
        "assert fc.relu(np.float32([1e-40]))[0] != 0 and fc.avg_pool2d(x, 2)[0, 0, 0, 0] == 1e-310"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("size", [3, 300])
def test_a_parameter_that_is_listed_twice_takes_both_steps(size, layout, backend, threads):
    W = np.ones((size, size), order=layout)
    v = [np.zeros_like(W), np.zeros_like(W)]
    with fc.backend(backend):
        fc.momentum_update([W, W], [np.full(W.shape, 1.0), np.full(W.shape, 4.0)], v, lr=0.5, momentum=0.0)
    np.testing.assert_array_equal(W, np.full(W.shape, -1.5))
    assert W.flags[f"{layout}_CONTIGUOUS"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", [2**32 + 3, -(2**32) + 3, 2**63 - 1, -(2**63)])
def test_an_index_that_would_be_right_in_32_bits_is_refused(index, backend):
    indices = np.array([[[[index]]]])
    with fc.backend(backend), pytest.raises(ValueError, match="indices: expected 0 to 3"):
        fc.max_pool2d_backward(np.ones((1, 1, 1, 1)), indices, (1, 1, 2, 2), 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_call_changes_no_statistics_and_no_parameters(backend):
    mean, var, W = np.zeros(3), np.ones(3), np.ones(3)
    with fc.backend(backend):
        for x, gamma in ((np.ones((1, 3)), None), (np.ones((4, 3)), np.ones(2)), (np.ones((4, 3), complex), None)):
            with pytest.raises((ValueError, TypeError)):
                fc.batch_norm(x, gamma, None, mean, var, True)
        with pytest.raises(ValueError, match=r"params\[1\]|grads\[1\]"):
            fc.sgd_update([W, np.ones(2)], [np.ones(3), np.ones(3)], lr=0.1)
    for a, expected in ((mean, 0), (var, 1), (W, 1)):
        np.testing.assert_array_equal(a, np.full(3, expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_channels_have_equal_maxima_with_nan(backend):
    for C in range(1, 20):
        x = np.broadcast_to(np.array([[1, np.nan], [2, 3]], np.float32), (1, C, 2, 2))
        with fc.backend(backend):
            assert np.isnan(fc.max_pool2d(x, 2)[0]).all()
            assert np.isnan(fc.max_pool2d(np.moveaxis(x, 1, 1)[..., ::-1], 2)[0]).all()

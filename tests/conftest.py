"""`--op-coverage`: after the run, print which kernels agreed with PyTorch, by operation, backend and dtype.

A test says that it compares a kernel with PyTorch by the marker `against_torch`; its parameters `kernel` (a
`fastconv.testing.Kernel`) and `dtype` say which. Only tests that passed count.
"""

import signal
from collections import defaultdict

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv._settings import BACKENDS
from fastconv._table import TABLE
from fastconv.testing import Kernel

MARKERS = {"numba": pytest.mark.numba, "cuda": pytest.mark.gpu}

_passed: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))


def pytest_addoption(parser):
    parser.addoption(
        "--op-coverage", action="store_true", help="print the table op x backend x dtype compared with PyTorch"
    )


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; the programs tested inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)  # its threads spin after every small call, on the cores that ours are tested on
    config.addinivalue_line("markers", "against_torch: compares the kernel of its parameters with PyTorch")


def pytest_collection_modifyitems(items):
    for item in items:
        kernel = getattr(item, "callspec", None) and item.callspec.params.get("kernel")
        if isinstance(kernel, Kernel) and kernel.row.backend in MARKERS:
            item.add_marker(MARKERS[kernel.row.backend])


@pytest.fixture(params=["cy", pytest.param("nb", marks=pytest.mark.numba)])
def compiled(request):
    """The fast kernels of the operation whose reference the test module imports as `ref`: the compiled ones, Numba's."""
    return pytest.importorskip(f"{request.module.ref.__package__}.{request.param}")


@pytest.fixture(params=["cython", pytest.param("numba", marks=pytest.mark.numba)])
def fast(request):
    """The backends that are compared with the reference, one after the other."""
    reason = fc.backends()[request.param]
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """Numbers of threads, one after the other."""
    before = fc.get_num_threads()
    fc.set_num_threads(request.param)
    yield request.param
    fc.set_num_threads(before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().passed and item.get_closest_marker("against_torch"):
        kernel, dtype = item.callspec.params["kernel"], item.callspec.params["dtype"]
        outcome.get_result().user_properties.append(
            ("against_torch", (kernel.op, kernel.row.backend, np.dtype(dtype).name))
        )


def pytest_runtest_logreport(report):  # of this process's tests, and under pytest-xdist of every worker's
    for name, value in report.user_properties if report.when == "call" else ():
        if name == "against_torch":
            op, backend, dtype = value
            _passed[op, backend][dtype] += 1


def pytest_terminal_summary(terminalreporter, config):
    if not config.getoption("--op-coverage"):
        return
    terminalreporter.section("compared with PyTorch: number of cases passed, float32/float64")
    terminalreporter.write_line(f"{'operation':32}" + "".join(f"{b:>14}" for b in BACKENDS))
    missing = []
    for op, rows in TABLE.items():
        cells = []
        for backend in BACKENDS:
            counts = _passed.get((op, backend), {})
            if backend not in {row.backend for row in rows}:
                cells.append("-")
            else:
                cells.append(f"{counts.get('float32', 0)}/{counts.get('float64', 0)}")
                missing += [f"{op} {backend} {d}" for d in ("float32", "float64") if not counts.get(d)]
        terminalreporter.write_line(f"{op:32}" + "".join(f"{c:>14}" for c in cells))
    terminalreporter.write_line("complete" if not missing else "missing: " + ", ".join(missing))

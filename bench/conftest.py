"""Benches run one side at a time: `pytest bench --benchmark-only --benchmark-group-by=param:case`.

The sides are the CPU backends that can be used here, and PyTorch where it is installed. For ratios that can be trusted use
`bench/compare.py`, which gives each side a process of its own.
"""

import importlib.util

import pytest

import fastconv as fc

SIDES = [*(name for name, reason in fc.backends().items() if not reason and name != "cuda")]
if importlib.util.find_spec("torch"):
    SIDES.append("torch")


def pytest_addoption(parser):
    parser.addoption("--sides", default=",".join(SIDES), help="comma separated: " + ", ".join(SIDES))


def pytest_generate_tests(metafunc):
    if "side" in metafunc.fixturenames:
        metafunc.parametrize("side", metafunc.config.getoption("--sides").split(","))


@pytest.fixture
def timed(benchmark, side):
    """timed(ours, theirs): times ours() on the side's backend, or theirs(torch), which returns PyTorch's callable."""

    def run(ours, theirs):
        benchmark.extra_info["threads"] = fc.get_num_threads()
        if side == "torch":
            torch = pytest.importorskip("torch")
            torch.set_num_threads(fc.get_num_threads())
            return benchmark(theirs(torch))
        with fc.backend(side):
            return benchmark(ours)

    return run

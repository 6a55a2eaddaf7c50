"""bench/compare_gpu.py where there is no card: it says so, and its table is a table."""

import importlib.util
import sys
from pathlib import Path

import pytest

import fastconv as fc

SCRIPT = Path(__file__).parents[2] / "bench" / "compare_gpu.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("compare_gpu", SCRIPT)
    module = sys.modules["compare_gpu"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not fc.backends()["cuda"], reason="there is a card")
def test_without_a_card_it_says_why(script, capsys):
    assert script.main([]) == 2
    assert "no comparison: " in capsys.readouterr().err


def test_rows_of_the_table(script):
    rows = [
        script.Row("conv", 2.0, 3.0, 1.0, gigaflops=50.0, error=1e-7),
        script.Row("relu", 1.0, 1.0, gigabytes=1.5),
        script.Row("step", 0.5, 2.0),
    ]
    lines = script.table(rows, {"gbs": 3000.0, "tflops": 50.0}).splitlines()[2:]
    assert lines == [
        "| conv | 2.0000 | 1.50 | 0.50 | 50 % of rate | 1.0e-07 |",
        "| relu | 1.0000 | 1.00 |  | 50 % of bandwidth | 0.0e+00 |",
        "| step | 0.5000 | 4.00 |  |  | 0.0e+00 |",
    ]

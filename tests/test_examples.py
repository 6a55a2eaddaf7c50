"""The examples run and draw."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

ROOT = Path(__file__).parents[1]
NAMES = [
    "initial_values", "optimizer_paths", "optimizers_compared", "overfitting", "normalisation", "hyper_parameters",
    "filters", "misclassified", "curves",
]  # fmt: skip


@pytest.mark.system("F24")
def test_experiments(tmp_path):
    command = [sys.executable, ROOT / "examples" / "experiments.py", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(NAMES)
    for path in tmp_path.iterdir():
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.02, path
    assert "accuracy by class" in done.stdout


def test_an_unknown_experiment():
    command = [sys.executable, ROOT / "examples" / "experiments.py", "alchemy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "alchemy" in done.stderr


def test_a_network_through_an_onnx_file(tmp_path):
    for package in ("onnx", "sklearn"):
        pytest.importorskip(package)
    command = [sys.executable, ROOT / "examples" / "onnx_roundtrip.py", "--quick", "--out", tmp_path / "digits.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("largest difference") >= 3
    assert float(re.search(r"trained: ([\d.]+)% of", done.stdout)[1]) > 70
    assert (tmp_path / "digits.onnx").stat().st_size > 1_000_000

"""The examples run and draw."""

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

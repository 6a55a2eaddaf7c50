"""The examples run and draw."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
EXPERIMENTS = [
    "initial_values", "optimizer_paths", "optimizers_compared", "overfitting", "normalisation", "hyper_parameters",
    "filters", "misclassified", "curves",
]  # fmt: skip
# What each example must print (a pattern for each number whose value is not known to the last digit), and its pictures.
SHOWN = {
    "01_functions": (r"XOR  \[0, 1, 1, 0\].*\[0\.31682708 0\.69627909\].*0\.0975.*\[6\. 8\.\]", ["perceptron"]),
    "02_layer_by_hand": (r"head\.W +largest difference \d\.\de-0[5-9]", []),
    "03_simple_convnet": (r"360 test images: 0\.[89]", ["simple_convnet"]),
    "04_deep_convnet": (r"accuracy of the best epoch, number [12]: 0\.\d+", ["deep_convnet", "deep_convnet_mistakes"]),
    "05_initial_values": (r"relu +He +standard deviations", ["activations", "initial_values"]),
    "06_own_network": (r"block\.conv1.*test images: 0\.[3-9]", []),
    "07_transfer_learning": (r"head alone: .* -> [01]\.\d.*all of it: .* -> [01]\.\d", ["shapes"]),
    "08_feature_maps": (r"zeros behind the ReLUs", ["first_filters", "digit", "maps_first", "maps_last"]),
    "09_compiled_prediction": (r"batch 100: .* compiled", []),
    "10_lenet": (r"LeNet: accuracy of the test images 0\.\d+.*shared weights: accuracy of the test images 0\.\d+", []),
    "11_regression": (r"relative difference: \d.*e-\d\d", []),
    "12_pytorch_weights": (r"after: 0\.0.*missing: \[\].*fc\.weight.*taken: True", []),
    "13_kernels": (r"-> .*chosen.*highest: error \d\.\de-07", []),
}


def run(name, *arguments, folder):
    command = [sys.executable, EXAMPLES / f"{name}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_drawn(pictures):
    for path in pictures:
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 80 and picture[..., :3].std() > 0.02, path


@pytest.mark.parametrize("name", SHOWN)
def test_example(name, tmp_path):
    pattern, pictures = SHOWN[name]
    shown = run(name, "--quick", folder=tmp_path)
    assert re.search(pattern, shown, re.S), shown
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(pictures)
    assert_drawn(tmp_path.iterdir())


def test_every_example_is_tested():
    assert sorted(SHOWN) == sorted(path.stem for path in EXAMPLES.glob("[0-9]*.py"))


@pytest.mark.system("F24")
def test_experiments(tmp_path):
    shown = run("experiments", "--quick", "--out", tmp_path / "pictures", folder=tmp_path)
    assert sorted(path.stem for path in (tmp_path / "pictures").iterdir()) == sorted(EXPERIMENTS)
    assert_drawn((tmp_path / "pictures").iterdir())
    assert "accuracy by class" in shown


def test_an_unknown_experiment():
    command = [sys.executable, EXAMPLES / "experiments.py", "alchemy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "alchemy" in done.stderr


def test_a_network_through_an_onnx_file(tmp_path):
    for package in ("onnx", "sklearn"):
        pytest.importorskip(package)
    shown = run("onnx_roundtrip", "--quick", "--out", tmp_path / "digits.onnx", folder=tmp_path)
    assert shown.count("largest difference") >= 3
    assert float(re.search(r"trained: ([\d.]+)% of", shown)[1]) > 70
    assert (tmp_path / "digits.onnx").stat().st_size > 1_000_000

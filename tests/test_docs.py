"""The programs in the documentation run."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGES = Path(__file__).parents[1] / "docs"


def test_the_first_network():
    program = re.search(r"```python\n(.*?)```", (PAGES / "networks.md").read_text(), re.S)[1]
    names = {}
    exec(program, names)
    assert list(names["net"].params)[:2] == ["stem.0.W", "stem.1.gamma"]
    assert "block.conv1" in names["net"].summary((1, 3, 32, 32))


def test_a_network_written_as_onnx(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", (PAGES / "onnx_export.md").read_text(), re.S)[1]
    names = {}
    exec(program, names)
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    np.testing.assert_allclose(names["model"](x), names["net"].predict(x), atol=1e-6)
    assert names["scores"].shape == (5, 10)

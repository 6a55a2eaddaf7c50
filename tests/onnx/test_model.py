"""The interface of a model, the package that may be missing, and what the page on ONNX says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import convolution, model, random

import fastconv.onnx
from fastconv.onnx.operators import OPERATORS

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()


def test_inputs_outputs_nodes_and_summary():
    net = fastconv.onnx.load(convolution())
    assert net.inputs == [("x", ("N", 3, 8, 8), np.float32)]
    assert net.outputs[0].name == "y" and net.outputs[0].dtype == np.float32
    assert [(node.type, node.name, node.opset) for node in net.nodes] == [("Conv", "conv0", 17), ("Relu", "relu1", 17)]
    assert {name: v.shape for name, v in net.parameters.items()} == {"w": (4, 3, 3, 3), "b": (4,)}
    text = net.summary()
    for part in ("(N, 3, 8, 8) float32", "1 Conv", "1 Relu", "2 nodes, 112 numbers in 2 arrays"):
        assert part in text
    assert "(N, 3, 8, 8)" in repr(net)


def test_several_inputs_and_outputs():
    nodes = [("Add", "a b", "s", {}), ("Sub", "a b", "d", {})]
    net = fastconv.onnx.load(model(nodes, {"a": ["N"], "b": ["N"]}, {"s": ["N"], "d": ["N"]}))
    a, b = random(3), random(3, seed=1)
    for given in (net(a, b), net(a, b=b), net(b=b, a=a)):
        assert isinstance(given, tuple)
        np.testing.assert_array_equal(given, (a + b, a - b))


def test_inputs_of_any_memory():
    net = fastconv.onnx.load(convolution())
    x = random(2, 8, 8, 3).transpose(0, 3, 1, 2)
    x.flags.writeable = False
    right = net(np.ascontiguousarray(x))
    np.testing.assert_array_equal(net(x), right)
    np.testing.assert_array_equal(net(x.tolist()), right)
    np.testing.assert_array_equal(net(x[:0]), right[:0])


def test_fastconv_does_not_import_onnx():
    program = """
import sys
import fastconv, fastconv.onnx
assert "onnx" not in sys.modules
sys.modules["onnx"] = None
for use in (lambda: fastconv.onnx.load(b""), lambda: fastconv.onnx.Backend):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    sentence = "a model in ONNX's format needs onnx, which is not installed: pip install 'fastconv[onnx]'"
    assert done.stdout.splitlines() == [sentence] * 2


def test_the_page_lists_the_operators():
    table = re.search(r"\| Family.*?\n\n", PAGE, re.S)[0]
    assert set(re.findall(r"\b[A-Z]\w+", table)) - {"Family", "Operators"} == set(OPERATORS)


def test_the_page_names_the_opsets():
    onnx = pytest.importorskip("onnx")
    assert int(re.search(r"Opsets 6 to (\d+)", PAGE)[1]) <= onnx.defs.onnx_opset_version()

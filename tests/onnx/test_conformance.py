"""ONNX's own conformance tests on fastconv, unmodified: operators one by one, and its light models.

What does not run stands in conformance_excluded.py with a reason; it must not be able to run.
"""

import os
import re
import tempfile
from collections import Counter

import numpy as np
import onnx
import pytest
from conformance_excluded import OPERATORS_LEFT_OUT, reason
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

import fastconv.onnx
from fastconv.onnx.operators import OPERATORS

os.environ["ONNX_MODELS"] = tempfile.mkdtemp()  # where the light models' inputs are written

KINDS = "node", "simple", "pytorch-operator", "pytorch-converted"


def _cases():
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            yield case.name, case.model or onnx.load(os.path.join(case.model_dir, "model.onnx"))


MODELS = dict(_cases())
LEFT_OUT = {name: why for name, model in MODELS.items() if (why := reason(name + "_", model))}


def _classes():
    """The runner's classes of tests without those for other devices, and without those that are left out."""
    classes = BackendTest(fastconv.onnx.Backend, __name__).test_cases
    for tests in classes.values():
        for name in [name for name in vars(tests) if name.startswith("test_")]:
            if not name.endswith("_cpu") or name.removesuffix("_cpu") in LEFT_OUT:
                delattr(tests, name)
    return classes


globals().update(_classes())


def test_what_is_left_out_cannot_run():
    runs = [
        name
        for name in LEFT_OUT
        if not name.startswith(("test_training_dropout", "test_attention_4d_causal_fp16_expanded"))
        and _loads(MODELS[name])
    ]
    assert runs == []


def _loads(model):
    try:
        fastconv.onnx.load(model)
    except ValueError:
        return False
    return True


def test_counts():
    reasons = Counter(LEFT_OUT.values())
    print(len(MODELS) - len(LEFT_OUT), "tests run, left out:", *reasons.items(), sep="\n")
    assert len(MODELS) - len(LEFT_OUT) >= 1270  # of ONNX 1.23; later versions have more
    assert not [t for t in OPERATORS for pattern in OPERATORS_LEFT_OUT if re.fullmatch(pattern, t)]


def test_every_operator_of_the_table_is_tested():
    used = {node.op_type for name, model in MODELS.items() if name not in LEFT_OUT for node in model.graph.node}
    assert set(OPERATORS) - used <= {"GlobalLpPool"}  # which ONNX has no test of; test_operators.py has


def test_the_light_models_are_there():
    names = {case.name for case in load_model_tests(kind="real")}
    assert len(names) >= 9
    assert {f"{name}_cpu" for name in names} <= {
        name for name in dir(globals()["OnnxBackendRealModelTest"]) if name.startswith("test")
    }


@pytest.mark.parametrize("device", ["CUDA", "CUDA:1"])
def test_other_devices_are_refused(device):
    assert not fastconv.onnx.Backend.supports_device(device)
    with pytest.raises(ValueError, match="device"):
        fastconv.onnx.Backend.prepare(MODELS["test_relu"], device)


def test_one_node():
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    a, b = np.ones(3, np.float32), np.arange(3, dtype=np.float32)
    (c,) = fastconv.onnx.Backend.run_node(node, [a, b])
    np.testing.assert_array_equal(c, a + b)

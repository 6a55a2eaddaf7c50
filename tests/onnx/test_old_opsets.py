"""Forms of operators before the newest, which ONNX's conformance tests do not have, and what these leave out."""

import numpy as np
import pytest
from onnx import TensorProto
from small_models import model, random

import fastconv.onnx

X = random(2, 4, 6, 6)


def run(node, opset, inputs=None, constants=None, results="y", kinds=()):
    """The result of one node for inputs of any shape."""
    op, attributes = node
    inputs = {"x": X} if inputs is None else inputs
    constants = constants or {}
    names = " ".join([*inputs, *constants])
    made = model(
        [(op, names, results, attributes)],
        {name: a.shape for name, a in inputs.items()},
        dict.fromkeys(results.split()),
        constants,
        opset,
        kinds=kinds,
    )
    net = fastconv.onnx.load(made)
    y = net(**inputs)
    again = fastconv.onnx.load(made, fuse=False)(**inputs)
    for a, b in zip(y if isinstance(y, tuple) else [y], again if isinstance(again, tuple) else [again], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return y


def equal(y, right):
    np.testing.assert_allclose(y, right, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("opset", [6, 7, 9, 10])
def test_bounds_and_axes_as_attributes(opset):
    equal(run(("Clip", {"min": -0.5, "max": 0.25}), opset), np.clip(X, -0.5, 0.25))
    equal(run(("Clip", {"min": 0.0, "max": 6.0}), opset), np.clip(X, 0, 6))
    equal(run(("Clip", {"min": 0.0}), opset), np.maximum(X, 0))
    equal(run(("Unsqueeze", {"axes": [0, 4]}), opset), X[None, :, :, :, None].reshape(1, 2, 4, 6, 1, 6))
    equal(run(("Squeeze", {"axes": [1]}), opset, {"x": X[:, :1]}), X[:, 0])
    equal(run(("ReduceSum", {"axes": [1, 3], "keepdims": 0}), opset), X.sum((1, 3)))
    equal(run(("ReduceMean", {"axes": [2, 3]}), opset), X.mean((2, 3), keepdims=True))
    equal(run(("ReduceMax", {}), opset), X.max(keepdims=True))
    equal(run(("Softmax", {"axis": 1}), opset), np.exp(X) / np.exp(X).sum((1, 2, 3), keepdims=True))
    equal(run(("Pad", {"pads": [0, 0, 1, 0, 0, 0, 2, -1], "value": 1.5}), opset),
          np.pad(X, [(0, 0), (0, 0), (1, 2), (0, 0)], constant_values=1.5)[..., :-1])  # fmt: skip
    a, b = run(("Split", {"axis": 1, "split": [1, 3]}), opset, results="y z")
    equal(np.concatenate([a, b], 1), X)
    assert a.shape[1] == 1
    if opset < 10:
        equal(run(("Slice", {"starts": [1, -4], "ends": [100, -1], "axes": [1, 3]}), opset), X[:, 1:, :, -4:-1])
        values, places = run(("TopK", {"k": 2, "axis": 3}), opset, results="y z", kinds={"z": TensorProto.INT64})
        equal(values, np.sort(X)[..., :-3:-1])
        equal(places, np.argsort(X)[..., :-3:-1])


@pytest.mark.parametrize("opset", [6, 7, 8, 9, 12, 13])
def test_normalisation_and_dropout(opset):
    g, b, m, v = random(4, seed=1), random(4, seed=2), random(4, seed=3), random(4, seed=4) ** 2 + 0.1
    vectors = dict(zip("gbmv", (g, b, m, v), strict=True))
    by = (a.reshape(-1, 1, 1) for a in (g, b, m, v))
    gamma, beta, mean, var = by
    equal(
        run(("BatchNormalization", {"epsilon": 1e-3}), opset, None, vectors),
        gamma * (X - mean) / np.sqrt(var + 1e-3) + beta,
    )
    equal(run(("Dropout", {} if opset >= 12 else {"ratio": 0.3}), opset), X)
    y, mask = run(("Dropout", {}), max(opset, 10), results="y m", kinds={"m": TensorProto.BOOL})
    equal(y, X)
    assert mask.dtype == bool and mask.all()


def test_broadcasting_before_opset_7():
    b = random(4)
    equal(run(("Add", {"broadcast": 1, "axis": 1}), 6, None, {"b": b}), X + b.reshape(-1, 1, 1))
    equal(run(("Mul", {"broadcast": 1}), 6, None, {"b": np.float32(2)}), X * 2)
    equal(run(("PRelu", {}), 6, None, {"b": b}), np.where(X < 0, X * b.reshape(-1, 1, 1), X))


def test_enlargement():
    big = X.repeat(2, 2).repeat(3, 3)
    scales = np.array([1, 1, 2, 3], np.float32)
    equal(run(("Upsample", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}), 7), big)
    equal(run(("Upsample", {"mode": "nearest"}), 9, None, {"s": scales}), big)
    equal(run(("Resize", {"mode": "nearest"}), 10, None, {"s": scales}), big)
    y = run(("Upsample", {"mode": "linear"}), 9, None, {"s": np.array([1, 1, 2, 1], np.float32)})
    equal(y[:, :, 1:-1:2], (X[:, :, :-1] + X[:, :, 1:]) / 2)


def test_group_normalisation():
    size, opset = 4, 21  # before, the operator is deprecated, and the package onnx refuses it
    scale, shift = random(size, seed=1), random(size, seed=2)
    y = run(("GroupNormalization", {"num_groups": 2}), opset, None, {"s": scale, "t": shift})
    parts = X.reshape(2, 2, -1).astype(np.float64)
    plain = ((parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + 1e-5)).reshape(X.shape)
    by = [v.repeat(4 // size).reshape(-1, 1, 1) for v in (scale, shift)]
    equal(y, plain * by[0] + by[1])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_planes(p):
    equal(run(("GlobalLpPool", {"p": p}), 17), (np.abs(X) ** p).sum((2, 3), keepdims=True) ** (1 / p))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response(size):
    y = run(("LRN", {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}), 13)
    right = np.empty_like(X)
    for c in range(4):
        low, high = max(0, c - (size - 1) // 2), min(3, c + size // 2)
        total = (X[:, low : high + 1] ** 2).sum(1)
        right[:, c] = X[:, c] / (1.5 + 0.3 / size * total) ** 0.6
    equal(y, right)


def test_erf_is_accurate_everywhere():
    import math

    for dtype, tolerance in ((np.float32, 5e-7), (np.float64, 1e-14)):
        x = np.concatenate([np.linspace(-7, 7, 401), [1e-30, -1e-8, 0.5, -0.5, np.inf, -np.inf]]).astype(dtype)
        made = model([("Erf", "x", "y", {})], {"x": ["N"]}, {"y": ["N"]}, kind=1 if dtype == np.float32 else 11)
        right = np.array([math.erf(v) for v in x])
        np.testing.assert_allclose(fastconv.onnx.load(made)(x), right, rtol=tolerance, atol=1e-37)


def test_a_branch_is_chosen_by_a_number():
    from onnx import helper

    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, ["N", 4])
        branches[name] = helper.make_graph([helper.make_node(op, ["x"], [f"{op}_out"])], name, [], [out])
    nodes = [
        ("ReduceSum", "x", "s", {"keepdims": 0}),
        ("Greater", "s zero", "c", {}),
        ("If", "c", "h", branches),
        ("Tanh", "h", "y", {}),
    ]
    made = model(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}, {"zero": np.float32(0)}, 13)
    net, x = fastconv.onnx.load(made), np.abs(random(2, 4))
    equal(net(x), np.tanh(x))
    equal(net(-x), np.tanh(x))
    branches["then_branch"].node[0].op_type = "Det"
    made = model(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}, {"zero": np.float32(0)}, 13)
    with pytest.raises(ValueError, match=r"1 of 6 nodes are not supported:\n  Det"):
        fastconv.onnx.load(made)

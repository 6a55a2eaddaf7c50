"""Networks that torch.onnx exports: what they compute against PyTorch, merged and node by node."""

import copy

import numpy as np
import pytest
import torch
from exported_networks import NETWORKS, SIZE, exported, network

import fastconv.onnx


def images(n, dtype=np.float32, size=SIZE):
    return np.random.default_rng(n).standard_normal((n, 3, size, size)).astype(dtype)


def expected(net, x):
    with torch.no_grad():
        return copy.deepcopy(net).double()(torch.from_numpy(x).double()).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_in_float32(name):
    net = network(name)
    model = fastconv.onnx.load(exported(net))
    alone = fastconv.onnx.load(exported(net), fuse=False)
    for n in (1, 3, 1):
        x = images(n)
        right = expected(net, x)
        scale = np.abs(right).max()
        assert model(x).dtype == np.float32
        np.testing.assert_allclose(model(x) / scale, right / scale, atol=1e-5)
        np.testing.assert_allclose(alone(x=x) / scale, right / scale, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_float64(name):
    net = network(name, torch.float64)
    file = exported(net, dtype=torch.float64)
    x = images(2, np.float64)
    right = expected(net, x)
    for fuse in (True, False):
        y = fastconv.onnx.load(file, fuse=fuse)(x)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 20])
def test_opsets(opset):
    for name in ("mobilenet v3", "plain", "shufflenet"):
        if opset == 9 and name == "plain":
            continue  # the exporter knows no averages in ceil mode there
        net = network(name)
        model = fastconv.onnx.load(exported(net, opset))
        assert {node.opset for node in model.nodes} == {opset}
        np.testing.assert_allclose(model(images(2)), expected(net, images(2)), atol=2e-5)


@pytest.mark.parametrize("name", ["resnet", "mobilenet v2", "inception", "decoder"])
def test_any_size_of_image(name):
    net = network(name)
    model = fastconv.onnx.load(exported(net, dynamic="size"))
    for size in (32, 48, 40, 32):
        x = images(2, size=size)
        np.testing.assert_allclose(model(x), expected(net, x), atol=2e-5)


def test_float16_is_computed_in_float32():
    net = network("resnet")
    half = copy.deepcopy(net).half()
    file = exported(half, dtype=torch.float16)
    x = images(2).astype(np.float16)
    y = fastconv.onnx.load(file)(x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, expected(half, x), rtol=3e-3, atol=3e-3)


def test_against_onnxruntime():
    runtime = pytest.importorskip("onnxruntime")
    for name in NETWORKS:
        file, x = exported(network(name)), images(2)
        session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (right,) = session.run(None, {"x": x})
        np.testing.assert_allclose(fastconv.onnx.load(file)(x), right, atol=2e-5)

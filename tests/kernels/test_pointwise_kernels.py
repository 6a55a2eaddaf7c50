"""1x1 convolution as a product of matrices against the reference: exactly, on whole numbers, for any sizes."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import _check, _dispatch
from fastconv._table import TABLE, pointwise, pointwise_backward_data
from fastconv._threads import vector_registers
from fastconv.kernels.conv2d import ref
from fastconv.testing import DTYPES, whole

affine = pytest.importorskip("fastconv.kernels.affine.cy")
Chain = pytest.importorskip("fastconv.kernels.chain.cy").Chain

# (C, FN) of a group
CHANNELS = [(1, 1), (1, 9), (4, 64), (7, 3), (9, 29), (33, 17), (16, 100), (70, 130), (130, 40), (400, 30), (300, 400)]
IMAGES = [(0, 3, 3), (1, 1, 1), (1, 5, 7), (2, 8, 8), (3, 9, 9), (5, 4, 4), (1, 40, 31)]


def problems(dtype):
    for index, (channels, image) in enumerate((c, i) for c in CHANNELS for i in IMAGES):
        (C, FN), (N, H, W) = channels, image
        groups = 3 if index % 4 == 3 else 1
        x, w, b = (
            whole((N, groups * C, H, W), dtype),
            whole((groups * FN, C, 1, 1), dtype, 1),
            whole(groups * FN, dtype, 2),
        )
        yield _check.conv2d(x, w, b if index % 3 else None, 1, 0, 1, groups, "relu" if index % 2 else None)


@pytest.fixture(params=[1, 3], ids="{}-threads".format)
def threads(request):
    before = fc.get_num_threads()
    fc.set_num_threads(request.param)
    yield
    fc.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward(dtype, threads):
    for p, x, w, b in problems(dtype):
        ours, expected = np.full(p.out_shape, np.nan, dtype), np.empty(p.out_shape, dtype)
        affine.pointwise_forward(ours, x, w, b, p)
        ref.forward(expected, x, w, b, p)
        np.testing.assert_array_equal(ours, expected, str(p))


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_data(dtype, threads):
    for p, _, w, _ in problems(dtype):
        dout = whole(p.out_shape, dtype, 3)
        ours, expected = np.full(p.x_shape, np.nan, dtype), np.empty(p.x_shape, dtype)
        affine.pointwise_backward_data(ours, dout, w, p)
        ref.backward_data(expected, dout, w, p)
        np.testing.assert_array_equal(ours, expected, str(p))


def problem(C=64, FN=256, H=14, **options):
    K = options.pop("K", 1)
    groups = options.get("groups", 1)
    x, w = whole((2, C, H, H), np.float32), whole((FN, C // groups, K, K), np.float32)
    return _check.conv2d(x, w, None, **{"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options})[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_with_strides(dtype, threads):
    for stride in (2, (1, 2), (3, 1), (2, 5), 40):
        for (C, FN), (N, H, W) in ((c, i) for c in CHANNELS[:6] for i in IMAGES):
            x, w = whole((N, C, H, W), dtype), whole((FN, C, 1, 1), dtype, 1)
            p, x, w, b = _check.conv2d(x, w, whole(FN, dtype, 2), stride, 0, 1, 1, None)
            ours, expected = np.full(p.out_shape, np.nan, dtype), np.empty(p.out_shape, dtype)
            affine.pointwise_forward(ours, x, w, b, p)
            ref.forward(expected, x, w, b, p)
            np.testing.assert_array_equal(ours, expected, str(p))


@pytest.mark.parametrize("registers", [16, 32])
def test_what_it_takes(registers, monkeypatch):
    monkeypatch.setattr("fastconv._table.vector_registers", lambda: registers)
    assert pointwise(problem()) == ""
    assert pointwise_backward_data(problem(C=256, FN=64)) == ""
    assert "1 x 1" in pointwise(problem(K=3))
    for rule in (pointwise, pointwise_backward_data):
        assert ("groups" in rule(problem(groups=2))) == (registers == 32)
    assert "padding" in pointwise(problem(padding=1))
    assert "pays" in pointwise(problem(H=5))
    assert "stride" in pointwise_backward_data(problem(stride=2))
    for p in (problem(C=256, FN=64, H=56), problem(H=7), problem(stride=2, H=15)):
        assert ("pays" in pointwise(p)) == (registers == 32)


def test_registers(monkeypatch):
    for isa, machine, registers in (("avx512", "x86_64", 32), ("avx2", "x86_64", 16), ("baseline", "aarch64", 32)):
        monkeypatch.setattr("fastconv._threads.isa", lambda isa=isa: isa)
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert vector_registers() == registers


@pytest.mark.parametrize("dtype", DTYPES)
def test_prepared_steps(dtype, threads):
    for p, x, w, b in problems(dtype):
        if p.N == 0:
            continue  # a chain is prepared from some images
        dout = whole(p.out_shape, dtype, 3)
        out, dx = np.empty(p.out_shape, dtype), np.empty(p.x_shape, dtype)
        ref.forward(out, x, w, b, p)
        ref.backward_data(dx, dout, w, p)
        forward, data = affine.prepare_pointwise(w, b, p), affine.prepare_pointwise_data(w, p)
        np.testing.assert_array_equal(Chain([forward], x, p.out_shape)(x), out, str(p))
        np.testing.assert_array_equal(Chain([data], dout, p.x_shape)(dout), dx, str(p))


def test_the_table_names_them():
    rows = [row for op in TABLE for row in TABLE[op] if "pointwise" in row.kernel]
    assert [row.prepare for row in rows] == ["affine.cy:prepare_pointwise", "affine.cy:prepare_pointwise_data"]
    p = problem()
    assert _dispatch.kernel("conv2d_forward", p) is affine.pointwise_forward
    assert _dispatch.prepare("conv2d_forward", p) is affine.prepare_pointwise
    p = problem(C=256, FN=64)
    assert _dispatch.kernel("conv2d_backward_data", p) is affine.pointwise_backward_data
    assert _dispatch.prepare("conv2d_backward_data", p) is affine.prepare_pointwise_data

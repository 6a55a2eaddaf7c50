"""What the tests of Winograd's kernels share: problems, what is exact, and their properties."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check
from fastconv.kernels.winograd import cy
from fastconv.testing import normal


def flat(problems):
    return [
        pytest.param(*case, id=f"{name}-{'-'.join(map(str, case))}")
        for name, cases in problems.items()
        for case in cases
    ]


def winograd_case(stride, N, C, H, W, FN, padding, activation=None, filter_size=(3, 3)):
    """(Problem, x, w, b, dout) of normal numbers, float32."""
    x, w, b = normal((N, C, H, W), np.float32), normal((FN, C, *filter_size), np.float32, 1), normal(FN, np.float32, 2)
    p, x, w, b = _check.conv2d(x, w, b, stride, padding, 1, 1, activation)
    return p, x, w, b, normal(p.out_shape, np.float32, 3)


def exact(p, x, w, b, dout):
    """(y, dx, dw, db) in float64."""
    x, w, b = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    y = F.conv2d(F.pad(x, (p.pad_left, p.pad_right, p.pad_top, p.pad_bottom)), w, b, (p.stride_h, p.stride_w))
    y.backward(torch.tensor(dout, dtype=torch.float64))
    return tuple(a.detach().numpy() for a in (y, x.grad, w.grad, b.grad))


def run(p, x, w, b, dout):
    """(y, dx, dw, db) by the kernels, in arrays that held NaN."""
    y, dx, dw, db = (np.full(s, np.nan, np.float32) for s in (p.out_shape, p.x_shape, p.w_shape, p.FN))
    cy.forward(y, x, w, b, p)
    cy.backward_data(dx, dout, w, p)
    cy.backward_weights(dw, db, dout, x, p)
    return y, dx, dw, db


def rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


def assert_close_by_rms(results, expected, error):
    for got, exactly in zip(results, expected, strict=True):
        assert rms(got - exactly) <= error * rms(exactly)


def assert_repeatable(p, *arrays, error):
    """Right, and the same bits each time."""
    results = run(p, *arrays)
    assert_close_by_rms(results, exact(p, *arrays), error)
    for _ in range(3):
        for again, first in zip(run(p, *arrays), results, strict=True):
            np.testing.assert_array_equal(again, first)


def assert_same_bits(p, x, w, b, _dout):
    """Forward, whatever the number of threads."""
    results = []
    before = fc.get_num_threads()
    for n in (1, 2, 3):
        fc.set_num_threads(n)
        results.append(np.empty(p.out_shape, np.float32))
        cy.forward(results[-1], x, w, b, p)
    fc.set_num_threads(before)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def assert_bias_and_relu(p, x, w, b, dout, error):
    y, without = np.full(p.out_shape, np.nan, np.float32), np.full(p.out_shape, np.nan, np.float32)
    cy.forward(y, x, w, b, p)
    cy.forward(without, x, w, None, p)
    linear = exact(p, x, w, b, dout)[0]
    assert rms(y - np.maximum(linear, 0)) <= error * rms(linear)
    assert rms(without - np.maximum(linear - b[:, None, None], 0)) <= error * rms(linear)
    assert (y >= 0).all() and (y == 0).any()


def assert_error_statistics(p, *arrays):
    """What the documentation promises: the error's root mean square, and no far outliers."""
    for got, expected in zip(run(p, *arrays)[:3], exact(p, *arrays)[:3], strict=True):
        error = (got - expected) / rms(expected)
        assert rms(error) < 1.2e-6
        assert abs(error).max() < 20e-6
        assert abs(error.mean()) < 2e-7


def assert_inputs_stay(p, *arrays):
    before = [a.copy() for a in arrays]
    run(p, *arrays)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)

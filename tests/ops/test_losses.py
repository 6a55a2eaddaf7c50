"""Losses in plain NumPy against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv.testing import normal


@pytest.mark.parametrize("reduction, scale", [("half_sum", 0.5), ("sum", 1.0), ("mean", None)])
def test_mean_squared_error(reduction, scale):
    y, t = normal((3, 4), np.float64), normal((3, 4), np.float64, 1)
    ty = torch.tensor(y, requires_grad=True)
    expected = F.mse_loss(ty, torch.tensor(t), reduction="mean" if scale is None else "sum") * (scale or 1.0)
    expected.backward()
    np.testing.assert_allclose(fc.mean_squared_error(y, t, reduction), expected.item())
    np.testing.assert_allclose(fc.mean_squared_error_backward(y, t, reduction), ty.grad.numpy())


def test_known_values():
    t = np.eye(10)[2]
    y = [0.1, 0.05, 0.6, 0, 0.05, 0.1, 0, 0.1, 0, 0]
    np.testing.assert_allclose(fc.mean_squared_error(y, t), 0.0975)
    np.testing.assert_allclose(fc.mean_squared_error([0.001, 0.9, 0.001, 0.098], [0, 0, 0, 1]), 0.811803)


def test_nll_loss():
    x, t = normal((5, 3), np.float64), np.array([0, 1, 2, 1, 0])
    tx = torch.log_softmax(torch.tensor(x), 1).requires_grad_()
    expected = F.nll_loss(tx, torch.tensor(t))
    expected.backward()
    log_y = fc.log_softmax(x)
    np.testing.assert_allclose(fc.nll_loss(log_y, t), expected.item())
    np.testing.assert_allclose(fc.nll_loss_backward(log_y, t), tx.grad.numpy())

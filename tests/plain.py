"""The book's formulas in plain NumPy: the reference that layers and networks are compared with.

Written for reading, with windows as views and one einsum per formula. Nothing here uses fastconv.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def padded(x, pad, value=0.0):
    return np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)], constant_values=value)


def windows(x, h, w, stride):
    """(N, C, OH, OW, h, w)"""
    return sliding_window_view(x, (h, w), axis=(2, 3))[:, :, ::stride, ::stride]


def add_windows(dwindows, shape, stride, pad):
    """The adjoint of `windows` of a padded image: every element of a window added where it came from."""
    N, C, H, W = shape
    OH, OW, FH, FW = dwindows.shape[2:]
    dx = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    for i in range(OH):
        for j in range(OW):
            dx[:, :, i * stride : i * stride + FH, j * stride : j * stride + FW] += dwindows[:, :, i, j]
    return dx[:, :, pad : pad + H, pad : pad + W]


def convolution(x, W, b, stride=1, pad=0):
    view = windows(padded(x, pad), *W.shape[2:], stride)
    return np.einsum("ncijuv,fcuv->nfij", view, W, optimize=True) + b[:, None, None]


def convolution_backward(dout, x, W, stride=1, pad=0):
    view = windows(padded(x, pad), *W.shape[2:], stride)
    dW = np.einsum("ncijuv,nfij->fcuv", view, dout, optimize=True)
    dwindows = np.einsum("nfij,fcuv->ncijuv", dout, W, optimize=True)
    return add_windows(dwindows, x.shape, stride, pad), dW, dout.sum(axis=(0, 2, 3))


def max_pooling(x, h, w, stride, pad=0):
    return windows(padded(x, pad, -np.inf), h, w, stride).max(axis=(4, 5))


def max_pooling_backward(dout, x, h, w, stride, pad=0):
    """The first maximum of each window takes the gradient."""
    view = windows(padded(x, pad, -np.inf), h, w, stride)
    flat = view.reshape(*view.shape[:4], h * w)
    first = np.arange(h * w) == flat.argmax(axis=4)[..., None]
    return add_windows((first * dout[..., None]).reshape(view.shape), x.shape, stride, pad)


def affine(x, W, b):
    return x.reshape(len(x), -1) @ W + b


def affine_backward(dout, x, W):
    rows = x.reshape(len(x), -1)
    return (dout @ W.T).reshape(x.shape), rows.T @ dout, dout.sum(axis=0)


def relu(x):
    return np.where(x > 0, x, 0)


def relu_backward(dout, x):
    return np.where(x > 0, dout, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def one_hot(t, classes):
    return np.eye(classes)[t]


def softmax_with_loss(x, t):
    """t: labels. Loss with the book's 1e-7, and its gradient."""
    y = softmax(x)
    loss = -np.mean(np.log(y[np.arange(len(t)), t] + 1e-7))
    return loss, (y - one_hot(t, x.shape[1])) / len(t)


def batch_normalization(x, gamma, beta):
    """x (N, D), training: the result, and what the backward and the running statistics need."""
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + 10e-7)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (mean, var, std, x_hat)


def batch_normalization_backward(dout, gamma, saved):
    _, _, std, x_hat = saved
    dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dbeta / len(dout) - x_hat * dgamma / len(dout)), dgamma, dbeta

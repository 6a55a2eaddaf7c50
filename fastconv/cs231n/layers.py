"""``cs231n.layers``: the functions that the assignments have their students write, each with its cache."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops

__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "conv_backward_naive",
    "conv_forward_naive",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "max_pool_backward_naive",
    "max_pool_forward_naive",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
    "svm_loss",
]

Param = dict[str, Any]
Cache = tuple[Any, ...]
Gradients = tuple[NDArray, NDArray, NDArray]


def affine_forward(x: NDArray, w: NDArray, b: NDArray) -> tuple[NDArray, Cache]:
    """x (N, d_1, ..., d_k), w (D, M), b (M,) -> (x as (N, D) . w + b, (x, w, b))."""
    return ops.affine(x, w, b), (x, w, b)


def affine_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dw, db) of `affine_forward`."""
    x, w, _ = cache
    return ops.affine_backward(dout, x, w)  # type: ignore[return-value]


def relu_forward(x: NDArray) -> tuple[NDArray, NDArray]:
    """(max(x, 0), x)."""
    return ops.relu(x), x


def relu_backward(dout: NDArray, cache: NDArray) -> NDArray:
    """dout where the cache is above 0, else 0."""
    return ops.relu_backward(dout, cache)


def batchnorm_forward(x: NDArray, gamma: NDArray, beta: NDArray, bn_param: Param) -> tuple[NDArray, Any]:
    """Batch normalisation over N.

    Parameters
    ----------
    x : ndarray (N, D)
    gamma, beta : ndarray (D,)
    bn_param : dict
        "mode" ("train" or "test"), and optionally "eps" (1e-5), "momentum" (0.9), "running_mean" and "running_var"
        (zeros), whose new values are put into it when training: ``momentum*running + (1 - momentum)*batch``, with the
        biased variance. "momentum" is the share of what was, not of the batch.

    Returns
    -------
    out : ndarray (N, D)
    cache
        For `batchnorm_backward`; None in mode "test".
    """
    mode = bn_param["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"bn_param['mode']: expected 'train' or 'test', got {mode!r}")
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    C = x.shape[1]
    mean, var = (
        np.array(bn_param.get(name, np.zeros(C, dtype=x.dtype))).reshape(C) for name in ("running_mean", "running_var")
    )
    alone = mode == "train" and x.size == C  # one number for each channel: it is its own mean
    if alone:
        out = np.zeros_like(x) + np.reshape(beta, (1, C) + (1,) * (x.ndim - 2))
        cache: Any = (x, np.reshape(gamma, C))
        mean, var = momentum * mean + (1 - momentum) * x.reshape(C), momentum * var
    else:
        out, cache = ops.batch_norm(x, gamma, beta, mean, var, mode == "train", 1 - momentum, eps, unbiased=False)
    bn_param["running_mean"], bn_param["running_var"] = mean, var
    return out, cache if mode == "train" else None


def batchnorm_backward(dout: NDArray, cache: Any) -> Gradients:
    """(dx, dgamma, dbeta) of `batchnorm_forward`."""
    if isinstance(cache, tuple):
        _, gamma = cache
        return np.zeros_like(dout), np.zeros_like(gamma), dout.reshape(gamma.shape).copy()
    return ops.batch_norm_backward(dout, cache)  # type: ignore[return-value]


batchnorm_backward_alt = batchnorm_backward


def spatial_batchnorm_forward(x: NDArray, gamma: NDArray, beta: NDArray, bn_param: Param) -> tuple[NDArray, Any]:
    """`batchnorm_forward` of x (N, C, H, W), for each channel over N, H and W."""
    return batchnorm_forward(x, gamma, beta, bn_param)


def spatial_batchnorm_backward(dout: NDArray, cache: Any) -> Gradients:
    """(dx, dgamma, dbeta) of `spatial_batchnorm_forward`."""
    return batchnorm_backward(dout, cache)


def _normalised(x: NDArray, eps: float) -> tuple[NDArray, NDArray]:
    """Rows of x with mean 0 and variance 1, and 1 / standard deviation."""
    centred = x - x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    return centred * inverse, inverse


def _normalised_backward(dnormal: NDArray, normal: NDArray, inverse: NDArray) -> NDArray:
    dx = dnormal - dnormal.mean(axis=1, keepdims=True) - normal * (dnormal * normal).mean(axis=1, keepdims=True)
    return dx * inverse


def layernorm_forward(x: NDArray, gamma: NDArray, beta: NDArray, ln_param: Param) -> tuple[NDArray, Cache]:
    """Each row of x (N, D) normalised, times gamma plus beta (D,). ln_param: optionally "eps" (1e-5)."""
    normal, inverse = _normalised(x, ln_param.get("eps", 1e-5))
    return gamma * normal + beta, (normal, inverse, gamma)


def layernorm_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dgamma, dbeta) of `layernorm_forward`."""
    normal, inverse, gamma = cache
    dx = _normalised_backward(dout * gamma, normal, inverse)
    return dx, np.sum(dout * normal, axis=0), dout.sum(axis=0)


def spatial_groupnorm_forward(
    x: NDArray, gamma: NDArray, beta: NDArray, G: int, gn_param: Param
) -> tuple[NDArray, Cache]:
    """Each image's channels in G groups, each group normalised; gamma and beta are (1, C, 1, 1) or (C,)."""
    N, C, H, W = x.shape
    if C % G:
        raise ValueError(f"G: expected a divisor of x's {C} channels, got {G}")
    normal, inverse = _normalised(x.reshape(N * G, -1), gn_param.get("eps", 1e-5))
    scale, shift = np.reshape(gamma, (1, C, 1, 1)), np.reshape(beta, (1, C, 1, 1))
    out = normal.reshape(x.shape) * scale + shift
    return out, (normal, inverse, scale, np.shape(gamma))


def spatial_groupnorm_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dgamma, dbeta) of `spatial_groupnorm_forward`."""
    normal, inverse, scale, shape = cache
    dx = _normalised_backward((dout * scale).reshape(normal.shape), normal, inverse).reshape(dout.shape)
    dgamma = np.sum(dout * normal.reshape(dout.shape), axis=(0, 2, 3))
    return dx, dgamma.reshape(shape), dout.sum(axis=(0, 2, 3)).reshape(shape)


def dropout_forward(x: NDArray, dropout_param: Param) -> tuple[NDArray, Cache]:
    """Inverted dropout.

    Parameters
    ----------
    x : ndarray
    dropout_param : dict
        "p", the probability of *keeping* a number (the assignments since 2018), "mode" ("train" or "test"), and
        optionally "seed" for NumPy's global generator, from which the mask is drawn as the assignment does.

    Returns
    -------
    out : ndarray
    cache : (dropout_param, mask)
        The mask holds 0 and 1/p; None in mode "test".
    """
    p, mode = dropout_param["p"], dropout_param["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"dropout_param['mode']: expected 'train' or 'test', got {mode!r}")
    if not 0 < p <= 1:
        raise ValueError(f"dropout_param['p']: expected the share to keep, above 0 and at most 1, got {p!r}")
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])  # noqa: NPY002  (the assignment's generator)
    if mode == "test":
        return x, (dropout_param, None)
    mask = (np.random.rand(*x.shape) < p) / p  # noqa: NPY002
    return (x * mask).astype(x.dtype, copy=False), (dropout_param, mask)


def dropout_backward(dout: NDArray, cache: Cache) -> NDArray:
    """The gradient of `dropout_forward`."""
    _, mask = cache
    return dout if mask is None else (dout * mask).astype(dout.dtype, copy=False)


def conv_forward_naive(x: NDArray, w: NDArray, b: NDArray, conv_param: Param) -> tuple[NDArray, Cache]:
    """As `fast_layers.conv_forward_fast`, but rows and columns behind the last whole window are left out; the cache is
    (x, w, b, conv_param)."""
    return ops.conv2d(x, w, b, conv_param["stride"], conv_param["pad"]), (x, w, b, conv_param)


def conv_backward_naive(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dw, db) of `conv_forward_naive`."""
    x, w, _, conv_param = cache
    return ops.conv2d_backward(dout, x, w, conv_param["stride"], conv_param["pad"])  # type: ignore[return-value]


def _window(pool_param: Param) -> tuple[tuple[int, int], int]:
    return (pool_param["pool_height"], pool_param["pool_width"]), pool_param["stride"]


def max_pool_forward_naive(x: NDArray, pool_param: Param) -> tuple[NDArray, Cache]:
    """Max pooling; rows and columns behind the last whole window are left out: (out, (x, pool_param))."""
    return ops.max_pool2d(x, *_window(pool_param))[0], (x, pool_param)


def max_pool_backward_naive(dout: NDArray, cache: Cache) -> NDArray:
    """The gradient of `max_pool_forward_naive`: the first maximum of a window has it."""
    x, pool_param = cache
    _, indices = ops.max_pool2d(x, *_window(pool_param))
    return ops.max_pool2d_backward(dout, indices, x.shape, *_window(pool_param))


def svm_loss(x: NDArray, y: NDArray) -> tuple[float, NDArray]:
    """Multi-class hinge loss of scores x (N, C) and labels y (N,): the mean over the rows of the sum over the other
    classes of ``max(0, x[j] - x[y] + 1)``, and its gradient."""
    rows = np.arange(len(x))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    dx = (margins > 0).astype(x.dtype)
    dx[rows, y] -= dx.sum(axis=1)
    return margins.sum() / len(x), dx / len(x)


def softmax_loss(x: NDArray, y: NDArray) -> tuple[float, NDArray]:
    """Mean cross entropy of scores x (N, C) and labels y (N,), and its gradient."""
    loss, probabilities = ops.softmax_cross_entropy(x, y)
    return loss, ops.softmax_cross_entropy_backward(probabilities, y)

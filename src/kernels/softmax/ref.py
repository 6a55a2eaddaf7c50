"""Softmax along the middle axis of (outer, n, inner), and its cross entropy; the readable truth.

softmax(x) = exp(x - max) / sum exp(x - max); log_softmax(x) = x - max - log(sum exp(x - max)).
dx = y*(dout - sum(dout*y)) for softmax; dx = dout - exp(y)*sum(dout) for log-softmax.
Cross entropy: mean over the rows of -sum(t*log_softmax(x)), gradient (y*sum(t) - t)/N, which is (y - t)/N for labels.
"""

import numpy as np
import numpy.typing as npt

from ..._problem import CrossEntropy, Softmax

Array = npt.NDArray[np.floating]


def _rows(a: Array, p: Softmax) -> Array:
    return a.reshape(p.outer, p.n, p.inner)


def _log_softmax(x: Array, axis: int) -> Array:
    if x.size == 0:
        return x.copy()
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def forward(out: Array, x: Array, p: Softmax) -> None:
    if x.size == 0:
        return
    xr, y = _rows(x, p), _rows(out, p)
    y[...] = np.exp(xr - xr.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)


def backward(dx: Array, dout: Array, y: Array, p: Softmax) -> None:
    dy, yr = _rows(dout, p), _rows(y, p)
    _rows(dx, p)[...] = yr * (dy - (dy * yr).sum(axis=1, keepdims=True))


def log_forward(out: Array, x: Array, p: Softmax) -> None:
    _rows(out, p)[...] = _log_softmax(_rows(x, p), axis=1)


def log_backward(dx: Array, dout: Array, y: Array, p: Softmax) -> None:
    dy = _rows(dout, p)
    _rows(dx, p)[...] = dy - np.exp(_rows(y, p)) * dy.sum(axis=1, keepdims=True)


def cross_entropy_forward(out: Array, x: Array, t: npt.NDArray, p: CrossEntropy) -> float:
    log_y = _log_softmax(x, axis=1)
    np.exp(log_y, out=out)
    if p.N == 0:
        return float("nan")
    if p.offset:
        log_y = np.log(out + p.offset)
    picked = log_y[np.arange(p.N), t] if p.labels else np.where(t == 0, 0, t * log_y)
    return float(-picked.sum(dtype=np.float64) / p.N)


def cross_entropy_backward(dx: Array, y: Array, t: npt.NDArray, p: CrossEntropy) -> None:
    if p.labels:
        dx[...] = y
        dx[np.arange(p.N), t] -= 1
    else:
        dx[...] = y * t.sum(axis=1, keepdims=True) - t
    dx /= max(p.N, 1)

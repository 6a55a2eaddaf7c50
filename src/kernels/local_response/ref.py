"""Local response normalisation over (N, C, P), across neighbouring channels; the readable truth.

s[c] = k + alpha/size * sum of x[d]^2 over the window c - size//2 <= d <= c + (size - 1)//2,   y = x * s^-beta
dx[d] = dout[d] * s[d]^-beta - 2*alpha*beta/size * x[d] * sum of dout[c]*x[c]*s[c]^(-beta - 1)
over the c whose windows hold d.
Source: A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep Convolutional Neural Networks,
2012; with PyTorch's alpha/size in the place of alpha.
"""

import numpy as np
import numpy.typing as npt

from ..._problem import LocalResponse

Array = npt.NDArray[np.floating]


def _sums(a: Array, before: int, after: int) -> Array:
    """out[:, c] = the sum of a[:, d] over c - before <= d <= c + after, as far as there are such channels."""
    C = a.shape[1]
    return np.stack([a[:, max(c - before, 0) : c + after + 1].sum(axis=1) for c in range(C)], axis=1)


def _scale(x: Array, p: LocalResponse) -> Array:
    return p.k + p.alpha / p.size * _sums(x * x, p.size // 2, (p.size - 1) // 2)


def forward(out: Array, x: Array, p: LocalResponse) -> None:
    x = x.reshape(p.N, p.C, p.P)
    out.reshape(p.N, p.C, p.P)[...] = x * _scale(x, p) ** -p.beta


def backward(dx: Array, dout: Array, x: Array, p: LocalResponse) -> None:
    dout, x = (a.reshape(p.N, p.C, p.P) for a in (dout, x))
    s = _scale(x, p)
    shares = _sums(dout * x * s ** (-p.beta - 1), (p.size - 1) // 2, p.size // 2)
    dx.reshape(p.N, p.C, p.P)[...] = dout * s**-p.beta - 2 * p.alpha * p.beta / p.size * x * shares

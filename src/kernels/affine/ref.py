"""y = x . W + b, the readable truth. W is (in, out), or (out, in) when the Problem says transposed."""

import numpy as np
import numpy.typing as npt

from ..._problem import Affine

Array = npt.NDArray[np.floating]


def forward(out: Array, x: Array, w: Array, b: Array | None, p: Affine) -> None:
    np.matmul(x, w.T if p.transposed else w, out=out)
    if b is not None:
        out += b
    if p.activation == "relu":
        np.maximum(out, 0, out=out)


def backward_data(dx: Array, dout: Array, w: Array, p: Affine) -> None:
    np.matmul(dout, w if p.transposed else w.T, out=dx)


def backward_weights(dw: Array, db: Array | None, dout: Array, x: Array, p: Affine) -> None:
    if p.transposed:
        np.matmul(dout.T, x, out=dw)
    else:
        np.matmul(x.T, dout, out=dw)
    if db is not None:
        db[...] = dout.sum(axis=0)

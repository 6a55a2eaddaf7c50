"""The book's layers: `forward` and `backward` on fastconv, for classes of a program that do the same.

Each function here gives a `Substitute`; its flags are what editions and forks of the book do differently. Attributes
are read where the book's methods read them and set where they set them, so that a program may look at them, change them
and save them.
"""

from typing import Any

import numpy as np

from .. import _check as check
from .. import ops
from .._dispatch import kernel
from .._random import source
from ..ops.activations import relu_masked, relu_masked_backward
from . import _trials as trials
from ._arrays import DOUBLE, bias, double, floats, number, parameter, same_type, whole
from ._classes import Substitute, keep, kept
from ._proof import NotTaken


def relu(in_place: bool) -> Substitute:
    """in_place: the gradient is written into `dout` itself."""

    def forward(self: Any, x: Any) -> Any:
        y, bits = relu_masked(floats(x, 0))
        keep(self, (bits, y.shape), "mask")
        return y

    def backward(self: Any, dout: Any) -> Any:
        bits, shape = kept(self, "mask")
        if floats(dout, 0).shape != shape:
            raise NotTaken("dout has another shape")
        if not in_place:
            return relu_masked_backward(dout, bits, shape)
        p, same = check.relu_masked_backward(dout, bits, shape)
        if same is not dout or not dout.flags.writeable:
            raise NotTaken("dout cannot be written to as it is")
        kernel("relu_masked_backward", p)(dout, dout, bits, p)
        return dout

    return Substitute({"forward": forward, "backward": backward}, {"mask": _mask})


def _mask(self: Any, state: Any) -> Any:
    bits, shape = state
    return np.unpackbits(bits, count=int(np.prod(shape)), bitorder="little").view(np.bool_).reshape(shape)


def sigmoid() -> Substitute:
    def forward(self: Any, x: Any) -> Any:
        self.out = y = ops.sigmoid(floats(x, 0))
        return y

    def backward(self: Any, dout: Any) -> Any:
        out = floats(self.out, 0)
        return ops.sigmoid_backward(same_type(floats(dout, 0), out.dtype), out)

    return Substitute({"forward": forward, "backward": backward})


def affine(tensor: bool) -> Substitute:
    """tensor: images are taken too, as rows; else only x (N, in), which early printings have."""

    def forward(self: Any, x: Any) -> Any:
        given, W = x, parameter(self, "W", 2)
        x = floats(x, 2, *((4,) if tensor else ()))
        rows = x.reshape(x.shape[0], -1)
        y = ops.affine(rows, W, bias(self, W.shape[1], np.promote_types(x.dtype, W.dtype)))
        if tensor:
            self.original_x_shape = given.shape
        self.x = rows if tensor else given
        return y

    def backward(self: Any, dout: Any) -> Any:
        x, W = floats(self.x, 2), parameter(self, "W", 2)
        dout = same_type(floats(dout, 2), np.promote_types(x.dtype, W.dtype))
        dx, dW, db = ops.affine_backward(dout, x, W)
        assert dx is not None
        if tensor:
            dx = dx.reshape(*self.original_x_shape)
        self.dW, self.db = dW, db
        return dx

    trial = trials.affine if tensor else trials.affine_of_rows
    return Substitute(
        {"forward": forward, "backward": backward}, trial=trial, least={"forward": 600, "backward": 30}
    )  # bench/NOTES.md, 2026-11-30


def softmax_with_loss(scaled: bool) -> Substitute:
    """scaled: backward multiplies by its argument, which the book's ignores."""

    def forward(self: Any, x: Any, t: Any) -> Any:
        x = floats(x, 2)
        if type(t) is not np.ndarray or not len(x):
            raise NotTaken("the targets are no array")
        labels = _labels(t, x.shape) if t.size != x.size else t.reshape(x.shape).argmax(axis=1)
        loss, y = ops.softmax_cross_entropy(x, labels, offset=1e-7)
        self.t, self.y, self.loss = t, y, x.dtype.type(loss)
        return self.loss

    def backward(self: Any, dout: Any = 1) -> Any:
        y = floats(self.y, 2)
        dx = ops.softmax_cross_entropy_backward(y, _labels(self.t, y.shape))
        return dx * dout if scaled else dx

    return Substitute({"forward": forward, "backward": backward})


def _labels(t: Any, shape: tuple[int, ...]) -> Any:
    """Labels that NumPy would take as they are: none negative, none beyond the classes."""
    N, classes = shape
    if type(t) is not np.ndarray or t.dtype.kind not in "iu" or t.shape != (N,) or t.size == N * classes:
        raise NotTaken("the targets are no labels")
    if t.min() < 0 or t.max() >= classes:
        raise NotTaken("a target is no class")
    return t


def dropout() -> Substitute:
    def forward(self: Any, x: Any, train_flg: Any = True) -> Any:
        x, ratio = floats(x, 0), number(self.dropout_ratio)
        if not train_flg:
            return x * (1.0 - ratio)
        if not 0 <= ratio <= 1:
            raise NotTaken("the ratio is none")
        self.mask = source().random(x.shape) > ratio
        return ops.dropout_backward(x, self.mask, ratio, inverted=False)

    def backward(self: Any, dout: Any) -> Any:
        mask = self.mask
        if type(mask) is not np.ndarray or mask.dtype.char != "?" or mask.shape != floats(dout, 0).shape:
            raise NotTaken("the mask is another one")
        return ops.dropout_backward(floats(dout, 0), mask, 0.5, inverted=False)

    # Drawing the numbers takes most of the time; bench/NOTES.md, 2026-11-30.
    return Substitute({"forward": forward, "backward": backward}, least={"forward": 30_000, "backward": 10_000})


def batch_normalization(eps: float) -> Substitute:
    """The book's, per feature: running statistics by `momentum`, the variance biased."""

    def forward(self: Any, x: Any, train_flg: Any = True) -> Any:
        shape, x = x.shape, floats(x, 2, 4)
        x = x.reshape(len(x), -1)
        if len(x) < 2:
            raise NotTaken("a batch of one")
        D = x.shape[1]
        mean, var, momentum = self.running_mean, self.running_var, self.momentum
        if not train_flg:
            mean, var = floats(mean, 1), floats(var, 1)
            x = double(x, mean.dtype == DOUBLE)
            gamma, beta = _vectors(self, D, x.dtype)
            y, _ = ops.batch_norm(x, gamma, beta, mean, var, False, eps=eps)
            self.input_shape = shape
            return y.reshape(shape)
        if mean is None:
            mean, var = np.zeros(D), np.zeros(D)
        mean, var, momentum = floats(mean, 1), floats(var, 1), number(momentum)
        gamma, beta = _vectors(self, D, x.dtype)
        if mean.shape != (D,) or var.shape != (D,):
            raise NotTaken("the running statistics have another shape")
        x, mu, sigma = x.copy(), np.zeros(D, x.dtype), np.zeros(D, x.dtype)
        y, cache = ops.batch_norm(x, gamma, beta, mu, sigma, True, momentum=1.0, eps=eps, unbiased=False)
        self.input_shape, self.batch_size = shape, len(x)
        self.running_mean = momentum * mean + (1 - momentum) * mu
        self.running_var = momentum * var + (1 - momentum) * sigma
        keep(self, (x, mu, sigma, cache, self.gamma), *lazy)
        return y.reshape(shape)

    def backward(self: Any, dout: Any) -> Any:
        x, _, _, cache, gamma = kept(self, *lazy)
        if self.gamma is not gamma or self.batch_size != len(x):
            raise NotTaken("an attribute is another one")
        rows = same_type(floats(dout, 2, 4), x.dtype).reshape(x.shape)
        dx, dgamma, dbeta = ops.batch_norm_backward(rows, cache)
        dx = dx.reshape(*self.input_shape)
        self.dgamma, self.dbeta = dgamma, dbeta
        return dx

    lazy = {
        "xc": lambda self, state: state[0] - state[1],
        "std": lambda self, state: np.sqrt(state[2] + eps),
        "xn": lambda self, state: (state[0] - state[1]) / np.sqrt(state[2] + eps),
    }
    return Substitute({"forward": forward, "backward": backward}, lazy)


def _vectors(self: Any, D: int, dtype: Any) -> tuple[Any, Any]:
    """Scale and shift of each feature, in the type of x."""
    return tuple(
        np.full(D, v, dtype) if type(v) in (int, float) else same_type(parameter(self, name, 1), dtype)
        for name, v in (("gamma", self.gamma), ("beta", self.beta))
    )  # type: ignore[return-value]


def convolution(double_forward: bool, double_dx: bool) -> Substitute:
    """double_forward: im2col makes float64 of everything; double_dx: col2im does."""

    def forward(self: Any, x: Any) -> Any:
        given, W, stride, pad = x, parameter(self, "W", 4), self.stride, self.pad
        whole(stride, pad)
        x = np.array(double(floats(x, 4), double_forward), order="C")  # the program may change its own before backward
        b = bias(self, len(W), np.promote_types(x.dtype, W.dtype))
        y = ops.conv2d(x, W, b, stride, pad)
        self.x = given
        keep(self, (given, x, self.W), "col", "col_W")
        return y

    def backward(self: Any, dout: Any) -> Any:
        given, x, W = kept(self, "col", "col_W")
        if self.x is not given or self.W.shape != W.shape:
            raise NotTaken("an attribute is another one")
        whole(self.stride, self.pad)
        W = floats(W, 4)
        dout = same_type(double(floats(dout, 4), double_forward), np.promote_types(x.dtype, W.dtype))
        dx, dW, db = ops.conv2d_backward(dout, x, W, self.stride, self.pad)
        self.dW, self.db = dW, db
        return double(dx, double_dx)

    def col(self: Any, state: Any) -> Any:
        _, x, W = state
        return ops.im2col(x, W.shape[2], W.shape[3], self.stride, self.pad)

    def col_W(self: Any, state: Any) -> Any:
        return state[2].reshape(len(state[2]), -1).T

    return Substitute({"forward": forward, "backward": backward}, {"col": col, "col_W": col_W})


def pooling(double_forward: bool, double_dx: bool) -> Substitute:
    """The flags are those of `convolution`."""

    def forward(self: Any, x: Any) -> Any:
        window, stride, pad = (self.pool_h, self.pool_w), self.stride, self.pad
        whole(*window, stride, pad)
        if pad:
            raise NotTaken("padding, which the book's layer gets wrong")
        given, x = x, double(floats(x, 4), double_forward)
        y, indices = ops.max_pool2d(x, window, stride)
        self.x = given
        keep(self, (given, indices, window, stride), "arg_max")
        return y

    def backward(self: Any, dout: Any) -> Any:
        x, indices, window, stride = kept(self, "arg_max")
        now = self.x, (self.pool_h, self.pool_w), self.stride, self.pad
        if now[0] is not x or now[1:] != (window, stride, 0):
            raise NotTaken("an attribute is another one")
        dout = double(floats(dout, 4), double_dx)
        return ops.max_pool2d_backward(dout, indices, x.shape, window, stride)

    return Substitute({"forward": forward, "backward": backward}, {"arg_max": _arg_max})


def _arg_max(self: Any, state: Any) -> Any:
    """The place of each maximum in its window, windows in the order of im2col's rows, channels last."""
    x, indices, (_, width), stride = state
    rows, columns = np.divmod(indices, x.shape[3])
    rows -= stride * np.arange(indices.shape[2])[:, None]
    columns -= stride * np.arange(indices.shape[3])
    return (rows * width + columns).transpose(0, 2, 3, 1).reshape(-1)

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
        keep(self, (bits, y.shape), {}, "mask")
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

    return Substitute({"forward": forward, "backward": backward}, {"mask": _mask}, replayed=True)


def _mask(self: Any, state: Any) -> Any:
    bits, shape = state
    return np.unpackbits(bits, count=int(np.prod(shape)), bitorder="little").view(np.bool_).reshape(shape)


def sigmoid() -> Substitute:
    def forward(self: Any, x: Any) -> Any:
        y = ops.sigmoid(floats(x, 0))
        keep(self, y, {"out": y})
        return y

    def backward(self: Any, dout: Any) -> Any:
        out = kept(self)
        return ops.sigmoid_backward(same_type(floats(dout, 0), out.dtype), out)

    return Substitute({"forward": forward, "backward": backward}, attributes=frozenset({"out"}), replayed=True)


def affine(tensor: bool) -> Substitute:
    """tensor: images are taken too, as rows; else only x (N, in), which early printings have."""

    def forward(self: Any, x: Any) -> Any:
        given, W = x, parameter(self, "W", 2)
        x = floats(x, 2, *((4,) if tensor else ()))
        rows = x.reshape(x.shape[0], -1)
        y = ops.affine(rows, W, bias(self, W.shape[1], np.promote_types(x.dtype, W.dtype)))
        kept_x = rows if tensor else given
        keep(self, (kept_x, given.shape), {"x": kept_x, "original_x_shape": given.shape})
        return y

    def backward(self: Any, dout: Any) -> Any:
        x, shape = kept(self)
        x, W = floats(x, 2), parameter(self, "W", 2)
        dout = same_type(floats(dout, 2), np.promote_types(x.dtype, W.dtype))
        dx, dW, db = ops.affine_backward(dout, x, W)
        assert dx is not None
        if tensor:
            dx = dx.reshape(shape)
        self.dW, self.db = dW, db
        return dx

    trial = trials.affine if tensor else trials.affine_of_rows
    attributes = frozenset({"x", "original_x_shape"})
    methods = {"forward": forward, "backward": backward}
    return Substitute(
        methods, attributes=attributes, trial=trial, replayed=True, least={"forward": 600, "backward": 30}
    )  # docs/decisions/programs.md#small-calls-go-to-the-programs-own-method


def softmax_with_loss(scaled: bool, one_hot: bool = True) -> Substitute:
    """scaled: backward multiplies by its argument, which the book's ignores; one_hot: such targets are taken too."""

    def forward(self: Any, x: Any, t: Any) -> Any:
        x = floats(x, 2)
        if type(t) is not np.ndarray or not len(x):
            raise NotTaken("the targets are no array")
        labels = t.reshape(x.shape).argmax(axis=1) if one_hot and t.size == x.size else _labels(t, x.shape)
        loss, y = ops.softmax_cross_entropy(x, labels, offset=1e-7)
        loss = x.dtype.type(loss)
        keep(self, (t, y), {"t": t, "y": y, "loss": loss})
        return loss

    def backward(self: Any, dout: Any = 1) -> Any:
        t, y = kept(self)
        dx = ops.softmax_cross_entropy_backward(y, _labels(t, y.shape))
        return dx * dout if scaled else dx

    attributes = frozenset({"t", "y", "loss"})
    trial = trials.softmax_with_loss if one_hot else trials.softmax_with_loss_of_labels
    methods: dict[str, Any] = {"forward": forward, "backward": backward}
    return Substitute(methods, attributes=attributes, trial=trial, replayed=True)


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
        mask = source().random(x.shape) > ratio
        keep(self, mask, {"mask": mask})
        return ops.dropout_backward(x, mask, ratio, inverted=False)

    def backward(self: Any, dout: Any) -> Any:
        mask = kept(self)
        if mask.shape != floats(dout, 0).shape:
            raise NotTaken("dout has another shape")
        return ops.dropout_backward(floats(dout, 0), mask, 0.5, inverted=False)

    # Random numbers take most of the time: docs/decisions/programs.md#small-calls-go-to-the-programs-own-method
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
            if "input_shape" in type(self)._fastconv_stores:
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
        self.running_mean = momentum * mean + (1 - momentum) * mu
        self.running_var = momentum * var + (1 - momentum) * sigma
        keep(self, (x, mu, sigma, cache, self.gamma, shape), {"batch_size": len(x), "input_shape": shape}, *lazy)
        return y.reshape(shape)

    def backward(self: Any, dout: Any) -> Any:
        x, _, _, cache, gamma, shape = kept(self, *lazy)
        if self.gamma is not gamma:
            raise NotTaken("gamma is another one")
        rows = same_type(floats(dout, 2, 4), x.dtype).reshape(x.shape)
        dx, dgamma, dbeta = ops.batch_norm_backward(rows, cache)
        dx = dx.reshape(shape)
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
        keep(self, (x, self.W), {"x": given}, "col", "col_W")
        return y

    def backward(self: Any, dout: Any) -> Any:
        x, W = kept(self, "col", "col_W")
        if self.W.shape != W.shape:
            raise NotTaken("W has another shape")
        whole(self.stride, self.pad)
        W = floats(W, 4)
        dout = same_type(double(floats(dout, 4), double_forward), np.promote_types(x.dtype, W.dtype))
        dx, dW, db = ops.conv2d_backward(dout, x, W, self.stride, self.pad)
        self.dW, self.db = dW, db
        return double(dx, double_dx)

    def col(self: Any, state: Any) -> Any:
        x, W = state
        return ops.im2col(x, W.shape[2], W.shape[3], self.stride, self.pad)

    def col_W(self: Any, state: Any) -> Any:
        W = state[1]
        return W.reshape(len(W), -1).T

    lazy, attributes = {"col": col, "col_W": col_W}, frozenset({"x"})
    return Substitute({"forward": forward, "backward": backward}, lazy, attributes, replayed=True)


def pooling(double_forward: bool, double_dx: bool) -> Substitute:
    """The flags are those of `convolution`."""

    def forward(self: Any, x: Any) -> Any:
        window, stride, pad = (self.pool_h, self.pool_w), self.stride, _pad(self)
        whole(*window, stride, pad)
        if pad:
            raise NotTaken("padding, which the book's layer gets wrong")
        given, x = x, double(floats(x, 4), double_forward)
        y, indices = ops.max_pool2d(x, window, stride)
        keep(self, (x.shape, indices, window, stride), {"x": given}, "arg_max")
        return y

    def backward(self: Any, dout: Any) -> Any:
        shape, indices, window, stride = kept(self, "arg_max")
        if ((self.pool_h, self.pool_w), self.stride, _pad(self)) != (window, stride, 0):
            raise NotTaken("an attribute is another one")
        dout = double(floats(dout, 4), double_dx)
        return ops.max_pool2d_backward(dout, indices, shape, window, stride)

    methods = {"forward": forward, "backward": backward}
    return Substitute(methods, {"arg_max": _arg_max}, frozenset({"x"}), replayed=True)


def _pad(self: Any) -> Any:
    """The padding of a pooling layer; some take the argument and do not keep it."""
    return vars(self).get("pad", 0)


def _arg_max(self: Any, state: Any) -> Any:
    """The place of each maximum in its window, windows in the order of im2col's rows, channels last."""
    shape, indices, (_, width), stride = state
    rows, columns = np.divmod(indices, shape[3])
    rows -= stride * np.arange(indices.shape[2])[:, None]
    columns -= stride * np.arange(indices.shape[3])
    return (rows * width + columns).transpose(0, 2, 3, 1).reshape(-1)

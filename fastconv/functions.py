"""The book's functions, and those of its kind: gates, activations and their derivatives, losses, small tools.

They take numbers, lists and arrays. All arithmetic of the layers is in `fastconv.ops`; what is compiled there is only
named here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops
from ._check.arguments import integer, real, size
from ._random import source

Array = npt.NDArray[Any]


def _plain(y: Array) -> Any:
    """A number for a number."""
    return y if y.ndim else y[()]


# --- perceptrons ------------------------------------------------------------------------------------------------------


def perceptron(x: npt.ArrayLike, w: npt.ArrayLike, b: float) -> Any:
    """1 where x·w + b > 0, else 0.

    Parameters
    ----------
    x : array_like (..., in)
    w : array_like (in,)
    b : float

    Notes
    -----
    Source: F. Rosenblatt, The Perceptron, 1958.
    """
    return _plain(step_function(np.dot(x, w) + b))


def AND(x1: Any, x2: Any) -> Any:
    """1 where both are 1."""
    return perceptron(np.stack([x1, x2], axis=-1), [0.5, 0.5], -0.7)


def NAND(x1: Any, x2: Any) -> Any:
    """0 where both are 1."""
    return perceptron(np.stack([x1, x2], axis=-1), [-0.5, -0.5], 0.7)


def OR(x1: Any, x2: Any) -> Any:
    """1 where at least one is 1."""
    return perceptron(np.stack([x1, x2], axis=-1), [0.5, 0.5], -0.3)


def XOR(x1: Any, x2: Any) -> Any:
    """1 where exactly one is 1: two layers, AND of NAND and OR."""
    return AND(NAND(x1, x2), OR(x1, x2))


def perceptron_rule(
    x: npt.ArrayLike, t: npt.ArrayLike, w: npt.ArrayLike, lr: float = 0.05, loops: int = 100
) -> tuple[Array, list[int]]:
    """The learning rule of a perceptron: after each sample, w += lr * (t - y) * x, where y is 1 if x·w >= 0, else 0.

    It goes through all samples, loop after loop, and ends behind the first loop without an error. A bias is the weight
    of an input that is always the same, such as -1.

    Parameters
    ----------
    x : array_like (N, in)
    t : array_like (N,), of 0 and 1
    w : array_like (in,)
        The weights at the start; not changed.
    lr : float
    loops : int
        The most loops, for what no line separates.

    Returns
    -------
    w : ndarray (in,)
        The weights learned.
    errors : list of int
        How many samples were wrong in each loop; `plots.error_per_loop` draws it.

    Raises
    ------
    ValueError
        For shapes that do not fit, or targets other than 0 and 1.

    Notes
    -----
    Source: F. Rosenblatt, The Perceptron, 1958.

    Examples
    --------
    >>> x = [[-1, 0, 0], [-1, 0, 1], [-1, 1, 0], [-1, 1, 1]]
    >>> w, errors = perceptron_rule(x, [0, 0, 0, 1], [0.25, 0.5, 0.125], lr=0.0625)
    >>> w.tolist(), errors
    ([0.4375, 0.3125, 0.125], [1, 1, 1, 0])
    """
    x, t, w = np.asarray(x, float), np.asarray(t), np.array(w, float)
    lr, loops = real("lr", lr, 0), integer("loops", loops, 1)
    if x.ndim != 2 or w.shape != x.shape[1:]:
        raise ValueError(f"w: expected a weight for each input of x (N, in), got shapes {w.shape} and {x.shape}")
    if t.shape != x.shape[:1] or not np.isin(t, (0, 1)).all():
        raise ValueError(f"t: expected {len(x)} targets of 0 and 1, got {t!r}")
    errors: list[int] = []
    while len(errors) < loops and (not errors or errors[-1]):
        errors.append(0)
        for sample, target in zip(x, t, strict=True):
            missing = int(target) - int(sample @ w >= 0)
            errors[-1] += missing != 0
            w += lr * missing * sample
    return w, errors


# --- activations and their derivatives --------------------------------------------------------------------------------


def identity_function(x: Any) -> Any:
    """x itself."""
    return x


def identity_grad(x: npt.ArrayLike) -> Any:
    """Ones in x's shape."""
    return _plain(np.ones_like(x))


def step_function(x: npt.ArrayLike) -> Array:
    """1 where x > 0, else 0, as integers."""
    return np.array(np.asarray(x) > 0, dtype=int)


def sigmoid(x: npt.ArrayLike) -> Any:
    """1 / (1 + exp(-x))."""
    return _plain(ops.sigmoid(x))


def sigmoid_grad(x: npt.ArrayLike) -> Any:
    """The derivative of the sigmoid at x: (1 - sigmoid(x)) * sigmoid(x)."""
    return _derivative(ops.sigmoid_backward, ops.sigmoid(x))


def tanh(x: npt.ArrayLike) -> Any:
    """The hyperbolic tangent."""
    return _plain(ops.tanh(x))


def tanh_grad(x: npt.ArrayLike) -> Any:
    """The derivative of tanh at x: 1 - tanh(x)**2."""
    return _derivative(ops.tanh_backward, ops.tanh(x))


def relu(x: npt.ArrayLike) -> Any:
    """max(x, 0)."""
    return _plain(ops.relu(x))


def relu_grad(x: npt.ArrayLike) -> Any:
    """1 where x >= 0, else 0: at 0 the book's function has the right derivative, its layer the left one."""
    x = np.asarray(x)
    return _plain((x >= 0).astype(x.dtype))


def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.01) -> Any:
    """x where x > 0, `negative_slope * x` elsewhere."""
    return _plain(ops.leaky_relu(x, negative_slope))


def leaky_relu_grad(x: npt.ArrayLike, negative_slope: float = 0.01) -> Any:
    """1 where x > 0, `negative_slope` elsewhere."""
    return _derivative(ops.leaky_relu_backward, x, negative_slope)


def _derivative(backward: Callable[..., Array], saved: npt.ArrayLike, *more: float) -> Any:
    """The derivative of an element-wise function from its backward: the gradient for a dout of ones."""
    saved = np.asarray(saved)
    ones = np.ones(saved.shape, saved.dtype if saved.dtype.kind == "f" else np.float64)
    return _plain(backward(ones, saved, *more))


def softmax(x: npt.ArrayLike, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along `axis`, safe from overflow."""
    return ops.softmax(x, axis)


def softmax_grad(x: npt.ArrayLike) -> Array:
    """The Jacobian of the softmax along the last axis: J[..., i, j] = y[i] * ((i == j) - y[j])."""
    y = ops.softmax(x)
    return y[..., :, None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :])


def log_softmax(x: npt.ArrayLike, axis: int = -1) -> Array:
    """log(softmax(x)) along `axis`."""
    return ops.log_softmax(x, axis)


def log_softmax_grad(x: npt.ArrayLike) -> Array:
    """The Jacobian of the log-softmax along the last axis: J[..., i, j] = (i == j) - softmax(x)[j]."""
    y = ops.softmax(x)
    return np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :]


# --- losses -----------------------------------------------------------------------------------------------------------


def sum_squared_error(y: npt.ArrayLike, t: npt.ArrayLike) -> float:
    """0.5 * sum((y - t)**2), in any shapes that broadcast."""
    return float(0.5 * np.sum((np.asarray(y) - np.asarray(t)) ** 2))


def mean_squared_error(y: npt.ArrayLike, t: npt.ArrayLike, reduction: str = "half_sum") -> float:
    """0.5 * sum((y - t)**2), as the book's first edition names it.

    Parameters
    ----------
    y, t : array_like, of one shape
    reduction : {"half_sum", "mean", "sum"}
        "mean" is the mean of (y - t)**2 over all elements, "sum" its sum.
    """
    return ops.mean_squared_error(y, t, reduction)


def cross_entropy_error(y: npt.ArrayLike, t: npt.ArrayLike) -> float:
    """-mean(log(y[n, t[n]] + 1e-7)) over the batch.

    Parameters
    ----------
    y : array_like (N, classes) or (classes,)
        Probabilities.
    t : array_like (N,) of int, or one-hot in the shape of y
    """
    return _mean_at_targets(y, t, lambda p: -np.log(p + 1e-7))


def negative_log_likelihood(y: npt.ArrayLike, t: npt.ArrayLike, base: float = np.e) -> float:
    """-mean(log(y[n, t[n]])) over the batch, in logarithms to `base`, of probabilities as in `cross_entropy_error`."""
    return _mean_at_targets(y, t, lambda p: -np.log(p) / np.log(base))


def _mean_at_targets(y: npt.ArrayLike, t: npt.ArrayLike, f: Callable[[Array], Array]) -> float:
    """The mean of f over the probabilities of the true classes; targets of y's size are one-hot."""
    y, t = np.asarray(y), np.asarray(t)
    if y.ndim == 1:
        y, t = y[None], t.reshape(1, t.size)
    labels = t.argmax(axis=1) if t.size == y.size else t.reshape(-1)
    return float(np.sum(f(y[np.arange(len(y)), labels])) / len(y))


def nll_loss(log_y: npt.ArrayLike, t: npt.ArrayLike) -> float:
    """-mean(log_y[n, t[n]]) over the batch: the negative log-likelihood of log-probabilities (N, classes)."""
    return ops.nll_loss(log_y, t)


def softmax_loss(X: npt.ArrayLike, t: npt.ArrayLike) -> float:
    """`cross_entropy_error` of softmax(X)."""
    return cross_entropy_error(softmax(X), t)


# --- tools ------------------------------------------------------------------------------------------------------------


def conv_output_size(input_size: int, filter_size: int, stride: int = 1, pad: int = 0) -> int:
    """Number of positions of a filter along one axis: floor((input + 2*pad - filter) / stride) + 1."""
    return size(input_size, filter_size, stride, pad, pad, 1)


def conv_padding(input_size: int, output_size: int, filter_size: int, stride: int = 1) -> int:
    """The inverse of `conv_output_size`: the padding on each side that gives `output_size` positions.

    Raises
    ------
    ValueError
        If no padding, the same on both sides, gives that output.
    """
    missing = (output_size - 1) * stride + filter_size - input_size
    pad = max(-(-missing // 2), 0)
    if conv_output_size(input_size, filter_size, stride, pad) != output_size:
        raise ValueError(
            f"output_size: no padding gives {output_size} from input_size {input_size}, filter_size {filter_size} "
            f"and stride {stride}; the nearest, {pad}, gives "
            f"{conv_output_size(input_size, filter_size, stride, pad)}"
        )
    return pad


def smooth_curve(x: npt.ArrayLike) -> Array:
    """A curve smoothed by a Kaiser window of 11 points (beta 2), mirrored at its ends; of the same length."""
    x = np.asarray(x, float)
    window = np.kaiser(11, 2)
    mirrored = np.concatenate([x[10:0:-1], x, x[-1:-11:-1]])
    smooth = np.convolve(window / window.sum(), mirrored, mode="valid")
    return smooth[5 : len(smooth) - 5]


def shuffle_dataset(x: Array, t: Array, rng: Any = None) -> tuple[Array, Array]:
    """Both arrays in one random order.

    Parameters
    ----------
    x : ndarray (N, ...)
    t : ndarray (N, ...)
    rng : None, int or numpy.random.Generator
        None draws from NumPy's global generator, as the book does.
    """
    order = source(rng).permutation(len(x))
    return x[order], t[order]

"""Checks of everything else: affine maps, batch normalisation, element-wise operations, losses, dropout, updates."""

import math
from functools import cache
from typing import Any

import numpy as np

from .._device import is_device, taken, to_device, where
from .._problem import Affine, BatchNorm, CrossEntropy, Dropout, Elementwise, Softmax, Update
from . import arguments as arg
from .activations import activation_of
from .remembered import all_below, dense_lists, is_dense_int64, remembered
from .vectors import statistic, vector
from .windows import images, needs_of, not_empty


def _is_array(a: Any) -> bool:
    return isinstance(a, np.ndarray) or is_device(a)


def _rows(name: str, x: np.ndarray, K: int, W_shape: tuple[int, ...]) -> np.ndarray:
    """x as (N, K): 2-D as it is, 1-D as one row, more axes flattened behind the first (the book's Affine)."""
    if x.ndim == 0 or math.prod(x.shape[1:] if x.ndim > 1 else x.shape) != K:
        raise ValueError(f"{name}: expected (N, {K}) to match W of shape {W_shape}, got shape {x.shape}")
    return x.reshape(1 if x.ndim == 1 else x.shape[0], K)


@remembered
def affine(x, W, b=None, activation=None, transposed=False, names=("W", "b")):
    x = arg.array("x", x)
    W = arg.array(names[0], W, (2,))
    M, K = W.shape if transposed else W.shape[::-1]
    unbatched = x.ndim == 1
    x = _rows("x", x, K, W.shape)
    b = vector(b, M, f"{names[0]}'s {M} outputs", names[1], (x, W))
    kind = arg.kind(x, W, b)
    p = Affine(
        **kind, unbatched=unbatched, N=x.shape[0], K=K, M=M,
        transposed=transposed, activation=activation_of(activation),
    )  # fmt: skip
    return p, *arg.dense(kind["dtype"], x, W, b)


def leading_axes(x, weight, name="x"):
    """PyTorch's linear: (..., in) as rows, and the shape in front of `in`."""
    x = arg.array(name, x)
    if x.ndim == 0 or (weight is not None and np.ndim(weight) == 2 and x.shape[-1] != np.shape(weight)[1]):
        raise ValueError(f"{name}: expected (..., in) to match weight of shape {np.shape(weight)}, got {x.shape}")
    return (x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim != 1 else x[None]), x.shape[:-1]


@remembered
def affine_backward(dout, x, W, needs=(True, True, True), transposed=False, names=("W", "b")):
    given = arg.array("x", x), arg.array(names[0], W)
    p, x, W, _ = affine(*given, None, None, transposed, names)
    dout = arg.array("dout", dout)
    dout = dout[None] if p.unbatched and dout.ndim == 1 else dout
    arg.shape("dout", dout, (p.N, p.M), "(N, out)")
    kind = arg.kind(dout, *given)
    p = Affine(**kind, unbatched=p.unbatched, N=p.N, K=p.K, M=p.M, transposed=transposed)
    return p, *arg.dense(kind["dtype"], dout, x, W), needs_of(needs)


def _momentum(value: Any) -> float:
    """Any number that PyTorch takes, not a number included."""
    return value if isinstance(value, float) and math.isnan(value) else arg.real("momentum", value)


@remembered
def batch_norm(
    x, gamma, beta, running_mean, running_var, training=False, momentum=0.1, eps=1e-5, unbiased=True, activation=None
):
    """The running statistics come back dense, of the dtype computed in: themselves, or copies to update them from."""
    x = arg.array("x", x, (2, 4))
    not_empty("x", x.shape)
    N, C, P = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    given = {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var}
    vectors = {
        name: statistic(v, C, name) if name.startswith("running") else vector(v, C, "x's channels", name, (x,))
        for name, v in given.items()
    }
    where((x, *vectors.values()))
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean, running_var: expected both or neither")
    if training:
        if N * P == 1:
            raise ValueError(f"x: expected more than one value per channel when training, got shape {x.shape}")
        for name in ("running_mean", "running_var"):
            v = given[name]
            if v is not None and not (_is_array(v) and v.dtype.kind == "f" and (is_device(v) or v.flags.writeable)):
                raise TypeError(f"{name}: expected a writeable float array (it is updated in place), got {v!r}")
    elif running_mean is None:
        raise ValueError("running_mean, running_var: expected arrays when training is False, got None")
    kind = arg.kind(x, vectors["gamma"], vectors["beta"])
    p = BatchNorm(
        **kind, N=N, C=C, P=P, training=bool(training),
        momentum=_momentum(momentum), eps=arg.real("eps", eps, 0),
        unbiased=bool(unbiased), activation=activation_of(activation),
    )  # fmt: skip
    return p, *arg.dense(p.dtype, x), *arg.dense(p.arithmetic, *vectors.values())


@remembered
def batch_norm_backward(dout, x):
    """x is the cache's: dense, of the dtype computed in."""
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, x.shape, "the shape of batch_norm's x")
    arg.kind(dout, x)
    return tuple(arg.dense(x.dtype, dout))


@remembered
def elementwise(x, negative_slope=0.0):
    x = arg.array("x", x)
    kind = arg.kind(x)
    slope = arg.real("negative_slope", negative_slope)
    p = Elementwise(**kind, size=x.size, negative_slope=slope)
    return p, *arg.dense(kind["dtype"], x)


@remembered
def added(x, y, activation=None):
    x, y = arg.array("x", x), arg.array("y", y)
    arg.shape("y", y, x.shape, "the shape of x")
    kind = arg.kind(x, y)
    p = Elementwise(**kind, size=x.size, activation=activation_of(activation))
    return p, *arg.dense(kind["dtype"], x, y)


@remembered
def elementwise_backward(dout, saved, name, negative_slope=0.0):
    dout, saved = arg.array("dout", dout), arg.array(name, saved)
    arg.shape("dout", dout, saved.shape, f"the shape of {name}")
    kind = arg.kind(dout, saved)
    slope = arg.real("negative_slope", negative_slope)
    p = Elementwise(**kind, size=dout.size, negative_slope=slope)
    return p, *arg.dense(kind["dtype"], dout, saved)


def relu_masked_backward(dout, bits, shape):
    where((dout, bits))
    return _relu_masked_dout(dout, shape)


@remembered
def _relu_masked_dout(dout, shape):
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, shape, "the shape of relu's x")
    kind = arg.kind(dout)
    return Elementwise(**kind, size=dout.size), *arg.dense(kind["dtype"], dout)


@remembered
def softmax(x, axis=-1):
    x = arg.array("x", x)
    if x.ndim == 0:
        raise ValueError("x: expected at least 1-D, got a scalar")
    at = arg.axis(axis, x.ndim)
    kind = arg.kind(x)
    p = Softmax(
        **kind, outer=math.prod(x.shape[:at]), n=x.shape[at],
        inner=math.prod(x.shape[at + 1 :]),
    )  # fmt: skip
    return p, *arg.dense(kind["dtype"], x)


@remembered
def softmax_backward(dout, y, axis=-1):
    given = arg.array("y", y)
    p, y = softmax(given, axis)
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, y.shape, "the shape of y")
    kind = arg.kind(dout, given)
    p = Softmax(**kind, outer=p.outer, n=p.n, inner=p.inner)
    return p, *arg.dense(kind["dtype"], dout, y)


@remembered
def softmax_cross_entropy(x, t, name="x", offset=0.0):
    if is_dense_int64(t) and t.ndim == 1 and np.shape(x)[:-1] == t.shape:  # labels, as a training loop has them
        p, x = _labelled_scores(x, name, offset)
        t = _classes(t, p.C)
        return p, x, t if p.device == "cpu" else to_device(t)
    x = arg.array(name, x, (1, 2))
    unbatched = x.ndim == 1
    x = x[None] if unbatched else x
    N, C = x.shape
    if C == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    t = arg.array("t", t)
    kind = arg.kind(x)
    common: dict[str, Any] = {
        **kind, "unbatched": unbatched, "N": N, "C": C, "offset": arg.real("offset", offset, 0),
    }  # fmt: skip
    if t.size == x.size and t.shape in (x.shape, (C,)) and not (t.shape == (N,) and t.dtype.kind in "iu" and C == 1):
        x, t = arg.dense(kind["dtype"], x, t.reshape(N, C))
    else:
        (x,), t = arg.dense(kind["dtype"], x), labels(t, N, C)
    t = to_device(t) if is_device(x) else t  # a batch's targets often come from the host
    where((x, t))
    return CrossEntropy(labels=t.ndim == 1, **common), x, t


@remembered
def _labelled_scores(x, name, offset):
    """Scores (N, C) whose labels are known to be (N,)."""
    x = arg.array(name, x, (2,))
    if x.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    kind = arg.kind(x)
    offset = arg.real("offset", offset, 0)
    p = CrossEntropy(**kind, N=x.shape[0], C=x.shape[1], labels=True, offset=offset)
    return p, *arg.dense(kind["dtype"], x)


def _classes(t: np.ndarray, C: int) -> np.ndarray:
    """Dense labels, each of them in [0, C)."""
    if not all_below(t, C):
        raise ValueError(f"t: expected labels from 0 to {C - 1}, got {t.min()} to {t.max()}")
    return t


def labels(t: np.ndarray, N: int, C: int) -> np.ndarray:
    """Class labels as (N,) int64, each in [0, C); (N, 1) is taken as (N,)."""
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"t: expected integer labels of shape {(N,)}, or targets of shape {(N, C)}, "
            f"got dtype {t.dtype} and shape {t.shape}"
        )
    if t.shape not in ((N,), (N, 1)) and not (N == 1 and t.ndim == 0):
        raise ValueError(f"t: expected labels of shape {(N,)} or targets of shape {(N, C)}, got shape {t.shape}")
    if is_device(t):  # its numbers stay there: a label that is no class meets no score
        if t.dtype != np.int64:
            raise TypeError(f"t: expected labels of int64 on the device, got dtype {t.dtype}")
        return t.reshape(N)
    return _classes(arg.int64("t", t.reshape(N)), C)


def nll_loss(log_y, t):
    log_y = arg.array("log_y", log_y, (2,))
    t = labels(arg.array("t", t), *log_y.shape)
    t = to_device(t) if is_device(log_y) else t  # a batch's labels often come from the host
    where((log_y, t))
    return log_y, t


def same_shape(y, t, reduction="half_sum"):
    y, t = arg.array("y", y), arg.array("t", t)
    arg.shape("t", t, y.shape, "the shape of y")
    if reduction not in ("half_sum", "mean", "sum"):
        raise ValueError(f"reduction: expected 'half_sum', 'mean' or 'sum', got {reduction!r}")
    dtype = arg.kind(y, t)["dtype"]
    return arg.dense(dtype, y, t)


@remembered
def dropout(x, ratio=0.5, inverted=True, planes=False):
    x = images("x", x)[0] if planes else arg.array("x", x)
    ratio = arg.real("ratio", ratio, 0, 1)
    kind = arg.kind(x)
    repeat = math.prod(x.shape[2:]) if planes else 1
    # 1/(1 - ratio) is infinite at 1, where nothing is kept: any finite scale gives the right zeros.
    scale = 1.0 / (1.0 - ratio) if inverted and ratio < 1 else 1.0
    p = Dropout(
        **kind, size=math.prod(x.shape[:2]) if planes else x.size, repeat=repeat,
        threshold=round(ratio * 2**32), scale=scale,
    )  # fmt: skip
    return p, *arg.dense(kind["dtype"], x)


def dropout_backward(dout, mask, ratio=0.5, inverted=True, planes=False):
    p, dout = dropout(arg.array("dout", dout), ratio, inverted, planes)
    mask = taken("mask", mask) if is_device(mask) else np.asarray(mask)
    where((dout, mask))
    if mask.dtype != np.bool_:
        raise TypeError(f"mask: expected the bool mask that dropout gave, got dtype {mask.dtype}")
    if mask.size != p.size:
        raise ValueError(f"mask: expected the mask that dropout gave for shape {dout.shape}, got shape {mask.shape}")
    return p, dout, mask if is_device(mask) else np.ascontiguousarray(mask)


def rng(value: Any) -> "np.random.Generator":
    if value is None or isinstance(value, (int, np.integer)):
        return np.random.default_rng(value)
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"rng: expected a numpy Generator, an int seed or None, got {type(value).__name__}")
    return value


def update(*groups, **hyper) -> tuple[list[tuple[Update, list, list]], dict[str, float]]:
    """Lists of arrays that belong together (params, grads, state...), all but grads changed in place.

    Returns for each dtype of the parameters (Problem, the lists dense, pairs of (user's array, dense copy) to bring
    back), and the hyper-parameters as floats.
    """
    names = ("params", "grads", "state", "state")
    lists = [list(group) for group in groups]
    rates = {key: arg.real(key, value) for key, value in hyper.items()}
    dtype = dense_lists(lists)
    if dtype is not None:
        return [(_update(dtype, dtype), lists, [])], rates
    for name, group in zip(names, lists, strict=False):
        if len(group) != len(lists[0]):
            raise ValueError(f"{name}: expected {len(lists[0])} arrays to match params, got {len(group)}")
        for i, (a, like) in enumerate(zip(group, lists[0], strict=True)):
            if not _is_array(a) or a.dtype.kind != "f":
                raise TypeError(f"{name}[{i}]: expected a float array, got {getattr(a, 'dtype', type(a).__name__)}")
            arg.shape(f"{name}[{i}]", a, like.shape, f"the shape of params[{i}]")
            if name != "grads" and not is_device(a) and not a.flags.writeable:
                raise ValueError(f"{name}[{i}]: expected a writeable array (it is updated in place)")
    device = where(tuple(a for group in lists for a in group))
    lists = [[arg.array(name, a) for a in group] for name, group in zip(names, lists, strict=False)]
    jobs = []
    for given in sorted({a.dtype for a in lists[0]}, key=str):
        compute = arg.kind(np.empty(0, given))["dtype"]
        rows = [row for row in zip(*lists, strict=True) if row[0].dtype == given]
        dense = [arg.dense(compute, *row) for row in rows]
        back = [
            (a, d)
            for row, kept in zip(rows, dense, strict=True)
            for i, (a, d) in enumerate(zip(row, kept, strict=True))
            if i != 1 and a is not d
        ]
        columns = [list(column) for column in zip(*dense, strict=True)]
        jobs.append((_update(compute, given, device), columns, back))
    return jobs, rates


@cache
def _update(compute: np.dtype, given: np.dtype, device: str = "cpu") -> Update:
    return Update(dtype=compute, result_dtype=given, device=device)

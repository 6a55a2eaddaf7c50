"""Normalisations."""

import math
from typing import Any

import numpy as np

from ... import ops
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array


@operator("BatchNormalization", inputs=5, outputs=5)
def batch_normalization(a: Any) -> Run:
    eps, momentum = a.float("epsilon", 1e-5), a.float("momentum", 0.9)
    if a.opset < 7:
        a.ignored("is_test")  # nothing here trains
    training = a.flag("training_mode") if a.opset >= 14 else False
    if a.opset < 9 and not a.flag("spatial", True):
        raise Unsupported("attribute spatial is 0: statistics of every pixel")
    if not training and any(a.node.outputs[1:]):
        raise Unsupported("gives statistics, which only training has")

    def run(x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Any:
        if training:
            return _training(x, scale, shift, mean, var)
        if x.dtype not in (np.float32, np.float64) or any(v.dtype != x.dtype for v in (scale, shift, mean, var)):
            return _normalized(x, mean, var, scale, shift).astype(x.dtype, copy=False)
        planes = x if x.ndim in (2, 4) else x.reshape(*x.shape[:2], -1, 1) if x.ndim > 2 else x[:, None]
        return ops.batch_norm(planes, scale, shift, mean, var, False, eps=eps)[0].reshape(x.shape)

    def _normalized(x: Array, mean: Array, var: Array, scale: Array, shift: Array) -> Array:
        mean, var, scale, shift = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in (mean, var, scale, shift))
        return (x - mean) / np.sqrt(var + var.dtype.type(eps)) * scale + shift

    def _training(x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Any:
        axes = (0, *range(2, x.ndim))
        now, spread = x.mean(axis=axes), x.var(axis=axes)
        y = _normalized(x, now, spread, scale, shift).astype(x.dtype, copy=False)
        kept = momentum
        return (
            y,
            (mean * kept + now * (1 - kept)).astype(mean.dtype),
            (var * kept + spread * (1 - kept)).astype(var.dtype),
        )

    run.eps = None if training else eps  # type: ignore[attr-defined]
    return run


@operator("InstanceNormalization", inputs=3)
def instance_normalization(a: Any) -> Run:
    eps = a.float("epsilon", 1e-5)

    def run(x: Array, scale: Array, shift: Array) -> Array:
        planes = x.reshape(*x.shape[:2], -1, 1) if x.ndim != 4 else x
        return ops.instance_norm(planes, None, None, scale, shift, eps=eps).reshape(x.shape)

    return run


@operator("GroupNormalization", inputs=3)
def group_normalization(a: Any) -> Run:
    eps, groups = a.float("epsilon", 1e-5), a.int("num_groups")
    a.ignored("stash_type")
    if not groups or groups < 1:
        raise Unsupported(f"attribute num_groups is {groups}, expected a positive int")
    return lambda x, scale, shift: ops.group_norm(x, groups, scale, shift, eps)


@operator("LayerNormalization", inputs=(2, 3), outputs=3)
def layer_normalization(a: Any) -> Run:
    axis, eps = a.int("axis", -1), a.float("epsilon", 1e-5)
    a.ignored("stash_type")
    statistics = any(a.node.outputs[1:])

    def run(x: Array, scale: Array, shift: Array | None = None) -> Any:
        first = axis + x.ndim if axis < 0 else axis
        shape = x.shape[first:]
        plain = scale.shape == shape and (shift is None or shift.shape == shape)
        if plain and not statistics:
            return ops.layer_norm(x, shape, scale, shift, eps)
        y = ops.layer_norm(x, shape, None, None, eps) * scale
        y = y if shift is None else y + shift
        if not statistics:
            return y
        axes = tuple(range(first, x.ndim))
        mean = x.mean(axis=axes, keepdims=True)
        return y, mean, 1 / np.sqrt(x.var(axis=axes, keepdims=True) + x.dtype.type(eps))

    return run


@operator("LRN")
def lrn(a: Any) -> Run:
    size, alpha, beta, k = a.int("size"), a.float("alpha", 1e-4), a.float("beta", 0.75), a.float("bias", 1.0)
    if not size or size < 1:
        raise Unsupported(f"attribute size is {size}, expected a positive int")

    def run(x: Array) -> Array:
        if size % 2:
            return ops.local_response_norm(x, size, alpha, beta, k)
        front = (size - 1) // 2  # PyTorch's rule, and ours, has the odd channel in front
        frame = np.pad(x**2, [(0, 0), (front, size - 1 - front), *[(0, 0)] * (x.ndim - 2)])
        total = sum(frame[:, c : c + x.shape[1]] for c in range(size))
        return (x / (k + alpha / size * total) ** beta).astype(x.dtype, copy=False)

    return run


def _softmax(a: Any, op: Any) -> Run:
    """Since opset 13 along one axis; before, along all axes from one on as if they were one."""
    axis, rows = a.int("axis", -1 if a.opset >= 13 else 1), a.opset < 13

    def run(x: Array) -> Array:
        if not -x.ndim <= axis <= x.ndim - (not rows):
            raise ValueError(f"axis {axis} does not fit shape {x.shape}")
        if not rows:
            return op(x, axis)
        first = axis + x.ndim if axis < 0 else axis
        return op(x.reshape(math.prod(x.shape[:first]), -1), 1).reshape(x.shape)

    return run


@operator("Softmax")
def softmax(a: Any) -> Run:
    return _softmax(a, ops.softmax)


@operator("LogSoftmax")
def log_softmax(a: Any) -> Run:
    return _softmax(a, ops.log_softmax)


@operator("Hardmax")
def hardmax(a: Any) -> Run:
    def first(x: Array, axis: int) -> Array:
        y = np.zeros_like(x)
        np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis)
        return y

    return _softmax(a, first)

"""A row of nodes as prepared steps: weights packed once, normalisations folded, activations in the kernels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _prepare as prepare
from .fusions import GATES, RELUS, WEIGHTS, Fusion
from .nodes import Node

Array = npt.NDArray[Any]

_ELEMENTWISE = RELUS | GATES | {"leaky_relu"}


class Links:
    """The steps of as many nodes of a row as can be prepared, for an input like x.

    Attributes
    ----------
    steps : list of Step
    count : int
        How many nodes they are.
    shape : tuple of int
        Of the result.
    bindings : list of (dict, name)
        The attributes that the steps depend on.
    copied : list of ndarray
        Arrays of which they keep copies.
    in_place : list of ndarray
        The weights, most of which they read where they are.
    """

    def __init__(self, row: list[Node], fusions: dict[int, Fusion], at: int, x: Array) -> None:
        self.steps: list[Any] = []
        self.bindings: list[tuple[dict[str, Any], str]] = []
        self.copied: list[Array] = []
        self.in_place: list[Array] = []
        self.count, self.shape, self.dtype = 0, x.shape, x.dtype
        self._row = row
        self._fusions = ["", *(fusions[i].name if i in fusions else "" for i in range(at + 1, at + len(row))), ""]
        able = is_dense(x) and x.ndim in (2, 4) and len(x) > 0 and x.dtype in (np.float32, np.float64)
        while able and self.count < len(row):
            taken = self._take()
            if not taken:
                break
            for node in row[self.count : self.count + taken]:
                self.bindings += [(vars(node.layer), name) for name in node.layer.reads]
            self.count += taken

    def _take(self) -> int:
        """Prepare the next node, with those behind it that its step does too; how many they are, 0 for none."""
        kind, layer = self._row[self.count].kind, self._row[self.count].layer
        if kind in WEIGHTS:
            return self._take_weights(kind, layer)
        if kind == "batch_norm":
            return self._take_batch_norm(layer)
        if kind in ("max_pool2d", "avg_pool2d") and len(self.shape) == 4:
            window = (layer.pool_h, layer.pool_w), layer.stride, layer.pad, layer.ceil_mode
            if kind == "max_pool2d":
                return self._add(prepare.max_pool2d(self.shape, self.dtype, *window))
            return self._add(prepare.avg_pool2d(self.shape, self.dtype, *window, layer.count_include_pad))
        if kind in _ELEMENTWISE:
            slope = layer.negative_slope if kind == "leaky_relu" else 0.0
            return self._add(prepare.elementwise(kind, self.shape, self.dtype, slope))
        if kind == "flatten" and self.steps:
            self.shape = self.shape[0], int(np.prod(self.shape[1:]))
            return 1
        return int(kind == "dropout" and layer.inverted and bool(self.steps))

    def _take_weights(self, kind: str, layer: Any) -> int:
        """A layer with weights, and the normalisation, the ReLU and the dropout that are fused with it."""
        W, b, at = layer.W, layer.b, self.count + 1
        if any(type(a) is not np.ndarray or a.dtype != self.dtype for a in (W, b) if a is not None):
            return 0
        read = [W]
        if self._fusions[at] == "normalisation":
            norm = self._row[at].layer
            scale_and_shift = _normalization(self._row[at].kind, norm, kind, W, self.dtype)
            if scale_and_shift:
                read += [a for a in (b, norm.gamma, norm.beta, norm.running_mean, norm.running_var) if a is not None]
                W, b = _folded(kind, W, b, *scale_and_shift)
                at += 1
        activation = self._activation(at)
        at += activation is not None
        if kind == "conv2d":
            if len(self.shape) != 4:
                return 0
            geometry = layer.stride, layer.pad, layer.dilation, layer.groups
            made = prepare.conv2d(self.shape, W, b, *geometry, activation)
            if made[0] is None and activation is not None:  # in a step of its own, while the result is in cache
                made, at = prepare.conv2d(self.shape, W, b, *geometry, None), at - 1
        else:
            factor = 1.0
            while self._fusions[at] == "scale":
                dropout = self._row[at].layer
                factor *= 1.0 if dropout.inverted else 1.0 - dropout.dropout_ratio
                at += 1
            made = prepare.affine(self.shape, W, b, activation, factor)
            if made[0] is None and activation in GATES:
                made, at = prepare.affine(self.shape, W, b, None, 1.0), at - 1
        if not self._add(made):
            return 0
        self.in_place += [a for a in (layer.W, layer.b) if a is not None]
        self.copied += read if W is not layer.W or self.steps[-1].copies else []
        return at - self.count

    def _activation(self, at: int) -> str | None:
        """The activation that the node at a position of the row is, if it is fused with the one before."""
        return self._row[at].kind if self._fusions[at] == "activation" else None

    def _take_batch_norm(self, norm: Any) -> int:
        vectors = norm.gamma, norm.beta, norm.running_mean, norm.running_var
        if not all(_is_vector(a, self.shape[1], self.dtype) for a in vectors):
            return 0
        activation = self._activation(self.count + 1)
        made = prepare.batch_norm(self.shape, vectors, norm.eps, activation)
        if made[0] is None and activation is not None:
            made, activation = prepare.batch_norm(self.shape, vectors, norm.eps, None), None
        if not self._add(made):
            return 0
        self.in_place += vectors
        return 1 + (activation is not None)

    def _add(self, made: tuple[Any, tuple[int, ...]]) -> int:
        """Append a step, if there is one, and keep the shape of its result."""
        step, shape = made
        if step is None:
            return 0
        self.steps.append(step)
        self.shape = shape
        return 1


def is_dense(x: Array) -> bool:
    return x.flags.c_contiguous and x.flags.aligned


def _normalization(kind: str, norm: Any, before: str, W: Array, dtype: np.dtype) -> tuple[Array, Array] | None:
    """The scale and the shift of each output of W by a batch normalisation; None if that has others."""
    outputs = len(W) if before == "conv2d" else W.shape[1]
    per_output = kind == "batch_norm" or before == "affine"
    if not per_output or norm.running_mean is None or norm.running_var is None:
        return None
    vectors = norm.gamma, norm.beta, norm.running_mean, norm.running_var
    if any(a is not None and not _is_vector(a, outputs, dtype) for a in vectors):
        return None
    gamma, beta, mean, var = (None if a is None else a.astype(np.float64) for a in vectors)
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + norm.eps)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _is_vector(a: Any, size: int, dtype: np.dtype) -> bool:
    return type(a) is np.ndarray and a.shape == (size,) and a.dtype == dtype and is_dense(a)


def _folded(kind: str, W: Array, b: Array | None, scale: Array, shift: Array) -> tuple[Array, Array]:
    """The weights and the bias of a layer with each of its outputs scaled and shifted."""
    per_output = (-1, 1, 1, 1) if kind == "conv2d" else (1, -1)
    folded = np.ascontiguousarray(W * scale.reshape(per_output), dtype=W.dtype)
    return folded, (shift if b is None else b * scale + shift).astype(W.dtype)

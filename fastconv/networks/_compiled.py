"""Prediction compiled: the layers of a network as chains of prepared steps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _prepare as prepare
from .._settings import settings
from ..layers import (
    Affine,
    BatchNorm2d,
    BatchNormalization,
    Convolution,
    Dropout,
    Flatten,
    LeakyRelu,
    Pooling,
    Relu,
    Sigmoid,
    Tanh,
)
from ..layers._layer import run

try:
    from ..kernels.chain.cy import Chain, Watch

    _PREPARES = True
except ImportError:  # a build without the compiled kernels: no layer has a prepared form
    _PREPARES = False

Array = npt.NDArray[Any]

_MOST_PLANS = 8  # shapes of input that a predictor keeps ready
_READS: dict[type, tuple[str, ...]] = {  # what the steps depend on, besides a `forward` that was replaced
    Convolution: ("W", "b", "stride", "pad", "dilation", "groups"),
    Affine: ("W", "b"),
    BatchNorm2d: ("gamma", "beta", "running_mean", "running_var", "eps"),
    BatchNormalization: ("gamma", "beta", "running_mean", "running_var", "eps"),
    Dropout: ("dropout_ratio", "inverted"),
    Flatten: (),
    LeakyRelu: ("negative_slope",),
    Pooling: ("pool_h", "pool_w", "stride", "pad", "ceil_mode"),
    Relu: (),
    Sigmoid: (),
    Tanh: (),
}
_ELEMENTWISE = {Relu: "relu", LeakyRelu: "leaky_relu", Sigmoid: "sigmoid", Tanh: "tanh"}


class Predictor:
    """A network's `predict`, compiled: what `Network.compile` returns.

    Called with x, it gives what `network.predict(x)` gives, the same bits or, where batch normalisation was folded into
    the weights before it or a convolution is Winograd's, the same but for rounding. A call of a new shape or dtype of x
    prepares a plan for it; later ones run that plan.

    Parameters changed in place, replaced arrays and layers, changed strides, paddings, ratios and hooks are all noticed
    in the next call, which prepares anew: no result is computed from old parameters. Biases and the matrices of affine
    layers are read where they are. Of filters, and of what is folded with a batch normalisation, a plan keeps packed
    copies; the originals are read once a call and a fingerprint of theirs compared: one number changed is always seen,
    and that a change of several is not has a chance below 1 in 4 billion. Nothing may change *during* a call.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def __call__(self, x: Array) -> Array:
        """The scores of x, as `network.predict(x)`."""
        if type(x) is not np.ndarray:
            return self.network.predict(x)
        key = x.shape, x.dtype, settings.float32_conv_precision, settings.backend
        plan = self._plans.get(key)
        y = plan(x) if plan is not None and plan.holds(self.network) else None
        return self._prepare(key, x) if y is None else y

    def predict(self, x: Array) -> Array:
        """The same, for code that expects a network."""
        return self(x)

    def _prepare(self, key: tuple[Any, ...], x: Array) -> Array:
        """Make a plan for arrays like x; its scores."""
        if not _PREPARES or settings.backend is not None:
            return self.network.predict(x)
        if not _is_dense(x):
            return self(np.require(x, requirements=("C", "A")))
        plan = _Plan(self.network)
        y = plan.prepare(x)
        self._plans.pop(key, None)
        self._plans[key] = plan
        if len(self._plans) > _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        return y


class _Plan:
    """Chains of prepared steps, and layers that run as they are between them, for one shape and dtype of x."""

    def __init__(self, network: Any) -> None:
        self._container = network.layers
        self._present = self._container.values if isinstance(self._container, Mapping) else self._container.__iter__
        self._layers = network._layers()
        self._parts: list[Callable[[Array], Array | None]] = []
        self._bindings: list[tuple[dict[str, Any], str]] = []
        self._copied: list[Array] = []
        self._in_place: list[Array] = []

    def holds(self, network: Any) -> bool:
        """Whether the network is still the one that was prepared."""
        same = network.layers is self._container and [*self._present()] == self._layers
        return same and self._watch.unchanged()

    def __call__(self, x: Array) -> Array | None:
        """The scores, or None when a layer that runs as it is gave another shape than before."""
        for part in self._parts:
            y = part(x)
            if y is None:
                return None
            x = y
        return x

    def prepare(self, x: Array) -> Array:
        """Prepare for arrays like x; its scores."""
        at = 0
        while at < len(self._layers):
            chain = _Links(self._layers[at:], x)
            part: Any
            if chain.steps:
                part = Chain(chain.steps, x, chain.shape)
                at += chain.count
            else:
                part = _AsItIs(*self._layers[at : at + 2])
                ran = self._layers[at : at + 1 + part.fused]
                chain.bindings = [(getattr(layer, "__dict__", {}), "forward") for layer in ran]
                at += len(ran)
            self._parts.append(part)
            self._bindings += chain.bindings
            self._copied += chain.copied
            self._in_place += chain.in_place
            x = part(x)
        self._watch = Watch(self._bindings, self._copied, self._in_place)
        return x


class _AsItIs:
    """A layer in prediction; with the ReLU behind it where its kernel applies that."""

    def __init__(self, layer: Any, follower: Any = None) -> None:
        self.layer = layer
        self.fused = isinstance(layer, Convolution | Affine) and isinstance(follower, Relu)
        self.fused = self.fused and _is_plain(layer) and _is_plain(follower)

    def __call__(self, x: Array) -> Array:
        return self.layer.forward(x, activation="relu") if self.fused else run(self.layer, x, False)


class _Links:
    """The steps of as many layers as can be prepared, for an input like x.

    Attributes
    ----------
    steps : list of Step
    count : int
        How many layers they are.
    shape : tuple of int
        Of the result.
    bindings : list of (dict, name)
        The attributes that the steps depend on.
    copied : list of ndarray
        Arrays of which they keep copies.
    in_place : list of ndarray
        The weights, most of which they read where they are.
    """

    def __init__(self, layers: list[Any], x: Array) -> None:
        self.steps: list[Any] = []
        self.bindings: list[tuple[dict[str, Any], str]] = []
        self.copied: list[Array] = []
        self.in_place: list[Array] = []
        self.count, self.shape, self.dtype = 0, x.shape, x.dtype
        able = _is_dense(x) and x.ndim in (2, 4) and len(x) > 0 and x.dtype in (np.float32, np.float64)
        while able and self.count < len(layers):
            taken = self._take(layers[self.count :])
            if not taken:
                break
            for layer in layers[self.count : self.count + taken]:
                self.bindings += [(vars(layer), name) for name in ("forward", *_READS[type(layer)])]
            self.count += taken

    def _take(self, layers: list[Any]) -> int:
        """Prepare the first layer, with those behind it that its step does too; how many they are, 0 for none."""
        first, *rest = layers
        if not _is_plain(first):
            return 0
        if isinstance(first, Convolution | Affine):
            return self._take_weights(first, rest)
        if isinstance(first, Pooling):
            window = (first.pool_h, first.pool_w), first.stride, first.pad, first.ceil_mode
            return self._add(prepare.max_pool2d(self.shape, self.dtype, *window)) if len(self.shape) == 4 else 0
        if type(first) in _ELEMENTWISE:
            slope = first.negative_slope if isinstance(first, LeakyRelu) else 0.0
            return self._add(prepare.elementwise(_ELEMENTWISE[type(first)], self.shape, self.dtype, slope))
        if isinstance(first, Flatten) and self.steps:
            self.shape = self.shape[0], int(np.prod(self.shape[1:]))
            return 1
        return int(isinstance(first, Dropout) and first.inverted and bool(self.steps))

    def _take_weights(self, layer: Any, rest: list[Any]) -> int:
        """A layer with weights, and the normalisation, the ReLU and the dropout behind it."""
        W, b, taken = layer.W, layer.b, 1
        if any(type(a) is not np.ndarray or a.dtype != self.dtype for a in (W, b) if a is not None):
            return 0
        read = [W]
        if rest and _is_plain(rest[0]) and (scale_and_shift := _normalization(rest[0], layer, self.dtype)):
            norm, (scale, shift) = rest[0], scale_and_shift
            read += [a for a in (b, norm.gamma, norm.beta, norm.running_mean, norm.running_var) if a is not None]
            W, b = _folded(layer, scale, shift)
            taken += 1
        relu = len(rest) >= taken and _is_plain(rest[taken - 1]) and isinstance(rest[taken - 1], Relu)
        taken += relu
        activation = "relu" if relu else None
        if isinstance(layer, Convolution):
            if len(self.shape) != 4:
                return 0
            geometry = layer.stride, layer.pad, layer.dilation, layer.groups
            made = prepare.conv2d(self.shape, W, b, *geometry, activation)
        else:
            scale = 1.0
            while len(rest) >= taken and _is_plain(rest[taken - 1]) and isinstance(rest[taken - 1], Dropout):
                scale *= 1.0 if rest[taken - 1].inverted else 1.0 - rest[taken - 1].dropout_ratio
                taken += 1
            made = prepare.affine(self.shape, W, b, activation, scale)
        if not self._add(made):
            return 0
        self.in_place += [a for a in (layer.W, layer.b) if a is not None]
        self.copied += read if W is not layer.W or self.steps[-1].copies else []
        return taken

    def _add(self, made: tuple[Any, tuple[int, ...]]) -> int:
        """Append a step, if there is one, and keep the shape of its result."""
        step, shape = made
        if step is None:
            return 0
        self.steps.append(step)
        self.shape = shape
        return 1


def _is_dense(x: Array) -> bool:
    return x.flags.c_contiguous and x.flags.aligned


def _is_plain(layer: Any) -> bool:
    """Whether a layer does what its class says: no subclass, and no `forward` of its own as a hook leaves it."""
    return type(layer) in _READS and "forward" not in vars(layer)


def _normalization(norm: Any, layer: Any, dtype: np.dtype) -> tuple[Array, Array] | None:
    """The scale and the shift of each of a layer's outputs by a batch normalisation; None if that has others."""
    outputs = len(layer.W) if isinstance(layer, Convolution) else layer.W.shape[1]
    per_output = isinstance(norm, BatchNorm2d) or (isinstance(norm, BatchNormalization) and isinstance(layer, Affine))
    if not per_output or norm.running_mean is None or norm.running_var is None:
        return None
    vectors = norm.gamma, norm.beta, norm.running_mean, norm.running_var
    if any(a is not None and not _is_vector(a, outputs, dtype) for a in vectors):
        return None
    gamma, beta, mean, var = (None if a is None else a.astype(np.float64) for a in vectors)
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + norm.eps)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _is_vector(a: Any, size: int, dtype: np.dtype) -> bool:
    return type(a) is np.ndarray and a.shape == (size,) and a.dtype == dtype and _is_dense(a)


def _folded(layer: Any, scale: Array, shift: Array) -> tuple[Array, Array]:
    """The weights and the bias of a layer with each of its outputs scaled and shifted."""
    per_output = (-1, 1, 1, 1) if isinstance(layer, Convolution) else (1, -1)
    W = np.ascontiguousarray(layer.W * scale.reshape(per_output), dtype=layer.W.dtype)
    b = shift if layer.b is None else layer.b * scale + shift
    return W, b.astype(layer.W.dtype)

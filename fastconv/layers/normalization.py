"""Batch normalisation: the book's, per feature, and PyTorch's, per channel.

Source: S. Ioffe and C. Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift, 2015.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from .._device import is_device, like, zeros_like
from .._memory import filled
from ._kept import Kept
from ._layer import Array, Layer, Saved, rows


class BatchNormalization(Layer):
    """The book's layer: every feature normalised over the batch, images flattened to (N, C*H*W).

    y = gamma * (x - mean) / sqrt(var + 1e-6) + beta, with the biased variance;
    running = momentum * running + (1 - momentum) * batch, for the mean and for the (biased) variance.

    Parameters
    ----------
    gamma, beta : ndarray (D,) or float
        Scale and shift of the D features.
    momentum : float
    running_mean, running_var : ndarray (D,), optional
        Statistics for inference; zeros at the first call if not given. They are replaced, not changed in place, but for
        those on a CUDA device.

    Attributes
    ----------
    dgamma, dbeta : ndarray (D,)
        Gradients after `backward`.
    across : object or None
        Set by `fastconv.distributed`, where the statistics are those of several processes.
    """

    kind = "feature_norm"
    reads = ("gamma", "beta", "running_mean", "running_var", "eps")
    trainable = ("gamma", "beta")
    statistics = ("running_mean", "running_var")
    runs_on_cuda = True
    takes_train_flg = True
    x = Kept()
    across: Any = None
    eps = 1e-6  # the book writes it 10e-7

    def __init__(
        self,
        gamma: Array | float,
        beta: Array | float,
        momentum: float = 0.9,
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean: Saved = running_mean
        self.running_var: Saved = running_var
        self.input_shape: Saved = None
        self.dgamma: Saved = None
        self.dbeta: Saved = None
        self._cache: Saved = None

    def forward(self, x: Array, train_flg: bool = True, *, activation: str | None = None) -> Array:
        """x (N, D) or (N, C, H, W) with C*H*W = D -> the same shape."""
        self.input_shape = x.shape
        features = rows(x)
        D = features.shape[1]
        if self.running_mean is None or self.running_var is None:
            self.running_mean, self.running_var = (like(np.zeros(D), x) for _ in range(2))
        gamma, beta = (_vector(v, D, x) for v in (self.gamma, self.beta))
        if not train_flg:
            statistics = self.running_mean, self.running_var
            y, self._cache = ops.batch_norm(features, gamma, beta, *statistics, False, eps=self.eps)
            _keep_input(self, x)
        elif self.across is not None:
            y, self._cache, mean, var, _ = self.across.forward(features, gamma, beta, self.eps)
            self._remember(mean, var)
            _keep_input(self, x)
        elif x.shape[0] == 1:
            y, self._cache = self._train_one(features, beta), None
        else:
            y = self._train_there(features, gamma, beta) if is_device(x) else self._train(features, gamma, beta)
            _keep_input(self, x)
        return _activated(y.reshape(x.shape), activation)

    def _train(self, features: Array, gamma: Array, beta: Array) -> Array:
        N, D = features.shape
        # With momentum 1 the running statistics are those of the batch, the variance unbiased: N/(N - 1) too large.
        mean, var = np.zeros(D), np.zeros(D)
        y, self._cache = ops.batch_norm(features, gamma, beta, mean, var, True, momentum=1.0, eps=self.eps)
        if N:
            self._remember(mean, var * ((N - 1) / N))
        return y

    def _train_there(self, features: Array, gamma: Array, beta: Array) -> Array:
        """The same where a captured step needs the statistics to stay in their place: the running variance is made
        N/(N - 1) too large, like the batch's, and comes back."""
        share = (features.shape[0] - 1) / max(features.shape[0], 1)
        var = self.running_var * (1 / share)
        y, self._cache = ops.batch_norm(
            features, gamma, beta, self.running_mean, var, True, momentum=1 - self.momentum, eps=self.eps
        )
        self.running_var[...] = var * share
        return y

    def _train_one(self, features: Array, beta: Array) -> Array:
        """A batch of one is its own mean, without variance: y = beta, and the gradient does not reach x."""
        if is_device(features):
            m = self.momentum
            self.running_mean[...] = m * self.running_mean + (1 - m) * features[0].astype(self.running_mean.dtype)
            self.running_var[...] = m * self.running_var
            return beta.reshape(1, len(beta)).astype(np.result_type(features.dtype, beta.dtype))
        self._remember(features[0], np.zeros(features.shape[1]))
        return np.broadcast_to(beta, features.shape).astype(np.result_type(features, self.gamma, beta))

    def _remember(self, mean: Array, var: Array) -> None:
        m = self.momentum
        self.running_mean = m * self.running_mean + (1 - m) * mean
        self.running_var = m * self.running_var + (1 - m) * var

    def backward(self, dout: Array) -> Array:
        if self._cache is None:  # a batch of one
            dx, self.dgamma, self.dbeta = zeros_like(dout), zeros_like(dout.reshape(-1)), dout.reshape(-1)
        else:
            BatchNormalization.x.unchanged(self)
            dx, self.dgamma, self.dbeta = _backward(self)(rows(dout), self._cache)
        return dx.reshape(dout.shape)


def _activated(y: Array, activation: str | None) -> Array:
    if activation not in (None, "relu", "relu6"):
        raise ValueError(f"activation: expected None, 'relu' or 'relu6', got {activation!r}")
    return y if activation is None else getattr(ops, activation)(y)


def _backward(layer: Any) -> Any:
    return ops.batch_norm_backward if layer.across is None else layer.across.backward


def _keep_input(layer: Any, x: Array) -> None:
    """Keep what the cache of a layer's batch normalisation reads: x's own numbers, or a copy that nobody else has."""
    read = layer._cache.x
    if is_device(x) or np.may_share_memory(read, x):
        type(layer).x.keep(layer, read, given=x)
    else:
        layer.x = read


def _vector(v: Any, D: int, x: Array) -> Array:
    """A parameter for each of D features, where x is."""
    if is_device(x):
        return v if is_device(v) else filled(D, float(v), x.dtype, "cuda")
    return np.broadcast_to(v, (D,))


class BatchNorm2d(Layer):
    """PyTorch's layer: every channel normalised over the batch and the plane.

    y = gamma * (x - mean) / sqrt(var + eps) + beta, with the biased variance;
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance.

    Parameters
    ----------
    gamma, beta : ndarray (C,) or None
        Scale and shift of the C channels. `gamma` may be the int C: then ones and zeros, in `dtype`.
    momentum, eps : float
    running_mean, running_var : ndarray (C,), optional
        Statistics for inference, updated in place; zeros and ones at the first call if not given.
    dtype : dtype, optional
        Of what an int `gamma` makes; by default that of the first input.

    Attributes
    ----------
    dgamma, dbeta : ndarray (C,)
        Gradients after `backward`.
    across : object or None
        Set by `fastconv.distributed`, where the statistics are those of several processes.
    """

    kind = "batch_norm"
    reads = ("gamma", "beta", "running_mean", "running_var", "eps")
    trainable = ("gamma", "beta")
    statistics = ("running_mean", "running_var")
    runs_on_cuda = True
    takes_train_flg = True
    x = Kept()
    across: Any = None

    def __init__(
        self,
        gamma: Array | int | None,
        beta: Array | None = None,
        momentum: float = 0.1,
        running_mean: Array | None = None,
        running_var: Array | None = None,
        eps: float = 1e-5,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        self._follows_input = isinstance(gamma, (int, np.integer)) and dtype is None
        if isinstance(gamma, (int, np.integer)):
            C, kind = int(gamma), np.float64 if dtype is None else dtype
            if running_mean is None and running_var is None:
                running_mean, running_var = np.zeros(C, kind), np.ones(C, kind)
            gamma, beta = np.ones(C, kind), np.zeros(C, kind)
        self.gamma, self.beta, self.momentum, self.eps = gamma, beta, momentum, eps
        self.running_mean: Saved = running_mean
        self.running_var: Saved = running_var
        self.dgamma: Saved = None
        self.dbeta: Saved = None
        self._cache: Saved = None

    def forward(self, x: Array, train_flg: bool = True, *, activation: str | None = None) -> Array:
        """x (N, C, H, W) or (N, C) -> the same shape."""
        if self._follows_input:
            self._take_dtype(x)
        if self.running_mean is None or self.running_var is None:
            dtype = np.result_type(x.dtype, np.float32 if self.gamma is None else self.gamma.dtype)
            start = np.zeros(x.shape[1], dtype), np.ones(x.shape[1], dtype)
            self.running_mean, self.running_var = (like(a, x) for a in start)
        if train_flg and self.across is not None:
            y = self._train_across(x, activation)
        else:
            y, self._cache = ops.batch_norm(
                x, self.gamma, self.beta, self.running_mean, self.running_var, train_flg, self.momentum, self.eps,
                activation=activation,
            )  # fmt: skip
        _keep_input(self, x)
        return y

    def _train_across(self, x: Array, activation: str | None) -> Array:
        y, self._cache, mean, var, count = self.across.forward(x, self.gamma, self.beta, self.eps, activation)
        if count < 2:
            raise ValueError(
                f"x: expected more than 1 value per channel over all processes when training, got {x.shape}"
            )
        m = self.momentum
        for running, now in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            running[...] = (1 - m) * running + m * now
        return y

    def _take_dtype(self, x: Array) -> None:
        """Made without a dtype, the layer takes that of its first input: float64 would make all that follows so."""
        self._follows_input = False
        if x.dtype.kind == "f" and x.dtype != getattr(self.gamma, "dtype", x.dtype):
            for name in (*self.trainable, *self.statistics):
                setattr(self, name, getattr(self, name).astype(x.dtype))

    def backward(self, dout: Array) -> Array:
        BatchNorm2d.x.unchanged(self)
        dx, self.dgamma, self.dbeta = _backward(self)(dout, self._cache)
        return dx


BatchNorm1d = BatchNorm2d  # the same rule: (N, C) is (N, C, 1, 1)

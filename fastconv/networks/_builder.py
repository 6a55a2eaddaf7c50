"""A row of layers put together from its first to its last, every shape following from the one before."""

import math
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import init
from .._random import source
from ..functions import conv_output_size
from ..layers import (
    Affine,
    BatchNorm2d,
    BatchNormalization,
    Convolution,
    LeakyRelu,
    Pooling,
    Relu,
    Sigmoid,
    Tanh,
)
from ..layers._layer import Layer

_ACTIVATIONS: dict[str, type[Layer]] = {"relu": Relu, "sigmoid": Sigmoid, "tanh": Tanh, "leaky_relu": LeakyRelu}


class Builder:
    """Makes the layers and their initial parameters.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W) or (features,): one sample.
    weight_init_std : float or str
        As in `fastconv.init.weights`.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator

    Attributes
    ----------
    layers : OrderedDict
        The layers under their kind and number, 'Conv1', 'Relu1', ...
    shape : tuple of int
        What the last layer gives for one sample.
    """

    def __init__(
        self, input_shape: tuple[int, ...], weight_init_std: float | str, dtype: npt.DTypeLike, rng: Any
    ) -> None:
        self.layers: OrderedDict[str, Layer] = OrderedDict()
        self.shape = tuple(input_shape)
        self._weight_init_std, self._dtype = weight_init_std, np.dtype(dtype)
        self.rng = None if rng is None else source(rng)  # one generator for all layers
        self._count: Counter[str] = Counter()

    def add(self, kind: str, layer: Layer) -> None:
        """A layer that keeps the shape."""
        self._count[kind] += 1
        self.layers[f"{kind}{self._count[kind]}"] = layer

    def _weights(self, *shape: int) -> npt.NDArray[Any]:
        return init.weights(shape, self._weight_init_std, self.rng, self._dtype)

    def convolution(self, filter_num: int, filter_size: int, pad: int = 0, stride: int = 1) -> None:
        weights = self._weights(filter_num, self.shape[0], filter_size, filter_size)
        self.add("Conv", Convolution(weights, init.zeros(filter_num, self._dtype), stride, pad))
        self._resize(filter_num, filter_size, stride, pad)

    def pooling(self, pool_size: int = 2, stride: int = 2) -> None:
        self.add("Pool", Pooling(pool_size, pool_size, stride))
        self._resize(self.shape[0], pool_size, stride, 0)

    def _resize(self, channels: int, filter_size: int, stride: int, pad: int) -> None:
        sizes = (conv_output_size(n, filter_size, stride, pad) for n in self.shape[1:])
        self.shape = channels, *sizes
        if min(self.shape) < 1:
            raise ValueError(f"input_dim: too small for the filters, {self._latest()} would give {self.shape}")

    def _latest(self) -> str:
        return next(reversed(self.layers))

    def affine(self, size: int) -> None:
        self.add("Affine", Affine(self._weights(math.prod(self.shape), size), init.zeros(size, self._dtype)))
        self.shape = (size,)

    def activation(self, name: str, kind: str) -> None:
        if name not in _ACTIVATIONS:
            raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {name!r}")
        self.add(kind, _ACTIVATIONS[name]())

    def relu(self) -> None:
        self.add("Relu", Relu())

    def batch_normalization(self) -> None:
        """The book's layer."""
        gamma, beta, mean, var = self._normalization(1.0, 0.0, 0.0, 0.0)
        self.add("BatchNorm", BatchNormalization(gamma, beta, running_mean=mean, running_var=var))

    def batch_norm(self) -> None:
        """PyTorch's layer: per channel."""
        gamma, beta, mean, var = self._normalization(1.0, 0.0, 0.0, 1.0)
        self.add("BatchNorm", BatchNorm2d(gamma, beta, running_mean=mean, running_var=var))

    def _normalization(self, *fills: float) -> list[npt.NDArray[Any]]:
        return [np.full(self.shape[0], fill, self._dtype) for fill in fills]

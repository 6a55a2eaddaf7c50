"""``cs231n.layer_utils``: layers in a row, with one cache."""

from typing import Any

from numpy.typing import NDArray

from .fast_layers import _forward, conv_backward_fast, conv_forward_fast, max_pool_backward_fast, max_pool_forward_fast
from .layers import (
    affine_backward,
    affine_forward,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)

__all__ = [
    "affine_relu_backward",
    "affine_relu_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
]

Param = dict[str, Any]
Cache = tuple[Any, ...]
Gradients = tuple[NDArray, NDArray, NDArray]


def affine_relu_forward(x: NDArray, w: NDArray, b: NDArray) -> tuple[NDArray, Cache]:
    """An affine map and a ReLU: (out, (fc_cache, relu_cache))."""
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dw, db) of `affine_relu_forward`."""
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)


def conv_relu_forward(x: NDArray, w: NDArray, b: NDArray, conv_param: Param) -> tuple[NDArray, Cache]:
    """A convolution and a ReLU: (out, (conv_cache, relu_cache)).

    relu_cache is the ReLU's result: it is positive where its input is, and the input is never stored.
    """
    out, conv_cache = _forward(x, w, b, conv_param, "columns", "relu")
    return out, (conv_cache, out)


def conv_relu_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dw, db) of `conv_relu_forward`."""
    conv_cache, relu_cache = cache
    return conv_backward_fast(relu_backward(dout, relu_cache), conv_cache)


def conv_bn_relu_forward(
    x: NDArray, w: NDArray, b: NDArray, gamma: NDArray, beta: NDArray, conv_param: Param, bn_param: Param
) -> tuple[NDArray, Cache]:
    """A convolution, spatial batch normalisation and a ReLU: (out, (conv_cache, bn_cache, relu_cache))."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    normal, bn_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(normal)
    return out, (conv_cache, bn_cache, relu_cache)


def conv_bn_relu_backward(dout: NDArray, cache: Cache) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """(dx, dw, db, dgamma, dbeta) of `conv_bn_relu_forward`."""
    conv_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), bn_cache)
    return *conv_backward_fast(da, conv_cache), dgamma, dbeta


def conv_relu_pool_forward(
    x: NDArray, w: NDArray, b: NDArray, conv_param: Param, pool_param: Param
) -> tuple[NDArray, Cache]:
    """A convolution, a ReLU and max pooling: (out, (conv_cache, relu_cache, pool_cache))."""
    s, (conv_cache, relu_cache) = conv_relu_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward_fast(s, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: NDArray, cache: Cache) -> Gradients:
    """(dx, dw, db) of `conv_relu_pool_forward`."""
    conv_cache, relu_cache, pool_cache = cache
    return conv_relu_backward(max_pool_backward_fast(dout, pool_cache), (conv_cache, relu_cache))

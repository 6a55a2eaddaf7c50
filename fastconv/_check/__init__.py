"""Arguments of the public operations -> (Problem, dense arrays...). The only place that raises on input.

One function per operation, with the operation's own signature; each returns the frozen Problem first. Checks that do
not look at the numbers in their float arrays are `remembered`: a call like an earlier one gets its Problem at once.
"""

from .activations import gelu_of
from .arguments import dense
from .remembered import listed_twice, share_memory
from .normalization import group_norm, instance_norm, layer_norm, local_response_norm, local_response_norm_backward
from .rows import (
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    dropout,
    dropout_backward,
    elementwise,
    elementwise_backward,
    leading_axes,
    nll_loss,
    relu_masked_backward,
    rng,
    same_shape,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    update,
)
from .windows import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    col2im,
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    im2col,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_indices,
    stochastic_pool2d,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "affine",
    "affine_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "dense",
    "dropout",
    "dropout_backward",
    "elementwise",
    "elementwise_backward",
    "gelu_of",
    "group_norm",
    "im2col",
    "instance_norm",
    "layer_norm",
    "leading_axes",
    "listed_twice",
    "local_response_norm",
    "local_response_norm_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_indices",
    "nll_loss",
    "relu_masked_backward",
    "rng",
    "same_shape",
    "share_memory",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "stochastic_pool2d",
    "update",
]

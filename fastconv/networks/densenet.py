"""DenseNet.

Source: G. Huang, Z. Liu, L. van der Maaten and K. Weinberger, Densely Connected Convolutional Networks, 2017.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import AveragePooling, Concatenate, Flatten, GlobalAveragePooling, Pooling, Relu
from ._network import Network
from ._parts import Parts

_DEPTHS = 6, 12, 24, 16
_GROWTH = 32


class DenseNet121(Network):
    """DenseNet-121: every layer of a block reads what all layers before it in the block have made.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights.

    Notes
    -----
    Images (N, channels, H, W) from 32 x 32 on, 224 x 224 in the paper. Parameters have torchvision's names.
    """

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        features: dict[str, Any] = {
            "conv0": parts.conv(channels, 64, 7, 2, 3),
            "norm0": parts.norm(64),
            "relu0": Relu(),
            "pool0": Pooling(3, 3, 2, 1),
        }
        into = 64
        for i, depth in enumerate(_DEPTHS):
            block = {}
            for k in range(depth):
                block[f"denselayer{k + 1}"] = Concatenate({}, _dense_layer(parts, into))
                into += _GROWTH
            features[f"denseblock{i + 1}"] = block
            if i + 1 < len(_DEPTHS):
                features[f"transition{i + 1}"] = {
                    "norm": parts.norm(into),
                    "relu": Relu(),
                    "conv": parts.conv(into, into // 2, 1),
                    "pool": AveragePooling(2, 2, 2),
                }
                into //= 2
        features["norm5"] = parts.norm(into)
        super().__init__({
            "features": features, "relu": Relu(), "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "classifier": parts.affine(into, classes),
        })  # fmt: skip


def _dense_layer(parts: Parts, into: int) -> dict[str, Any]:
    return {
        "norm1": parts.norm(into),
        "relu1": Relu(),
        "conv1": parts.conv(into, 4 * _GROWTH, 1),
        "norm2": parts.norm(4 * _GROWTH),
        "relu2": Relu(),
        "conv2": parts.conv(4 * _GROWTH, _GROWTH, 3, 1, 1),
    }

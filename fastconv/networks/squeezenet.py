"""SqueezeNet.

Source: F. Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, 2016.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Concatenate, Dropout, Flatten, GlobalAveragePooling, Pooling, Relu
from ._network import Network
from ._parts import Parts


def _fire(parts: Parts, into: int, squeeze: int, expand: int) -> dict[str, Any]:
    return {
        "squeeze": parts.conv(into, squeeze, 1, bias=True),
        "squeeze_activation": Relu(),
        "": Concatenate(
            {"expand1x1": parts.conv(squeeze, expand, 1, bias=True), "expand1x1_activation": Relu()},
            {"expand3x3": parts.conv(squeeze, expand, 3, 1, 1, bias=True), "expand3x3_activation": Relu()},
        ),
    }


class SqueezeNet(Network):
    """SqueezeNet 1.1, or 1.0.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    version : {"1.1", "1.0"}
        1.1 has the same accuracy for 2.4 times less arithmetic.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 21 x 21 on, 224 x 224 in the paper. Parameters have torchvision's names.
    """

    def __init__(
        self,
        classes: int = 1000,
        channels: int = 3,
        version: str = "1.1",
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        if version not in ("1.0", "1.1"):
            raise ValueError(f"version: expected '1.0' or '1.1', got {version!r}")
        parts = Parts(dtype, rng)
        stem, size, pooled = (96, 7, (3, 7)) if version == "1.0" else (64, 3, (2, 4))
        sizes = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
        features: list[Any] = [parts.conv(channels, stem, size, 2, bias=True), Relu(), _pool()]
        into = stem
        for i, (squeeze, expand) in enumerate(sizes):
            features.append(_fire(parts, into, squeeze, expand))
            into = 2 * expand
            if i + 1 in pooled:
                features.append(_pool())
        super().__init__({
            "features": features,
            "classifier": [
                Dropout(0.5, inverted=True, rng=parts.rng), parts.conv(512, classes, 1, bias=True), Relu(),
                GlobalAveragePooling(),
            ],
            "flatten": Flatten(),
        })  # fmt: skip


def _pool() -> Pooling:
    return Pooling(3, 3, 2, ceil_mode=True)

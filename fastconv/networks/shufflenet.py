"""ShuffleNet v2.

Source: N. Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, 2018.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import ChannelShuffle, Concatenate, Flatten, GlobalAveragePooling, Pooling, Slice
from ._network import Network
from ._parts import Parts

_STAGES = (116, 4), (232, 8), (464, 4)


class ShuffleNetV2(Network):
    """ShuffleNet v2 (x1.0).

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
        layers: dict[str, Any] = {"conv1": parts.conv_norm(channels, 24, 3, 2), "maxpool": Pooling(3, 3, 2, 1)}
        into = 24
        for i, (out, count) in enumerate(_STAGES):
            layers[f"stage{i + 2}"] = [_down(parts, into, out), *(_keep(parts, out) for _ in range(count - 1))]
            into = out
        layers |= {
            "conv5": parts.conv_norm(into, 1024, 1), "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "fc": parts.affine(1024, classes),
        }  # fmt: skip
        super().__init__(layers)


def _branch(parts: Parts, into: int, half: int, stride: int) -> list[Any]:
    return [
        *parts.conv_norm(into, half, 1),
        *parts.conv_norm(half, half, 3, stride, groups=half, activation=None),
        *parts.conv_norm(half, half, 1),
    ]


def _down(parts: Parts, into: int, out: int) -> dict[str, Any]:
    half = out // 2
    first = [*parts.conv_norm(into, into, 3, 2, groups=into, activation=None), *parts.conv_norm(into, half, 1)]
    return {
        "": Concatenate({"branch1": first}, {"branch2": _branch(parts, into, half, 2)}),
        "shuffle": ChannelShuffle(2),
    }


def _keep(parts: Parts, out: int) -> dict[str, Any]:
    half = out // 2
    second = {"slice": Slice(half, out), "branch2": _branch(parts, half, half, 1)}
    return {"": Concatenate({"slice1": Slice(0, half)}, second), "shuffle": ChannelShuffle(2)}

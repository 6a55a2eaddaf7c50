"""Small networks of depthwise and 1x1 convolutions.

Sources: M. Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018; A. Howard et al., Searching
for MobileNetV3, 2019; M. Tan et al., MnasNet: Platform-Aware Neural Architecture Search for Mobile, 2019.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..layers import (
    ChannelScale,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    HardSigmoid,
    HardSwish,
    Relu,
    Relu6,
    Residual,
)
from ._network import Network
from ._parts import Parts, channels_of

_COMMON = """
    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 32 x 32 on, 224 x 224 in the paper. Parameters have torchvision's names.
    """


def _residual(name: str, row: list[Any], same: bool) -> dict[str, Any]:
    """A block whose layers are called "name.0", ...: with the identity beside it where the shape stays."""
    return {"": Residual({name: row})} if same else {name: row}


class MobileNetV2(Network):
    __doc__ = f"MobileNet v2.\n{_COMMON}"

    # expansion, channels, blocks, stride of the first
    _rows = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        features: list[Any] = [parts.conv_norm(channels, 32, 3, 2, activation=Relu6)]
        into = 32
        for expansion, out, count, first in self._rows:
            for k in range(count):
                stride, hidden = first if k == 0 else 1, into * expansion
                row: list[Any] = [parts.conv_norm(into, hidden, 1, activation=Relu6)] if expansion != 1 else []
                row += [
                    parts.conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=Relu6),
                    *parts.conv_norm(hidden, out, 1, activation=None),
                ]
                features.append(_residual("conv", row, stride == 1 and into == out))
                into = out
        features.append(parts.conv_norm(into, 1280, 1, activation=Relu6))
        super().__init__({
            "features": features, "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "classifier": [Dropout(0.2, inverted=True, rng=parts.rng), parts.affine(1280, classes)],
        })  # fmt: skip


class _MobileNetV3(Network):
    # filter, expanded channels, channels, squeeze and excitation, activation, stride
    _rows: ClassVar[tuple[tuple[int, int, int, bool, Any, int], ...]]
    _last: ClassVar[int]

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng, eps=1e-3, momentum=0.01)
        features: list[Any] = [parts.conv_norm(channels, 16, 3, 2, activation=HardSwish)]
        into = 16
        for size, hidden, out, squeezes, activation, stride in self._rows:
            row: list[Any] = [parts.conv_norm(into, hidden, 1, activation=activation)] if hidden != into else []
            row.append(parts.conv_norm(hidden, hidden, size, stride, groups=hidden, activation=activation))
            if squeezes:
                row.append(_squeeze(parts, hidden))
            row.append(parts.conv_norm(hidden, out, 1, activation=None))
            features.append(_residual("block", row, stride == 1 and into == out))
            into = out
        features.append(parts.conv_norm(into, 6 * into, 1, activation=HardSwish))
        super().__init__({
            "features": features, "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "classifier": [
                parts.affine(6 * into, self._last), HardSwish(), Dropout(0.2, inverted=True, rng=parts.rng),
                parts.affine(self._last, classes),
            ],
        })  # fmt: skip


def _squeeze(parts: Parts, hidden: int) -> ChannelScale:
    inner = channels_of(hidden / 4)
    return ChannelScale({
        "avgpool": GlobalAveragePooling(),
        "fc1": parts.conv(hidden, inner, 1, bias=True),
        "activation": Relu(),
        "fc2": parts.conv(inner, hidden, 1, bias=True),
        "scale_activation": HardSigmoid(),
    })  # fmt: skip


class MobileNetV3Small(_MobileNetV3):
    __doc__ = f"MobileNet v3, small.\n{_COMMON}"
    _rows = (
        (3, 16, 16, True, Relu, 2), (3, 72, 24, False, Relu, 2), (3, 88, 24, False, Relu, 1),
        (5, 96, 40, True, HardSwish, 2), (5, 240, 40, True, HardSwish, 1), (5, 240, 40, True, HardSwish, 1),
        (5, 120, 48, True, HardSwish, 1), (5, 144, 48, True, HardSwish, 1), (5, 288, 96, True, HardSwish, 2),
        (5, 576, 96, True, HardSwish, 1), (5, 576, 96, True, HardSwish, 1),
    )  # fmt: skip
    _last = 1024


class MobileNetV3Large(_MobileNetV3):
    __doc__ = f"MobileNet v3, large.\n{_COMMON}"
    _rows = (
        (3, 16, 16, False, Relu, 1), (3, 64, 24, False, Relu, 2), (3, 72, 24, False, Relu, 1),
        (5, 72, 40, True, Relu, 2), (5, 120, 40, True, Relu, 1), (5, 120, 40, True, Relu, 1),
        (3, 240, 80, False, HardSwish, 2), (3, 200, 80, False, HardSwish, 1), (3, 184, 80, False, HardSwish, 1),
        (3, 184, 80, False, HardSwish, 1), (3, 480, 112, True, HardSwish, 1), (3, 672, 112, True, HardSwish, 1),
        (5, 672, 160, True, HardSwish, 2), (5, 960, 160, True, HardSwish, 1), (5, 960, 160, True, HardSwish, 1),
    )  # fmt: skip
    _last = 1280


class MNASNet(Network):
    __doc__ = f"MNASNet 1.0.\n{_COMMON}"

    # channels, filter, stride of the first block, expansion, blocks
    _rows = (
        (24, 3, 2, 3, 3),
        (40, 5, 2, 3, 3),
        (80, 5, 2, 6, 3),
        (96, 3, 1, 6, 2),
        (192, 5, 2, 6, 4),
        (320, 3, 1, 6, 1),
    )

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng, momentum=1 - 0.9997)
        layers: list[Any] = [
            *parts.conv_norm(channels, 32, 3, 2), *parts.conv_norm(32, 32, 3, groups=32),
            *parts.conv_norm(32, 16, 1, activation=None),
        ]  # fmt: skip
        into = 16
        for out, size, first, expansion, count in self._rows:
            blocks = []
            for k in range(count):
                stride, hidden = first if k == 0 else 1, into * expansion
                row = [
                    *parts.conv_norm(into, hidden, 1), *parts.conv_norm(hidden, hidden, size, stride, groups=hidden),
                    *parts.conv_norm(hidden, out, 1, activation=None),
                ]  # fmt: skip
                blocks.append(_residual("layers", row, stride == 1 and into == out))
                into = out
            layers.append(blocks)
        layers += parts.conv_norm(into, 1280, 1)
        super().__init__({
            "layers": layers, "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "classifier": [Dropout(0.2, inverted=True, rng=parts.rng), parts.affine(1280, classes)],
        })  # fmt: skip

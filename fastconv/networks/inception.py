"""Networks of parallel branches.

Sources: C. Szegedy et al., Going Deeper with Convolutions, 2015 (GoogLeNet, here with batch normalisation and without
its auxiliary heads); C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016 (Inception v3).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import AveragePooling, Concatenate, Dropout, Flatten, GlobalAveragePooling, Pooling, Relu
from ._network import Network
from ._parts import Parts

Layers = dict[str, Any]

# 1x1; 1x1 and 3x3; 1x1 and 3x3 (5x5 in the paper); pooling and 1x1
_GOOGLENET = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


def _unit(parts: Parts, into: int, out: int, size: Any, stride: int = 1, pad: Any = 0) -> Layers:
    return {"conv": parts.conv(into, out, size, stride, pad), "bn": parts.norm(out), "relu": Relu()}


class GoogLeNet(Network):
    """GoogLeNet (Inception v1) with batch normalisation.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 15 x 15 on, 224 x 224 in the paper. Parameters have torchvision's names; its
    auxiliary heads ("aux1", "aux2") are not there: load weights that have them with ``strict=False``.
    """

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng, eps=1e-3)
        layers: Layers = {
            "conv1": _unit(parts, channels, 64, 7, 2, 3),
            "maxpool1": Pooling(3, 3, 2, ceil_mode=True),
            "conv2": _unit(parts, 64, 64, 1),
            "conv3": _unit(parts, 64, 192, 3, 1, 1),
            "maxpool2": Pooling(3, 3, 2, ceil_mode=True),
        }
        for name, sizes in _GOOGLENET.items():
            layers[name] = _inception(parts, *sizes)
            if name == "inception3b":
                layers["maxpool3"] = Pooling(3, 3, 2, ceil_mode=True)
            if name == "inception4e":
                layers["maxpool4"] = Pooling(2, 2, 2, ceil_mode=True)
        layers |= {
            "avgpool": GlobalAveragePooling(),
            "flatten": Flatten(),
            "dropout": Dropout(0.2, inverted=True, rng=parts.rng),
            "fc": parts.affine(1024, classes),
        }
        super().__init__(layers)


def _inception(parts: Parts, into: int, one: int, three_in: int, three: int, five_in: int, five: int, pool: int) -> Any:
    return Concatenate(
        {"branch1": _unit(parts, into, one, 1)},
        {"branch2": [_unit(parts, into, three_in, 1), _unit(parts, three_in, three, 3, 1, 1)]},
        {"branch3": [_unit(parts, into, five_in, 1), _unit(parts, five_in, five, 3, 1, 1)]},
        {"branch4": [Pooling(3, 3, 1, 1, ceil_mode=True), _unit(parts, into, pool, 1)]},
    )


class InceptionV3(Network):
    """Inception v3, without its auxiliary head.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 75 x 75 on, 299 x 299 in the paper. Parameters have torchvision's names; its
    auxiliary head ("AuxLogits") is not there: load weights that have it with ``strict=False``.
    """

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng, eps=1e-3)
        super().__init__({
            "Conv2d_1a_3x3": _unit(parts, channels, 32, 3, 2),
            "Conv2d_2a_3x3": _unit(parts, 32, 32, 3),
            "Conv2d_2b_3x3": _unit(parts, 32, 64, 3, 1, 1),
            "maxpool1": Pooling(3, 3, 2),
            "Conv2d_3b_1x1": _unit(parts, 64, 80, 1),
            "Conv2d_4a_3x3": _unit(parts, 80, 192, 3),
            "maxpool2": Pooling(3, 3, 2),
            "Mixed_5b": _mixed_5(parts, 192, 32),
            "Mixed_5c": _mixed_5(parts, 256, 64),
            "Mixed_5d": _mixed_5(parts, 288, 64),
            "Mixed_6a": _mixed_6a(parts),
            "Mixed_6b": _mixed_6(parts, 128),
            "Mixed_6c": _mixed_6(parts, 160),
            "Mixed_6d": _mixed_6(parts, 160),
            "Mixed_6e": _mixed_6(parts, 192),
            "Mixed_7a": _mixed_7a(parts),
            "Mixed_7b": _mixed_7(parts, 1280),
            "Mixed_7c": _mixed_7(parts, 2048),
            "avgpool": GlobalAveragePooling(),
            "flatten": Flatten(),
            "dropout": Dropout(0.5, inverted=True, rng=parts.rng),
            "fc": parts.affine(2048, classes),
        })  # fmt: skip


def _pooled(parts: Parts, into: int, out: int) -> Layers:
    return {"pool": AveragePooling(3, 3, 1, 1), "branch_pool": _unit(parts, into, out, 1)}


def _mixed_5(parts: Parts, into: int, pool: int) -> Any:
    return Concatenate(
        {"branch1x1": _unit(parts, into, 64, 1)},
        {"branch5x5_1": _unit(parts, into, 48, 1), "branch5x5_2": _unit(parts, 48, 64, 5, 1, 2)},
        {
            "branch3x3dbl_1": _unit(parts, into, 64, 1),
            "branch3x3dbl_2": _unit(parts, 64, 96, 3, 1, 1),
            "branch3x3dbl_3": _unit(parts, 96, 96, 3, 1, 1),
        },
        _pooled(parts, into, pool),
    )


def _mixed_6a(parts: Parts) -> Any:
    return Concatenate(
        {"branch3x3": _unit(parts, 288, 384, 3, 2)},
        {
            "branch3x3dbl_1": _unit(parts, 288, 64, 1),
            "branch3x3dbl_2": _unit(parts, 64, 96, 3, 1, 1),
            "branch3x3dbl_3": _unit(parts, 96, 96, 3, 2),
        },
        Pooling(3, 3, 2),
    )


def _mixed_6(parts: Parts, inner: int) -> Any:
    row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
    return Concatenate(
        {"branch1x1": _unit(parts, 768, 192, 1)},
        {
            "branch7x7_1": _unit(parts, 768, inner, 1),
            "branch7x7_2": _unit(parts, inner, inner, *row),
            "branch7x7_3": _unit(parts, inner, 192, *column),
        },
        {
            "branch7x7dbl_1": _unit(parts, 768, inner, 1),
            "branch7x7dbl_2": _unit(parts, inner, inner, *column),
            "branch7x7dbl_3": _unit(parts, inner, inner, *row),
            "branch7x7dbl_4": _unit(parts, inner, inner, *column),
            "branch7x7dbl_5": _unit(parts, inner, 192, *row),
        },
        _pooled(parts, 768, 192),
    )


def _mixed_7a(parts: Parts) -> Any:
    return Concatenate(
        {"branch3x3_1": _unit(parts, 768, 192, 1), "branch3x3_2": _unit(parts, 192, 320, 3, 2)},
        {
            "branch7x7x3_1": _unit(parts, 768, 192, 1),
            "branch7x7x3_2": _unit(parts, 192, 192, (1, 7), 1, (0, 3)),
            "branch7x7x3_3": _unit(parts, 192, 192, (7, 1), 1, (3, 0)),
            "branch7x7x3_4": _unit(parts, 192, 192, 3, 2),
        },
        Pooling(3, 3, 2),
    )


def _mixed_7(parts: Parts, into: int) -> Any:
    def split(name: str) -> Any:
        return Concatenate(
            {f"{name}a": _unit(parts, 384, 384, (1, 3), 1, (0, 1))},
            {f"{name}b": _unit(parts, 384, 384, (3, 1), 1, (1, 0))},
        )

    return Concatenate(
        {"branch1x1": _unit(parts, into, 320, 1)},
        {"branch3x3_1": _unit(parts, into, 384, 1), "": split("branch3x3_2")},
        {
            "branch3x3dbl_1": _unit(parts, into, 448, 1),
            "branch3x3dbl_2": _unit(parts, 448, 384, 3, 1, 1),
            "": split("branch3x3dbl_3"),
        },
        _pooled(parts, into, 192),
    )

"""Rows of convolutions with a head of affine layers.

Sources: A. Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014 (AlexNet, with one
column); K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015 (VGG).
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..layers import AdaptiveAveragePooling, Dropout, Flatten, Pooling, Relu
from ._network import Network
from ._parts import Parts


def _dropout(parts: Parts) -> Dropout:
    return Dropout(0.5, inverted=True, rng=parts.rng)


class AlexNet(Network):
    """AlexNet.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 63 x 63 on, 224 x 224 in the paper. Parameters have torchvision's names.
    """

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)

        def conv(*sizes: int) -> list[Any]:
            return [parts.conv(*sizes, bias=True), Relu()]

        super().__init__({
            "features": [
                *conv(channels, 64, 11, 4, 2), Pooling(3, 3, 2), *conv(64, 192, 5, 1, 2), Pooling(3, 3, 2),
                *conv(192, 384, 3, 1, 1), *conv(384, 256, 3, 1, 1), *conv(256, 256, 3, 1, 1), Pooling(3, 3, 2),
            ],
            "avgpool": AdaptiveAveragePooling((6, 6)),
            "flatten": Flatten(),
            "classifier": [
                _dropout(parts), parts.affine(256 * 36, 4096), Relu(),
                _dropout(parts), parts.affine(4096, 4096), Relu(), parts.affine(4096, classes),
            ],
        })  # fmt: skip


class _VGG(Network):
    """3x3 convolutions in five groups with pooling behind each, and three affine layers.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    batch_norm : bool
        A batch normalisation behind every convolution.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks.

    Notes
    -----
    Images (N, channels, H, W) from 32 x 32 on, 224 x 224 in the paper. Parameters have torchvision's names.
    """

    _depths: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        classes: int = 1000,
        channels: int = 3,
        batch_norm: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        parts = Parts(dtype, rng)
        features: list[Any] = []
        into = channels
        for out, depth in zip((64, 128, 256, 512, 512), self._depths, strict=True):
            for _ in range(depth):
                features += [
                    parts.conv(into, out, 3, 1, 1, bias=True), *([parts.norm(out)] if batch_norm else []), Relu(),
                ]  # fmt: skip
                into = out
            features.append(Pooling(2, 2, 2))
        super().__init__({
            "features": features,
            "avgpool": AdaptiveAveragePooling((7, 7)),
            "flatten": Flatten(),
            "classifier": [
                parts.affine(512 * 49, 4096), Relu(), _dropout(parts),
                parts.affine(4096, 4096), Relu(), _dropout(parts), parts.affine(4096, classes),
            ],
        })  # fmt: skip


class VGG11(_VGG):
    __doc__ = f"VGG-11: {_VGG.__doc__}"
    _depths = (1, 1, 2, 2, 2)


class VGG13(_VGG):
    __doc__ = f"VGG-13: {_VGG.__doc__}"
    _depths = (2, 2, 2, 2, 2)


class VGG16(_VGG):
    __doc__ = f"VGG-16: {_VGG.__doc__}"
    _depths = (2, 2, 3, 3, 3)


class VGG19(_VGG):
    __doc__ = f"VGG-19: {_VGG.__doc__}"
    _depths = (2, 2, 4, 4, 4)

"""Residual networks.

Sources: K. He et al., Deep Residual Learning for Image Recognition, 2016; S. Xie et al., Aggregated Residual
Transformations for Deep Neural Networks, 2017 (ResNeXt); S. Zagoruyko and N. Komodakis, Wide Residual Networks, 2016.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..layers import Flatten, GlobalAveragePooling, Pooling, Relu, Residual
from ._network import Network
from ._parts import Parts


class _ResNet(Network):
    """A 7x7 stem, four groups of residual blocks, the average of each channel, and a head.

    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights (He's).

    Notes
    -----
    Images (N, channels, H, W) of any size from 32 x 32 on, 224 x 224 in the paper. Parameters have torchvision's names:
    "layer1.0.conv1.W" is its "layer1.0.conv1.weight".
    """

    _depths: ClassVar[tuple[int, ...]]
    _bottleneck: ClassVar[bool] = True
    _groups: ClassVar[int] = 1
    _width: ClassVar[int] = 64  # of a group's channels, in blocks of 64

    def __init__(
        self, classes: int = 1000, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        layers: dict[str, Any] = {
            "conv1": parts.conv(channels, 64, 7, 2, 3),
            "bn1": parts.norm(64),
            "relu": Relu(),
            "maxpool": Pooling(3, 3, 2, 1),
        }
        into, expansion = 64, 4 if self._bottleneck else 1
        for i, depth in enumerate(self._depths):
            planes, blocks = 64 << i, []
            for k in range(depth):
                stride = 2 if i and not k else 1
                blocks.append(self._block(parts, into, planes, stride, planes * expansion))
                into = planes * expansion
            layers[f"layer{i + 1}"] = blocks
        layers |= {"avgpool": GlobalAveragePooling(), "flatten": Flatten(), "fc": parts.affine(into, classes)}
        super().__init__(layers)

    def _block(self, parts: Parts, into: int, planes: int, stride: int, out: int) -> dict[str, Any]:
        if self._bottleneck:
            width = planes * self._width // 64 * self._groups
            body: dict[str, Any] = {
                "conv1": parts.conv(into, width, 1),
                "bn1": parts.norm(width),
                "relu1": Relu(),
                "conv2": parts.conv(width, width, 3, stride, 1, self._groups),
                "bn2": parts.norm(width),
                "relu2": Relu(),
                "conv3": parts.conv(width, out, 1),
                "bn3": parts.norm(out),
            }
        else:
            body = {
                "conv1": parts.conv(into, out, 3, stride, 1),
                "bn1": parts.norm(out),
                "relu1": Relu(),
                "conv2": parts.conv(out, out, 3, 1, 1),
                "bn2": parts.norm(out),
            }
        changes = stride != 1 or into != out
        shortcut = {"downsample": [parts.conv(into, out, 1, stride), parts.norm(out)]} if changes else {}
        return {"": Residual(body, shortcut), "relu": Relu()}


class ResNet18(_ResNet):
    __doc__ = f"ResNet-18: {_ResNet.__doc__}"
    _depths = (2, 2, 2, 2)
    _bottleneck = False


class ResNet34(_ResNet):
    __doc__ = f"ResNet-34: {_ResNet.__doc__}"
    _depths = (3, 4, 6, 3)
    _bottleneck = False


class ResNet50(_ResNet):
    __doc__ = f"ResNet-50: {_ResNet.__doc__}"
    _depths = (3, 4, 6, 3)


class ResNeXt50(_ResNet):
    __doc__ = f"ResNeXt-50 (32x4d): {_ResNet.__doc__}"
    _depths = (3, 4, 6, 3)
    _groups = 32
    _width = 4


class WideResNet50(_ResNet):
    __doc__ = f"Wide ResNet-50-2: {_ResNet.__doc__}"
    _depths = (3, 4, 6, 3)
    _width = 128

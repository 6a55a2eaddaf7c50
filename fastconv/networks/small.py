"""Small networks for 28x28 and 32x32 images, and a regression.

Sources: Y. LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998 (LeNet-5, here with ReLU and
maximum pooling); K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015
(the row of VGG-16 for small images).
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import (
    Affine,
    Dropout,
    Dropout2d,
    Flatten,
    GlobalAveragePooling,
    IdentityWithLoss,
    LogSoftmax,
    NLLLoss,
    Pooling,
    Relu,
)
from ._network import Network
from ._parts import Parts

_COMMON = """
    Parameters
    ----------
    classes, channels : int
        Results, and channels of the images.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights (He's) and the dropout masks.
    """


class LeNet(Network):
    __doc__ = f"""conv6@5 - relu - pool - conv16@5 - relu - pool - 120 - relu - 84 - relu - classes, for 32x32 images.
{_COMMON}"""

    def __init__(
        self, classes: int = 10, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        super().__init__({
            "conv1": parts.conv(channels, 6, 5, bias=True), "relu1": Relu(), "pool1": Pooling(2, 2, 2),
            "conv2": parts.conv(6, 16, 5, bias=True), "relu2": Relu(), "pool2": Pooling(2, 2, 2),
            "flatten": Flatten(),
            "fc1": parts.affine(400, 120), "relu3": Relu(),
            "fc2": parts.affine(120, 84), "relu4": Relu(),
            "fc3": parts.affine(84, classes),
        })  # fmt: skip


class ConvNet1(Network):
    __doc__ = f"""conv30@5 - batch normalisation - relu - pool - classes, for 28x28 images.
{_COMMON}"""

    def __init__(
        self, classes: int = 10, channels: int = 1, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        super().__init__({
            "conv1": parts.conv(channels, 30, 5, bias=True), "bn1": parts.norm(30), "relu1": Relu(),
            "pool1": Pooling(2, 2, 2), "flatten": Flatten(), "fc": parts.affine(30 * 144, classes),
        })  # fmt: skip


class FashionDNN(Network):
    __doc__ = f"""784 - relu - 256 - dropout - 128 - relu - classes, for 28x28 images of one channel.
{_COMMON}"""

    def __init__(
        self, classes: int = 10, channels: int = 1, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        super().__init__({
            "flatten": Flatten(),
            "fc1": parts.affine(784 * channels, 256), "relu1": Relu(),
            "drop": Dropout(0.25, inverted=True, rng=parts.rng),
            "fc2": parts.affine(256, 128), "relu2": Relu(), "fc3": parts.affine(128, classes),
        })  # fmt: skip


class FashionCNN(Network):
    __doc__ = f"""[conv - batch normalisation - relu - pool] x 2 - 600 - dropout2d - 120 - classes, for 28x28 images.
{_COMMON}"""

    def __init__(
        self, classes: int = 10, channels: int = 1, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        super().__init__({
            "layer1": [parts.conv(channels, 32, 3, 1, 1, bias=True), parts.norm(32), Relu(), Pooling(2, 2, 2)],
            "layer2": [parts.conv(32, 64, 3, bias=True), parts.norm(64), Relu(), Pooling(2, 2, 2)],
            "flatten": Flatten(),
            "fc1": parts.affine(64 * 36, 600), "drop": Dropout2d(0.25, rng=parts.rng),
            "fc2": parts.affine(600, 120), "fc3": parts.affine(120, classes),
        })  # fmt: skip


class MnistConvNet(Network):
    __doc__ = f"""conv10@5 - pool - relu - conv20@5 - dropout2d - pool - relu - 50 - relu - dropout - classes.

    For 28x28 images, with a log-softmax; the loss is the negative log-likelihood.
{_COMMON}"""

    def __init__(
        self, classes: int = 10, channels: int = 1, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        layers = {
            "conv1": parts.conv(channels, 10, 5, bias=True), "pool1": Pooling(2, 2, 2), "relu1": Relu(),
            "conv2": parts.conv(10, 20, 5, bias=True), "conv2_drop": Dropout2d(0.5, rng=parts.rng),
            "pool2": Pooling(2, 2, 2), "relu2": Relu(), "flatten": Flatten(),
            "fc1": parts.affine(320, 50), "relu3": Relu(), "drop": Dropout(0.5, inverted=True, rng=parts.rng),
            "fc2": parts.affine(50, classes), "log_softmax": LogSoftmax(),
        }  # fmt: skip
        super().__init__(layers, loss=NLLLoss())


class VGGLike13(Network):
    __doc__ = f"""13 convolutions of 64 to 512 channels with batch normalisation and dropout, log-softmax.

    For images from 32x32 on; the loss is the negative log-likelihood.
{_COMMON}"""

    _rows = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)

    def __init__(
        self, classes: int = 10, channels: int = 3, dtype: npt.DTypeLike = np.float32, rng: Any = None
    ) -> None:
        parts = Parts(dtype, rng)
        features: list[Any] = []
        into = channels
        for row in self._rows:
            for k, out in enumerate(row):
                features += parts.conv_norm(into, out, 3)
                if k + 1 < len(row):
                    features.append(Dropout(0.3 if out == 64 else 0.4, inverted=True, rng=parts.rng))
                into = out
            features.append(Pooling(2, 2, 2))
        layers = {
            "features": features, "avgpool": GlobalAveragePooling(), "flatten": Flatten(),
            "classifier": [
                Dropout(0.5, inverted=True, rng=parts.rng), parts.affine(512, 512), parts.norm(512), Relu(),
                Dropout(0.5, inverted=True, rng=parts.rng), parts.affine(512, classes),
            ],
            "log_softmax": LogSoftmax(),
        }  # fmt: skip
        super().__init__(layers, loss=NLLLoss())


class RegressionNet(Network):
    """affine - relu - affine, without biases; the loss is the sum of squared errors.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float
        Standard deviation of the initial weights.
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights.
    """

    def __init__(
        self,
        input_size: int = 1000,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float = 1.0,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        parts = Parts(dtype, rng)

        def affine(into: int, out: int) -> Affine:
            layer = parts.affine(into, out)
            layer.W *= weight_init_std * math.sqrt(into)
            layer.b = None
            return layer

        layers = {"fc1": affine(input_size, hidden_size), "relu": Relu(), "fc2": affine(hidden_size, output_size)}
        super().__init__(layers, loss=IdentityWithLoss("sum"))

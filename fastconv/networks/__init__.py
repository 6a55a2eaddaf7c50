"""Networks built of `fastconv.layers`.

The book's, with its constructors, parameter names and methods: TwoLayerNet to DeepConvNet. Those of papers and of
PyTorch's tutorials, with PyTorch's names of parameters: `load_torch` takes their weights.
"""

from ._network import Network
from .convnet import DeepConvNet, SimpleConvNet
from .densenet import DenseNet121
from .inception import GoogLeNet, InceptionV3
from .mobilenet import MNASNet, MobileNetV2, MobileNetV3Large, MobileNetV3Small
from .perceptron import MultiLayerNet, MultiLayerNetExtend, ThreeLayerNet, TwoLayerNet
from .resnet import ResNet18, ResNet34, ResNet50, ResNeXt50, WideResNet50
from .shufflenet import ShuffleNetV2
from .small import ConvNet1, FashionCNN, FashionDNN, LeNet, MnistConvNet, RegressionNet, VGGLike13
from .squeezenet import SqueezeNet
from .vgg import VGG11, VGG13, VGG16, VGG19, AlexNet

__all__ = [
    "VGG11",
    "VGG13",
    "VGG16",
    "VGG19",
    "AlexNet",
    "ConvNet1",
    "DeepConvNet",
    "DenseNet121",
    "FashionCNN",
    "FashionDNN",
    "GoogLeNet",
    "InceptionV3",
    "LeNet",
    "MNASNet",
    "MnistConvNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "MultiLayerNet",
    "MultiLayerNetExtend",
    "Network",
    "RegressionNet",
    "ResNeXt50",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ShuffleNetV2",
    "SimpleConvNet",
    "SqueezeNet",
    "ThreeLayerNet",
    "TwoLayerNet",
    "VGGLike13",
    "WideResNet50",
]

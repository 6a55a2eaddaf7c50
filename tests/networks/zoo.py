"""Weights that both sides can make: what torchvision's networks were given when their results were stored."""

import math

import numpy as np

# network -> torchvision's name, options of ours, image size; a small head where the paper's has 100 million weights
ZOO = {
    "AlexNet": ("alexnet", {}, 96),
    "VGG11": ("vgg11", {}, 32),
    "VGG13": ("vgg13_bn", {"batch_norm": True}, 32),
    "VGG16": ("vgg16_bn", {"batch_norm": True}, 32),
    "VGG19": ("vgg19", {}, 32),
    "SqueezeNet": ("squeezenet1_1", {}, 64),
    "SqueezeNet 1.0": ("squeezenet1_0", {"version": "1.0"}, 64),
    "GoogLeNet": ("googlenet", {}, 64),
    "InceptionV3": ("inception_v3", {}, 96),
    "MobileNetV2": ("mobilenet_v2", {}, 64),
    "MobileNetV3Small": ("mobilenet_v3_small", {}, 64),
    "MobileNetV3Large": ("mobilenet_v3_large", {}, 64),
    "ShuffleNetV2": ("shufflenet_v2_x1_0", {}, 64),
    "ResNeXt50": ("resnext50_32x4d", {}, 48),
    "WideResNet50": ("wide_resnet50_2", {}, 48),
    "MNASNet": ("mnasnet1_0", {}, 64),
    "ResNet18": ("resnet18", {}, 64),
    "ResNet34": ("resnet34", {}, 48),
    "ResNet50": ("resnet50", {}, 48),
    "DenseNet121": ("densenet121", {}, 64),
}
BATCH, CLASSES = 3, 10


def arrays(shapes, seed=0):
    """An array for each of PyTorch's names, in the order of these: He's weights, statistics away from 0 and 1."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape)
        if name.endswith("running_var"):
            values = 1 + 0.2 * np.abs(values)
        elif len(shape) == 1:
            values = 0.1 * values + name.endswith("weight")
        else:
            values *= math.sqrt(2 / math.prod(shape[1:]))
        made[name] = values
    return made


def batch(size):
    rng = np.random.default_rng(1)
    return rng.standard_normal((BATCH, 3, size, size)), np.arange(BATCH)


def projection(values):
    """One number that depends on every number of the arrays: each times a random one."""
    rng = np.random.default_rng(2)
    return float(sum(np.vdot(a, rng.standard_normal(a.shape)) for a in values))

"""Networks of the papers' sizes in PyTorch, without their trained weights: for bench/compare_onnx.py."""

import torch
from exported_networks import Residual, Shuffled, conv, head
from torch import nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    """ResNet-50's block; ResNeXt's with groups."""

    def __init__(self, into, width, out, stride=1, groups=1):
        super().__init__()
        self.body = nn.Sequential(
            conv(into, width, 1), conv(width, width, 3, stride, groups), conv(width, out, 1, activation=None)
        )
        self.shortcut = nn.Identity() if into == out else conv(into, out, 1, stride, activation=None)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class Gate(nn.Module):
    """Squeeze and excitation with a given width inside."""

    def __init__(self, channels, inner, inside, outside):
        super().__init__()
        self.less, self.more = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.inside, self.outside = inside, outside

    def forward(self, x):
        return x * self.outside(self.more(self.inside(self.less(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """The block of the MobileNets, of MNASNet and of EfficientNet."""

    def __init__(self, into, width, out, size, stride, activation, gate=None):
        super().__init__()
        self.body = nn.Sequential(
            *([conv(into, width, 1, activation=activation)] if width != into else []),
            conv(width, width, size, stride, width, activation),
            *([gate] if gate else []),
            conv(width, out, 1, activation=None),
        )
        self.adds = stride == 1 and into == out

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class Unit(nn.Module):
    """ShuffleNet v2's unit with stride 2."""

    def __init__(self, into, out):
        super().__init__()
        half = out // 2
        self.left = nn.Sequential(conv(into, into, 3, 2, into, None), conv(into, half, 1))
        self.right = nn.Sequential(conv(into, half, 1), conv(half, half, 3, 2, half, None), conv(half, half, 1))

    def forward(self, x):
        y = torch.cat([self.left(x), self.right(x)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def resnet18():
    layers, into = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Residual(into, out, stride), Residual(out, out)]
        into = out
    return nn.Sequential(*layers, *head(512, 1000))


def bottlenecks(groups, width):
    layers, into = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for i, count in enumerate((3, 4, 6, 3)):
        out = 256 << i
        for j in range(count):
            layers.append(Bottleneck(into, width << i, out, 2 if i and not j else 1, groups))
            into = out
    return nn.Sequential(*layers, *head(2048, 1000))


def inverted(stages, activation, gate=None):
    """Rows of (factor, size, stride, into, out, count)."""
    layers = []
    for factor, size, stride, into, out, count in stages:
        for j in range(count):
            first = into if j == 0 else out
            inner = gate(first * factor, max(1, first // 4)) if gate else None
            layers.append(Inverted(first, first * factor, out, size, stride if j == 0 else 1, activation, inner))
    return layers


def mobilenet_v2():
    stages = [
        (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 3, 2, 24, 32, 3), (6, 3, 2, 32, 64, 4), (6, 3, 1, 64, 96, 3),
        (6, 3, 2, 96, 160, 3), (6, 3, 1, 160, 320, 1),
    ]  # fmt: skip
    ends = conv(3, 32, 3, 2, activation=nn.ReLU6), conv(320, 1280, 1, activation=nn.ReLU6)
    return nn.Sequential(ends[0], *inverted(stages, nn.ReLU6), ends[1], *head(1280, 1000))


def mnasnet():
    stages = [
        (1, 3, 1, 32, 16, 1), (3, 3, 2, 16, 24, 3), (3, 5, 2, 24, 40, 3), (6, 5, 2, 40, 80, 3), (6, 3, 1, 80, 96, 2),
        (6, 5, 2, 96, 192, 4), (6, 3, 1, 192, 320, 1),
    ]  # fmt: skip
    return nn.Sequential(conv(3, 32, 3, 2), *inverted(stages, nn.ReLU), conv(320, 1280, 1), *head(1280, 1000))


def efficientnet_b0():
    stages = [
        (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
        (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
    ]  # fmt: skip
    ends = conv(3, 32, 3, 2, activation=nn.SiLU), conv(320, 1280, 1, activation=nn.SiLU)
    blocks = inverted(stages, nn.SiLU, lambda channels, inner: Gate(channels, inner, F.silu, torch.sigmoid))
    return nn.Sequential(ends[0], *blocks, ends[1], *head(1280, 1000))


def mobilenet_v3_small():
    rows = [
        (16, 16, 16, 3, 2, 8, nn.ReLU), (16, 72, 24, 3, 2, 0, nn.ReLU), (24, 88, 24, 3, 1, 0, nn.ReLU),
        (24, 96, 40, 5, 2, 24, nn.Hardswish), (40, 240, 40, 5, 1, 64, nn.Hardswish), (40, 240, 40, 5, 1, 64, nn.Hardswish),
        (40, 120, 48, 5, 1, 32, nn.Hardswish), (48, 144, 48, 5, 1, 40, nn.Hardswish), (48, 288, 96, 5, 2, 72, nn.Hardswish),
        (96, 576, 96, 5, 1, 144, nn.Hardswish), (96, 576, 96, 5, 1, 144, nn.Hardswish),
    ]  # fmt: skip
    blocks = [
        Inverted(
            into, width, out, size, stride, act, Gate(width, inner, F.relu, F.hardsigmoid) if inner else None
        )
        for into, width, out, size, stride, inner, act in rows
    ]  # fmt: skip
    last = nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1024, 1000)
    stem = conv(3, 16, 3, 2, activation=nn.Hardswish)
    wide = conv(96, 576, 1, activation=nn.Hardswish)
    return nn.Sequential(stem, *blocks, wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *last)


def shufflenet_v2():
    layers, into = [conv(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)], 24
    for out, count in ((116, 4), (232, 8), (464, 4)):
        layers += [Unit(into, out), *(Shuffled(out) for _ in range(count - 1))]
        into = out
    return nn.Sequential(*layers, conv(464, 1024, 1), *head(1024, 1000))


def vgg16_bn():
    layers, into = [], 3
    for out, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers.append(conv(into, out))
            into = out
        layers.append(nn.MaxPool2d(2))
    wide = nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)
    return nn.Sequential(*layers, nn.Flatten(), *wide)


NETWORKS = {
    "resnet18": resnet18,
    "resnet50": lambda: bottlenecks(1, 64),
    "resnext50": lambda: bottlenecks(32, 128),
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mnasnet": mnasnet,
    "efficientnet_b0": efficientnet_b0,
    "shufflenet_v2": shufflenet_v2,
    "vgg16_bn": vgg16_bn,
}

"""Small networks of PyTorch's with random weights, exported to ONNX: what the big ones are made of."""

import io
import warnings

import torch
from torch import nn
from torch.nn import functional as F


def conv(into, out, size=3, stride=1, groups=1, activation=nn.ReLU, padding=None):
    """Convolution, batch normalisation, activation."""
    padding = size // 2 if padding is None else padding
    layers = [nn.Conv2d(into, out, size, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Residual(nn.Module):
    """ResNet's block: a sum, then ReLU; a projection where the shape changes."""

    def __init__(self, into, out, stride=1):
        super().__init__()
        self.body = nn.Sequential(conv(into, out, 3, stride), conv(out, out, activation=None))
        changes = stride != 1 or into != out
        self.shortcut = conv(into, out, 1, stride, activation=None) if changes else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """MobileNet's block: wide, depthwise, narrow; a sum without an activation."""

    def __init__(self, into, out, stride=1, activation=nn.ReLU6, gate=False):
        super().__init__()
        wide = 3 * into
        self.body = nn.Sequential(
            conv(into, wide, 1, activation=activation),
            conv(wide, wide, 3, stride, groups=wide, activation=activation),
            *([Gate(wide)] if gate else []),
            conv(wide, out, 1, activation=None),
        )
        self.adds = stride == 1 and into == out

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.less, self.more = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        y = F.relu(self.less(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.more(y))


class Branches(nn.Module):
    """Inception's block: four branches side by side."""

    def __init__(self, into):
        super().__init__()
        self.one = conv(into, 8, 1)
        self.three = nn.Sequential(conv(into, 4, 1), conv(4, 12, 3))
        self.wide = nn.Sequential(
            conv(into, 4, 1), conv(4, 6, (1, 7), padding=(0, 3)), conv(6, 6, (7, 1), padding=(3, 0))
        )
        self.pooled = conv(into, 6, 1)

    def forward(self, x):
        pooled = self.pooled(F.max_pool2d(x, 3, 1, 1))
        return torch.cat([self.one(x), self.three(x), self.wide(x), pooled], 1)


class Dense(nn.Module):
    """DenseNet's block: normalisation and ReLU before the convolutions, everything before concatenated."""

    def __init__(self, into, growth=8, layers=3):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(into + i * growth), nn.ReLU(), nn.Conv2d(into + i * growth, 4 * growth, 1, bias=False),
                nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )  # fmt: skip

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Shuffled(nn.Module):
    """ShuffleNet's unit: half of the channels pass, then both halves are shuffled."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            conv(half, half, 1), conv(half, half, 3, groups=half, activation=None), conv(half, half, 1)
        )

    def forward(self, x):
        a, b = x.chunk(2, 1)
        y = torch.cat([a, self.body(b)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Decoder(nn.Module):
    """Transposed convolutions, nearest and bilinear enlargement, a skip."""

    def __init__(self):
        super().__init__()
        self.down = conv(3, 8, 3, 2)
        self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)
        self.last = nn.Conv2d(12, 2, 3, padding=1)
        self.norm = nn.GroupNorm(2, 6)

    def forward(self, x):
        y = self.down(x)
        a = F.elu(self.norm(self.up(y)))
        b = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
        c = F.interpolate(F.max_pool2d(x, 2), scale_factor=2, mode="nearest")
        return torch.softmax(self.last(torch.cat([a, b, c], 1)), 1)


class Mixer(nn.Module):
    """Layer normalisation, GELU and attention over pixels."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        z = self.norm(y)
        y = y + torch.softmax(self.q(z) @ self.k(z).transpose(1, 2) / 4, -1) @ self.v(z)
        return (y + self.down(F.gelu(self.up(self.norm(y))))).mean(1)


def head(channels, classes=10):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)


class Plain(nn.Module):
    """AlexNet's and VGG's: LRN, overlapping pooling in ceil mode, wide layers with dropout."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2), nn.ReLU(), nn.LocalResponseNorm(5, 1e-2, 0.75, 2.0), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(12, 16, 3, padding=1, groups=2), nn.LeakyReLU(0.2), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.LazyLinear(20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10), nn.Sigmoid()
        )

    def forward(self, x):
        y = self.features(x)
        return self.classifier(y.view(y.size(0), -1))


NETWORKS = {
    "plain": Plain,
    "resnet": lambda: nn.Sequential(
        conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1), Residual(8, 8), Residual(8, 16, 2), Residual(16, 16), *head(16)
    ),
    "mobilenet v2": lambda: nn.Sequential(
        conv(3, 8, 3, 2, activation=nn.ReLU6), Inverted(8, 8), Inverted(8, 12, 2), Inverted(12, 12), nn.Dropout(0.2), *head(12)
    ),
    "mobilenet v3": lambda: nn.Sequential(
        conv(3, 8, 3, 2, activation=nn.Hardswish), Inverted(8, 8, 1, nn.Hardswish, True), Inverted(8, 12, 2, nn.SiLU, True), *head(12)
    ),
    "inception": lambda: nn.Sequential(conv(3, 8, 3, 2), Branches(8), Branches(32), nn.MaxPool2d(3, 2, ceil_mode=True), *head(32)),
    "densenet": lambda: nn.Sequential(conv(3, 16, 3, 2), Dense(16), nn.Conv2d(40, 20, 1), nn.AvgPool2d(2), Dense(20), *head(44)),
    "shufflenet": lambda: nn.Sequential(conv(3, 16, 3, 2), Shuffled(16), Shuffled(16), *head(16)),
    "decoder": Decoder,
    "mixer": Mixer,
}  # fmt: skip
SIZE = 32


def network(name, dtype=torch.float32):
    """One of NETWORKS with random weights and statistics, in inference."""
    torch.manual_seed(sum(map(ord, name)))
    net = NETWORKS[name]()
    net(torch.randn(2, 3, SIZE, SIZE))  # makes the lazy layers
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            for vector in (module.bias, module.running_mean):
                nn.init.normal_(vector, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.to(dtype).eval()


def exported(net, opset=17, dynamic=True, dtype=torch.float32, shape=(2, 3, SIZE, SIZE)):
    """The bytes of an ONNX file."""
    file = io.BytesIO()
    axes = {"x": {0: "N", 2: "H", 3: "W"}} if dynamic == "size" else {"x": {0: "N"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.zeros(shape, dtype=dtype), file, dynamo=False, opset_version=opset, input_names=["x"],
            output_names=["y"], dynamic_axes=axes,
        )  # fmt: skip
    return file.getvalue()

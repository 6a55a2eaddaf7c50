"""Random windows, strides, paddings and groups, written as ONNX files, in every version of the operators."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from readers import checked, readers, reference  # noqa: E402

import fastconv.onnx  # noqa: E402
from fastconv import layers  # noqa: E402
from fastconv.networks import Network  # noqa: E402

OPSETS = range(13, onnx.defs.onnx_opset_version() + 1)
CASES = 60  # of each kind


class Draw:
    """Random options of a layer."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.dtype = (np.float32, np.float64)[self.integer(0, 1)]
        self.shape = tuple(self.integer(1, most) for most in (3, 6, 11, 11))
        self.kernel = self.pair(1, 5)

    def integer(self, least, most):
        return int(self.rng.integers(least, most + 1))

    def pair(self, least, most):
        return self.integer(least, most), self.integer(least, most)

    def flag(self):
        return bool(self.integer(0, 1))

    def numbers(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def padding(self):
        most = 2 * max(self.kernel) - 1
        return (0, self.integer(0, most), self.pair(0, most), (self.pair(0, most), self.pair(0, most)))[
            self.integer(0, 3)
        ]

    def groups(self):
        return int(self.rng.choice([n for n in range(1, self.shape[1] + 1) if self.shape[1] % n == 0]))


def pooling(cls, *flags):
    return lambda d: cls(*d.kernel, d.pair(1, 4), d.padding(), **{name: d.flag() for name in flags})


def convolution(d):
    groups, padding = d.groups(), ("same", d.padding())[d.flag()]
    filters = groups * d.integer(1, 3)
    bias = d.numbers(filters) if d.flag() else None
    W = d.numbers(filters, d.shape[1] // groups, *d.kernel)
    return layers.Convolution(W, bias, d.pair(1, 3), padding, d.pair(1, 2), groups)


def transposed_convolution(d):
    groups, filters = d.groups(), d.integer(1, 3)
    bias = d.numbers(filters * groups) if d.flag() else None
    W = d.numbers(d.shape[1], filters, *d.kernel)
    return layers.TransposedConvolution(W, bias, d.pair(1, 3), d.padding(), d.pair(0, 1), groups, d.pair(1, 2))


KINDS = {
    "max": pooling(layers.Pooling, "ceil_mode"),
    "min": pooling(layers.MinPooling, "ceil_mode"),
    "average": pooling(layers.AveragePooling, "ceil_mode", "count_include_pad"),
    "stochastic": pooling(layers.StochasticPooling),
    "adaptive": lambda d: layers.AdaptiveAveragePooling(d.pair(1, 12)),
    "convolution": convolution,
    "transposed convolution": transposed_convolution,
    "local response": lambda d: layers.LocalResponseNormalization(d.integer(1, 7), *(0.5 + d.rng.random(3))),
    "shuffle": lambda d: layers.ChannelShuffle(d.groups()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_options(kind, tmp_path):
    written = 0
    for seed in range(CASES):
        d = Draw(seed)
        net, x = Network([KINDS[kind](d)]), d.numbers(*d.shape)
        try:
            expected = net.predict(x)
        except ValueError:  # a window that does not fit
            continue
        file = tmp_path / "net.onnx"
        fastconv.onnx.export(net, file, (1, *d.shape[1:]), dtype=d.dtype, opset=OPSETS[seed % len(OPSETS)])
        checked(file)
        for reader in readers(d.dtype):
            if reader is not reference:
                got = reader(file)(x)
                np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected), err_msg=repr(net))
                tolerance = 1e-5 if d.dtype == np.float32 else 1e-12
                np.testing.assert_allclose(got, expected, tolerance, 4 * tolerance, err_msg=repr(net))
        written += 1
    assert written > CASES // 3

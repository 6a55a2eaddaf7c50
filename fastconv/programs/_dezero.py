"""DeZero's convolutions and poolings: the forward methods of its functions, and what proves them.

DeZero computes gradients by functions of the same kind (that of a convolution by a transposed one and by the sum for
its filters), so forward methods are all there is. Their code asks `cuda` which library an array belongs to; arrays that
are not NumPy's are left to it.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import ops
from ._arrays import floats
from ._classes import Class, Substitute
from ._proof import Attributes, NotTaken, Step
from ._purity import impure
from ._spelling import fits, pair
from ._trials import DOUBLE, SINGLE, TYPES, wave

KNOWN = frozenset(["cuda", "_im2col_gpu", "_col2im_gpu"])


class Function(Class):
    """A class of which the forward method alone is replaced."""

    def _impure(self, theirs: type) -> str:
        return impure(vars(theirs)["forward"], KNOWN)


def _images(x: Any) -> Any:
    x = floats(x, 4)
    if not x.size:
        raise NotTaken("there is no image")
    return x


def _added(b: Any, size: int, dtype: Any) -> Any:
    """The bias, which is added in place to a result of that type."""
    if b is None:
        return None
    b = floats(b, 1)
    if b.shape != (size,):
        raise NotTaken("the bias has another shape")
    return b.astype(dtype, copy=False)


def conv2d(self: Any, x: Any, W: Any, b: Any) -> Any:
    x, W = _images(x), floats(W, 4)
    b = _added(b, len(W), np.promote_types(x.dtype, W.dtype))
    stride, padding = pair(self.stride, True), pair(self.pad, True)
    fits(x.shape[2:], W.shape[2:], stride, padding, True)
    return ops.conv2d(x, W, b, stride, padding)


def deconv2d(self: Any, x: Any, W: Any, b: Any) -> Any:
    x, W = _images(x), floats(W, 4)
    stride, padding = pair(self.stride, True), pair(self.pad, True)
    sizes = zip(x.shape[2:], stride, W.shape[2:], padding, strict=True)
    smallest = [(n - 1) * s + k - 2 * p for n, s, k, p in sizes]
    wanted = smallest if self.outsize is None else pair(self.outsize, True)
    extra = tuple(w - n for w, n in zip(wanted, smallest, strict=True))
    if min(smallest) < 1 or min(extra) < 0 or any(e >= s for e, s in zip(extra, stride, strict=True)):
        raise NotTaken("another size")
    b = _added(b, W.shape[1], np.promote_types(x.dtype, W.dtype))
    y = ops.conv_transpose2d(x, W, b, stride, padding, extra)
    if b is not None:
        self.no_bias = True
    return y


def filters_gradient(self: Any, x: Any, gy: Any) -> Any:
    x, gy = _images(x), _images(gy)
    KH, KW = pair(self.kernel_size, True)
    stride, padding = pair(self.stride, True), pair(self.pad, True)
    fits(x.shape[2:], (KH, KW), stride, padding, True)
    shape = gy.shape[1], x.shape[1], KH, KW
    return ops.conv2d_backward(gy, x, shape, stride, padding, needs=(False, True, False))[1]


def _window(self: Any, extents: Any) -> tuple[Any, Any]:
    kernel, stride = pair(self.kernel_size, True), pair(self.stride, True)
    if pair(self.pad, True) != (0, 0):
        raise NotTaken("zeros in the padding may be maxima")
    fits(extents, kernel, stride, (0, 0), True)
    return kernel, stride


def _first_places(kernel: Any, stride: Any, OH: int, OW: int) -> Any:
    """What a place in a window and a place in the plane differ by, beside the width of rows: at each window."""
    return stride[0] * np.arange(OH)[:, None], stride[1] * np.arange(OW)


def pooling(self: Any, x: Any) -> Any:
    x = _images(x)
    (KH, KW), stride = window = _window(self, x.shape[2:])
    y, indices = ops.max_pool2d(x, *window)
    W = x.shape[3]
    top, left = _first_places(*window, *y.shape[2:])
    rows = indices // W  # a place in the plane is row * W + column, one in the window row * KW + column
    rows *= KW - W
    indices += rows
    indices -= top * KW + left
    self.indexes = indices
    return y


def pooling_gradient(self: Any, gy: Any) -> Any:
    gy = _images(gy)
    N, C, H, W = self.input_shape
    (KH, KW), stride = window = _window(self, (H, W))
    indexes = self.indexes
    if type(indexes) is not np.ndarray or indexes.dtype != np.int64:
        raise NotTaken("another type")
    gy = gy.astype(self.dtype, copy=False)
    top, left = _first_places(*window, *gy.shape[2:])
    places = indexes // KW
    places *= W - KW
    places += indexes
    places += top * W + left
    return ops.max_pool2d_backward(gy, places, (N, C, H, W), *window)


def average_pooling(self: Any, x: Any) -> Any:
    given, x = x, _images(x)
    window = _window(self, x.shape[2:])
    y = ops.avg_pool2d(x, *window)
    self.input_shape = given.shape
    return y


GEOMETRIES = (((3, 2), 1, 0), ((3, 3), (2, 1), (1, 0)), ((2, 3), 2, 1))  # filter, stride, padding


def trial_of_conv2d(Conv2d: Any) -> Iterator[Step | str]:
    for x_type, dtype in TYPES:
        for kernel, stride, pad in GEOMETRIES:
            x, W, b = wave((2, 3, 6, 7), x_type), wave((4, 3, *kernel), dtype, 1), wave(4, dtype, 2)
            for bias in (b, None):
                f = Conv2d(stride, pad)
                yield f"forward of filters of {kernel}, stride {stride}, padding {pad}"
                y = f.forward(x, W, bias)
                yield Step(f"forward of filters of {kernel}", (y, x, W, b), single=dtype is SINGLE)
                yield Step("the function behind it", Attributes(f))


def trial_of_deconv2d(Deconv2d: Any) -> Iterator[Step | str]:
    for x_type, dtype in TYPES:
        for kernel, stride, pad in GEOMETRIES:
            x, W, b = wave((2, 3, 4, 5), x_type), wave((3, 4, *kernel), dtype, 1), wave(4, dtype, 2)
            strides, pads = pair(stride, True), pair(pad, True)
            smallest = [(n - 1) * s + k - 2 * p for n, s, k, p in zip((4, 5), strides, kernel, pads, strict=True)]
            for outsize in (None, tuple(n + s - 1 for n, s in zip(smallest, strides, strict=True))):
                for bias in (b, None):
                    f = Deconv2d(stride, pad, outsize)
                    yield f"forward of filters of {kernel}, stride {stride}, padding {pad}, outsize {outsize}"
                    y = f.forward(x, W, bias)
                    yield Step(f"forward of filters of {kernel}", (y, x, W, b), single=dtype is SINGLE)
                    yield Step("the function behind it", Attributes(f))


def trial_of_filters_gradient(Conv2DGradW: Any) -> Iterator[Step | str]:
    for x_type, dtype in TYPES:
        for kernel, stride, pad in GEOMETRIES:
            W = SimpleNamespace(shape=(4, 3, *kernel))
            strides, pads = pair(stride, True), pair(pad, True)
            x = wave((2, 3, 6, 7), x_type)
            out = [(n + 2 * p - k) // s + 1 for n, s, k, p in zip((6, 7), strides, kernel, pads, strict=True)]
            gy = wave((2, 4, *out), dtype, 1)
            f = Conv2DGradW(SimpleNamespace(inputs=(None, W), stride=strides, pad=pads))
            yield f"forward of filters of {kernel}, stride {stride}, padding {pad}"
            gW = f.forward(x, gy)
            yield Step(f"forward of filters of {kernel}", (gW, x, gy), single=dtype is SINGLE)


WINDOWS = ((2, 2), ((3, 2), (2, 1)), (3, 2), ((2, 2), 3))  # size, stride


def _pooled(dtype: Any) -> Any:
    x = wave((2, 3, 6, 7), dtype)
    x[0, 0, :3, :3] = 2  # equal maxima
    x[1, 2, 4, 4] = np.nan
    return x


def trial_of_pooling(Pooling: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        for size, stride in WINDOWS:
            x = _pooled(dtype)
            f = Pooling(size, stride, 0)
            yield f"forward of windows of {size}, stride {stride}"
            y = f.forward(x)
            yield Step(f"forward of windows of {size}", (y, x), single=dtype is SINGLE)
            yield Step("the function behind it", Attributes(f))


def trial_of_pooling_gradient(Pooling2DGrad: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        for size, stride in WINDOWS:
            x = _pooled(dtype)
            x[np.isnan(x)] = 0
            f = SimpleNamespace(kernel_size=size, stride=stride, pad=0, inputs=[x])
            pooling(f, x)
            for gy in (wave(f.indexes.shape, dtype, 1), wave(f.indexes.shape, DOUBLE, 2)):
                gradient = Pooling2DGrad(f)
                yield f"forward of windows of {size}, stride {stride}"
                yield Step(f"forward of windows of {size}", (gradient.forward(gy), gy), single=dtype is SINGLE)


def trial_of_average_pooling(AveragePooling: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        for size, stride in WINDOWS:
            x, f = wave((2, 3, 6, 7), dtype), AveragePooling(size, stride, 0)
            yield f"forward of windows of {size}, stride {stride}"
            yield Step(f"forward of windows of {size}", (f.forward(x), x), single=dtype is SINGLE)
            yield Step("the function behind it", Attributes(f))


def _function(parameters: str, forward: Any, trial: Any) -> Function:
    return Function(parameters, [Substitute({"forward": forward})], trial)


FUNCTIONS = {
    "Conv2d": _function("stride=1, pad=0", conv2d, trial_of_conv2d),
    "Deconv2d": _function("stride=1, pad=0, outsize=None", deconv2d, trial_of_deconv2d),
    "Conv2DGradW": _function("conv2d", filters_gradient, trial_of_filters_gradient),
    "Pooling": _function("kernel_size, stride=1, pad=0", pooling, trial_of_pooling),
    "Pooling2DGrad": _function("mpool2d", pooling_gradient, trial_of_pooling_gradient),
    "AveragePooling": _function("kernel_size, stride=1, pad=0", average_pooling, trial_of_average_pooling),
}

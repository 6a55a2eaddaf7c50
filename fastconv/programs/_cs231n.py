"""The fast layers of the CS231n assignments, for functions of a program that do the same, and what proves it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import ops
from ..cs231n.fast_layers import Columns, max_pool_backward_reshape
from ._arrays import floats, same_type, whole
from ._pairs import Both, Kept, refuse_others
from ._proof import NotTaken, Step
from ._trials import DOUBLE, SINGLE, wave


def _geometry(param: Any, *names: str) -> tuple[Any, ...]:
    if type(param) is not dict:
        raise NotTaken("the parameters are no dict")
    sizes = tuple(param[name] for name in names)
    whole(*sizes)
    return sizes


def _fit(extent: int, window: int, stride: int) -> None:
    if stride < 1 or extent < window or (extent - window) % stride:
        raise NotTaken("the windows do not fit evenly")


def convolution(layout: str, copies: bool) -> Both:
    """copies: the program's columns are copies, so that x may change behind forward."""

    def forward(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
        stride, pad = _geometry(conv_param, "stride", "pad")
        given, x, w, b = x, floats(x, 4), floats(w, 4), floats(b, 1)
        dtype = np.promote_types(x.dtype, w.dtype)
        if np.promote_types(b.dtype, dtype) != dtype or not x.size:
            raise NotTaken("the bias is of a wider type, or there is no image")
        FH, FW = w.shape[2:]
        _fit(x.shape[2] + 2 * pad, FH, stride)
        _fit(x.shape[3] + 2 * pad, FW, stride)
        out = ops.conv2d(x, w, b, stride, pad)
        x = np.array(x, order="C") if copies else x
        shown = given, w, b, conv_param, Columns(x, (FH, FW, stride, pad), layout)
        return out, Kept.of(shown, (x, w, b, conv_param), (x, stride, pad, dtype))

    def backward(dout: Any, cache: Any) -> Any:
        refuse_others(cache)
        x, stride, pad, dtype = cache.state
        return ops.conv2d_backward(same_type(floats(dout, 4), dtype), x, cache[1], stride, pad)

    return Both(forward, backward)


def max_pooling(shares: bool, tiles: bool) -> Both:
    """shares: equal maxima share the gradient where square windows tile the images; else the first one has it.

    tiles: windows that do not tile the images are left to the program's own.
    """

    def forward(x: Any, pool_param: Any) -> Any:
        height, width, stride = _geometry(pool_param, "pool_height", "pool_width", "stride")
        x = floats(x, 4)
        if not x.size:
            raise NotTaken("there is no image")
        _fit(x.shape[2], height, stride)
        _fit(x.shape[3], width, stride)
        N, C, H, W = x.shape
        tiled = height == width == stride and H % height == 0 and W % width == 0
        if tiles and not tiled:
            raise NotTaken("the windows do not tile the images")
        out, indices = ops.max_pool2d(x, (height, width), stride)
        if shares and tiled:
            kept = x, x.reshape(N, C, H // height, height, W // width, width), out
            return out, Kept.of(("reshape", kept), (x, pool_param), None)
        state = indices, x.shape, (height, width), stride
        return out, Kept.of(("im2col", (x, indices, pool_param)), (x, pool_param), state)

    def backward(dout: Any, cache: Any) -> Any:
        refuse_others(cache)
        dout = same_type(floats(dout, 4), cache[1][0].dtype)
        if cache.state is None:
            return max_pool_backward_reshape(dout, cache[1])
        return ops.max_pool2d_backward(dout, *cache.state)

    return Both(forward, backward, trial_of_tiles if tiles else None)


def trial_of_convolution(both: Any) -> Iterator[Step | str]:
    """With x changed behind forward, as a program may do that knows of the copies."""
    forward, backward = both
    for x_type, dtype in ((DOUBLE, DOUBLE), (SINGLE, DOUBLE), (DOUBLE, SINGLE), (SINGLE, SINGLE)):
        for geometry in (((2, 3, 5, 7), (4, 3, 3, 3), 2, 1), ((3, 2, 4, 5), (3, 2, 2, 3), 1, 0)):
            x_shape, w_shape, stride, pad = geometry
            x, w, b = wave(x_shape, x_type), wave(w_shape, dtype, 1), wave(w_shape[0], dtype, 2)
            param = {"stride": stride, "pad": pad}
            single = x_type is dtype is SINGLE
            yield f"forward of {np.dtype(dtype)}"
            out, cache = forward(x, w, b, param)
            yield Step(f"forward of {np.dtype(dtype)}", out, single=single)
            dout = wave(out.shape, out.dtype, 3)
            yield Step(f"backward of {np.dtype(dtype)}", backward(dout, cache), single=single)
            yield Step("the arguments behind it", (x, w, b, param, dout))
            x += 1
            changed = backward(dout, cache)
            yield Step("backward where x was changed since forward", changed, single=single)


def trial_of_max_pooling(both: Any) -> Iterator[Step | str]:
    yield from trial_of_tiles(both, (((2, 3, 4, 6), 2, 2, 2), ((2, 2, 5, 7), 3, 3, 2), ((1, 2, 4, 6), 2, 3, 1)))


def trial_of_tiles(
    both: Any, windows: Any = (((2, 3, 4, 6), 2, 2, 2), ((1, 2, 6, 3), 3, 3, 3))
) -> Iterator[Step | str]:
    forward, backward = both
    for dtype in (DOUBLE, SINGLE):
        for shape, height, width, stride in windows:
            x = wave(shape, dtype)
            x[0, 0, :3, :3] = 2  # equal maxima
            x[0, 1, 1, :2] = 2
            param = {"pool_height": height, "pool_width": width, "stride": stride}
            yield f"forward of windows of {height} x {width}"
            out, cache = forward(x, param)
            yield Step(f"forward of windows of {height} x {width}", out)
            dout = wave(out.shape, dtype, 3)
            dx = backward(dout, cache)
            yield Step(f"backward of windows of {height} x {width}", dx, single=dtype is SINGLE)
            yield Step("the arguments behind it", (x, param, dout))

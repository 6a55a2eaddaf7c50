"""The book's functions on fastconv, for functions of a program that do the same. All arguments are positional."""

from collections.abc import Callable
from typing import Any

from .. import ops
from ._arrays import double, floats, whole
from ._proof import NotTaken


def im2col(keeps_type: bool) -> Callable[..., Any]:
    """keeps_type: float32 stays float32; the book's gives float64."""

    def ours(images: Any, filter_h: Any, filter_w: Any, stride: Any, pad: Any) -> Any:
        whole(filter_h, filter_w, stride, pad)
        return ops.im2col(double(floats(images, 4), not keeps_type), filter_h, filter_w, stride, pad)

    return ours


def col2im(keeps_type: bool) -> Callable[..., Any]:
    """keeps_type: float32 stays float32; the book's gives float64."""

    def ours(col: Any, shape: Any, filter_h: Any, filter_w: Any, stride: Any, pad: Any) -> Any:
        whole(filter_h, filter_w, stride, pad)
        if type(shape) is not tuple:
            raise NotTaken("the shape is no tuple")
        return ops.col2im(double(floats(col, 2), not keeps_type), shape, filter_h, filter_w, stride, pad)

    return ours


def softmax(x: Any) -> Any:
    return ops.softmax(floats(x, 1, 2))


def sigmoid(x: Any) -> Any:
    return ops.sigmoid(floats(x, 0))


def relu(x: Any) -> Any:
    return ops.relu(floats(x, 0))

"""Nodes of a computational graph: one multiplication, one addition, of numbers or arrays of one shape."""

from typing import Any

from ._layer import Layer


class MulLayer(Layer):
    """x * y; the gradients are `dout * y` and `dout * x`."""

    def __init__(self) -> None:
        self.x: Any = None
        self.y: Any = None

    def forward(self, x: Any, y: Any) -> Any:
        self.x, self.y = x, y
        return x * y

    def backward(self, dout: Any) -> tuple[Any, Any]:
        return dout * self.y, dout * self.x


class AddLayer(Layer):
    """x + y; the gradient passes to both."""

    def forward(self, x: Any, y: Any) -> Any:
        return x + y

    def backward(self, dout: Any) -> tuple[Any, Any]:
        return dout * 1, dout * 1

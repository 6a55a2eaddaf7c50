"""Trials of the book's classes and functions: what they are asked before they are replaced.

Every trial takes the class or the function, the program's or fastconv's, and yields what it did. The arrays are small
and always the same; types are those that programs have: all float64, images of float32 with float64 parameters (the
usual case: data sets are float32), all float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._random import source
from ._proof import Attributes, Step

DOUBLE, SINGLE = np.float64, np.float32
TYPES = ((DOUBLE, DOUBLE), (SINGLE, DOUBLE), (SINGLE, SINGLE))  # of x, of the parameters


def wave(shape: Any, dtype: Any = DOUBLE, phase: float = 0.0) -> Any:
    """Numbers between -1 and 1 without a pattern that a layer could hide behind."""
    return np.sin(np.arange(1, np.prod(shape) + 1) * 1.7 + phase).astype(dtype).reshape(shape)


def _passes(layer: Any, x: Any, name: str = "", phase: float = 0.3) -> Iterator[Step | str]:
    """forward and backward, with what they leave in the layer and in their arguments."""
    kind, single = f"{name}{x.dtype}", x.dtype == SINGLE
    yield f"forward(x) of {kind}"
    y = layer.forward(x)
    yield Step(f"forward(x) of {kind}", y, single=single)
    yield Step("x behind forward", (x, y is x))
    dout = wave(y.shape, y.dtype, phase)
    yield f"backward(dout) of {kind}"
    dx = layer.backward(dout)
    yield Step(f"backward(dout) of {kind}", dx, single=single)
    yield Step("dout behind backward", (dout, dx is dout))
    yield Step(f"backward(dout) of {kind}", Attributes(layer), single=single)
    layer.forward(x)
    yield Step(f"forward(x) of {kind}", Attributes(layer), single=single)
    yield Step(f"backward(dout) of {kind} behind a look at the attributes", layer.backward(dout), single=single)


def relu(Relu: Any) -> Iterator[Step | str]:
    layer = Relu()
    yield Step("the constructor", Attributes(layer))
    for dtype in (DOUBLE, SINGLE):
        x = wave((3, 2, 4, 5), dtype)
        x[0, 0, 0, :3] = 0, np.nan, np.inf
        yield from _passes(layer, x)
        yield from _passes(layer, wave((2, 5), dtype))


def sigmoid(Sigmoid: Any) -> Iterator[Step | str]:
    layer = Sigmoid()
    yield Step("the constructor", Attributes(layer))
    for dtype in (DOUBLE, SINGLE):
        yield from _passes(layer, 4 * wave((3, 7), dtype))
        yield from _passes(layer, 4 * wave((1, 2, 3, 2), dtype), "images of ")


def affine(Affine: Any, tensor: bool = True) -> Iterator[Step | str]:
    for x_type, dtype in TYPES:
        W, b = wave((12, 3), dtype), wave(3, dtype, 1)
        layer = Affine(W, b)
        yield Step("the constructor", Attributes(layer))
        yield from _passes(layer, wave((5, 12), x_type))
        if tensor:
            yield from _passes(layer, wave((2, 3, 2, 2), x_type), "images of ")
        W += 1  # as an optimiser does it
        layer.b = b + 1
        yield from _passes(layer, wave((4, 12), x_type, 2), "another batch of ")


def affine_of_rows(Affine: Any) -> Iterator[Step | str]:
    return affine(Affine, tensor=False)


def softmax_with_loss(SoftmaxWithLoss: Any, one_hot: bool = True) -> Iterator[Step | str]:
    layer = SoftmaxWithLoss()
    yield Step("the constructor", Attributes(layer))
    for dtype in (DOUBLE, SINGLE):
        x, labels = 3 * wave((4, 3), dtype), np.array([2, 0, 1, 1])
        for t in (labels, np.eye(3)[labels], np.eye(3, dtype=np.int64)[labels])[: 3 if one_hot else 1]:
            kind = "labels" if t.ndim == 1 else "one-hot targets"
            yield f"forward(x, t) of {kind}"
            yield Step(f"the loss of {kind}", layer.forward(x, t))
            yield Step(f"forward(x, t) of {kind}", Attributes(layer))
            yield Step(f"backward() of {kind}", layer.backward())
            yield Step(f"backward(2) of {kind}", layer.backward(2), "backward(dout) treats dout in its own way")


def softmax_with_loss_of_labels(SoftmaxWithLoss: Any) -> Iterator[Step | str]:
    return softmax_with_loss(SoftmaxWithLoss, one_hot=False)


def dropout(Dropout: Any) -> Iterator[Step | str]:
    yield Step("the constructor", Attributes(Dropout()))
    for dtype in (DOUBLE, SINGLE):
        layer, x = Dropout(0.3), wave((4, 6), dtype)
        yield "inference"
        y = layer.forward(x, False)
        yield Step("inference", y, "inference scales by 1 - ratio in the book, yours does not")
        for images in (False, True):
            x = wave((2, 3, 2, 2), dtype) if images else x
            yield "training"
            source().seed(7)
            y = layer.forward(x) if images else layer.forward(x, True)
            drawn = source().random()
            yield Step(
                "training", y, "training multiplies by np.random.rand(*x.shape) > ratio in the book, yours does not"
            )
            yield Step("training", (Attributes(layer), y is x, x))
            yield Step("what NumPy's generator gives behind it", drawn)
            dout = wave(x.shape, dtype, 2)
            yield "backward(dout)"
            dx = layer.backward(dout)
            yield Step("backward(dout)", dx, "backward(dout) gives dout * mask in the book, yours does not")
            yield Step("dout behind backward", (dout, dx is dout))


def batch_normalization(BatchNormalization: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        gamma, beta = 1 + 0.5 * wave(6, dtype), wave(6, dtype, 1)
        layer = BatchNormalization(gamma, beta)
        yield Step("the constructor", Attributes(layer))
        yield from _passes(layer, 1 + wave((5, 6), dtype), "a batch of ")
        x = 1 + wave((4, 2, 3, 1), dtype)
        yield from _passes(layer, x, "images, feature by feature, of ")
        single = dtype is SINGLE
        yield "inference"
        yield Step("inference of images", layer.forward(x, False), single=single)
        yield Step("inference", layer.forward(wave((3, 6), dtype), False), single=single)
        yield Step("inference", Attributes(layer), single=single)
        yield from _passes(layer, 3 * wave((5, 6), dtype, 4), "another batch of ")
        running = wave(6, DOUBLE, 2), 1 + wave(6, DOUBLE, 3) ** 2
        layer = BatchNormalization(gamma, beta, 0.7, running_mean=running[0], running_var=running[1])
        yield from _passes(layer, wave((3, 6), dtype), "known statistics of ")
        yield Step("the caller's statistics", running)


def convolution(Convolution: Any) -> Iterator[Step | str]:
    for x_type, dtype in TYPES:
        W, b = wave((3, 2, 3, 2), dtype), wave(3, dtype, 1)
        layer = Convolution(W, b, 2, 1)
        yield Step("the constructor", Attributes(layer))
        yield from _passes(layer, wave((2, 2, 5, 6), x_type))
        yield from _passes(layer, wave((1, 2, 6, 5), x_type), "images that the stride does not divide of ")
        W += 1  # as an optimiser does it
        layer.stride, layer.pad, layer.b = 1, 0, b + 1
        yield from _passes(layer, wave((1, 2, 4, 4), x_type, 2), "another batch of ")
        x = wave((2, 2, 4, 4), x_type)
        yield "forward(x)"
        y = layer.forward(x)
        x += 1
        yield Step(
            "backward where x was changed since forward",
            layer.backward(wave(y.shape, y.dtype)),
            single=x_type is SINGLE,
        )


def pooling(Pooling: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        x = wave((2, 3, 4, 6), dtype)
        x[0, 0, :2, :2] = 0.5  # the first of equal maxima counts
        x[0, 1, 0, 0] = np.nan
        layer = Pooling(2, 2, 2)
        yield Step("the constructor", Attributes(layer))
        yield from _passes(layer, x)
        yield from _passes(layer, wave((2, 1, 5, 5), dtype), "images that the stride does not divide of ")
        layer = Pooling(pool_h=3, pool_w=2, stride=1)
        yield from _passes(layer, wave((1, 2, 5, 4), dtype), "overlapping windows of ")


def optimizer(kind: Any) -> Iterator[Step | str]:
    """Several steps, with gradients so small that the number which avoids a division by zero shows."""
    for dtype in (DOUBLE, SINGLE):
        step = kind()
        yield Step("the constructor", Attributes(step))
        params = {"W1": wave((3, 4), dtype), "b1": wave(4, dtype, 1), "gamma1": wave(2, dtype, 2)}
        arrays = dict(params)
        for i in range(4):
            grads = {"W1": wave((3, 4), dtype, i), "b1": 1e-6 * wave(4, dtype, i), "gamma1": wave(2, dtype, i)}
            grads["W1"][0, 0] = 0
            before = {key: g.copy() for key, g in grads.items()}
            yield "update(params, grads) of dicts of arrays"
            yield Step("update's result", step.update(params, grads))
            yield Step(f"the parameters behind {i + 1} steps", params)
            yield Step("the gradients behind a step", (grads, before))
            yield Step("the arrays themselves", all(params[key] is arrays[key] for key in params))
            yield Step(f"{i + 1} steps", Attributes(step))
            if i == 1 and type(getattr(step, "lr", None)) is float:
                step.lr = 0.5 * step.lr


def im2col(function: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        x = wave((2, 3, 5, 6), dtype)
        for geometry in ((2, 3, 1, 0), (3, 2, 2, 1), (2, 2, 2, 0)):
            yield Step(f"{geometry} of {np.dtype(dtype)}", function(x, *geometry))
        yield Step("the argument behind it", x)


def col2im(function: Any) -> Iterator[Step | str]:
    for dtype in (DOUBLE, SINGLE):
        for rows, columns, *geometry in ((32, 18, 2, 3, 1, 0), (24, 18, 3, 2, 2, 1), (12, 12, 2, 2, 2, 0)):
            col = wave((rows, columns), dtype)
            yield Step(f"{tuple(geometry)} of {np.dtype(dtype)}", function(col, (2, 3, 5, 6), *geometry))
            yield Step("the argument behind it", col)


def of_arrays(function: Any) -> Iterator[Step | str]:
    """A function of one array, element by element or along its last axis."""
    for dtype in (DOUBLE, SINGLE):
        for shape in ((7,), (3, 5)):
            x = 4 * wave(shape, dtype)
            x.flat[0] = 0
            y = function(x)
            yield Step(f"shape {shape} of {np.dtype(dtype)}", y)
            yield Step("the argument behind it", (x, y is x))

"""Numbers taken by their places."""

from typing import Any

import numpy as np

from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array
from .shape import positive


def _inside(indices: Array, n: int) -> Array:
    """Places counted from the front.

    Raises
    ------
    ValueError
        If one is outside.
    """
    if indices.size and not (indices.min() >= -n and indices.max() < n):
        raise ValueError(f"indices from {indices.min()} to {indices.max()} do not fit {n} places")
    return np.where(indices < 0, indices + n, indices)


@operator("Gather", inputs=2)
def gather(a: Any) -> Run:
    axis = a.int("axis", 0)

    def run(x: Array, indices: Array) -> Array:
        along = positive(axis, x.ndim)
        return np.take(x, _inside(indices, x.shape[along]), axis=along)

    return run


@operator("GatherElements", inputs=2)
def gather_elements(a: Any) -> Run:
    axis = a.int("axis", 0)

    def run(x: Array, indices: Array) -> Array:
        along = positive(axis, x.ndim)
        part = x[tuple(slice(None) if i == along else slice(n) for i, n in enumerate(indices.shape))]
        return np.take_along_axis(part, _inside(indices, x.shape[along]), axis=along)

    return run


@operator("GatherND", inputs=2)
def gather_nd(a: Any) -> Run:
    batch = a.int("batch_dims", 0)

    def run(x: Array, indices: Array) -> Array:
        index: list[Any] = [_inside(indices[..., i], x.shape[batch + i]) for i in range(indices.shape[-1])]
        for i in reversed(range(batch)):
            places = np.arange(x.shape[i]).reshape(*(1,) * i, -1, *(1,) * (indices.ndim - 2 - i))
            index.insert(0, places)
        return x[tuple(index)]

    return run


@operator("ScatterElements", "Scatter", inputs=3)
def scatter_elements(a: Any) -> Run:
    axis, reduction = a.int("axis", 0), _reduction(a)

    def run(x: Array, indices: Array, updates: Array) -> Array:
        along, y = positive(axis, x.ndim), x.copy()
        index: list[Any] = list(np.indices(indices.shape, sparse=True))
        index[along] = _inside(indices, x.shape[along])
        reduction(y, tuple(index), updates)
        return y

    return run


@operator("ScatterND", inputs=3)
def scatter_nd(a: Any) -> Run:
    reduction = _reduction(a)

    def run(x: Array, indices: Array, updates: Array) -> Array:
        y = x.copy()
        reduction(y, tuple(_inside(indices[..., i], x.shape[i]) for i in range(indices.shape[-1])), updates)
        return y

    return run


def _reduction(a: Any) -> Any:
    name = a.text("reduction", "none", ("none", "add", "mul", "max", "min"))
    if name == "none":
        return lambda y, index, updates: y.__setitem__(index, updates)
    return {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[name].at


@operator("NonZero")
def non_zero(a: Any) -> Run:
    return lambda x: np.array(np.nonzero(np.atleast_1d(x)), np.int64)


def _arg(a: Any, best: Any) -> Run:
    axis, keepdims, last = a.int("axis", 0), a.flag("keepdims", True), a.flag("select_last_index")

    def run(x: Array) -> Array:
        along = positive(axis, x.ndim)
        if last:
            return x.shape[along] - 1 - best(np.flip(x, along), axis=along, keepdims=keepdims)
        return best(x, axis=along, keepdims=keepdims)

    return run


@operator("ArgMax")
def arg_max(a: Any) -> Run:
    return _arg(a, np.argmax)


@operator("ArgMin")
def arg_min(a: Any) -> Run:
    return _arg(a, np.argmin)


@operator("TopK", inputs=(1, 2), outputs=2)
def top_k(a: Any) -> Run:
    axis, largest = a.int("axis", -1), a.flag("largest", True)
    a.ignored("sorted")  # sorted ones are right in either case
    count = a.int("k") if a.opset < 10 else None
    if a.opset < 10 and count is None:
        raise Unsupported("attribute k is missing")

    def run(x: Array, k: Any = count) -> Any:
        along = positive(axis, x.ndim)
        number = int(np.asarray(k).reshape(()) if np.ndim(k) == 0 else np.asarray(k).reshape(-1)[0])
        if not 0 <= number <= x.shape[along]:
            raise ValueError(f"k {number} does not fit {x.shape[along]} numbers")
        if largest:  # a stable sort of the reversed row: the first of equal numbers comes first
            order = x.shape[along] - 1 - np.flip(np.argsort(np.flip(x, along), axis=along, kind="stable"), along)
        else:
            order = np.argsort(x, axis=along, kind="stable")
        places = order[tuple(slice(number) if i == along else slice(None) for i in range(x.ndim))]
        return np.take_along_axis(x, places, along), places.astype(np.int64, copy=False)

    return run


@operator("OneHot", inputs=3)
def one_hot(a: Any) -> Run:
    axis = a.int("axis", -1)

    def run(indices: Array, depth: Array, values: Array) -> Array:
        count = int(depth.reshape(-1)[0])
        places = np.where(indices < 0, indices + count, indices).astype(np.int64)
        along = axis + indices.ndim + 1 if axis < 0 else axis
        order = np.arange(count).reshape(-1, *(1,) * (indices.ndim - along))
        return np.where(np.expand_dims(places, along) == order, values[1], values[0])

    return run


@operator("Trilu", inputs=(1, 2))
def trilu(a: Any) -> Run:
    keep = np.triu if a.flag("upper", True) else np.tril
    return lambda x, k=None: keep(x, 0 if k is None else int(k.reshape(())))

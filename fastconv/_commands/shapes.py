"""Sizes of a model's inputs, where the model leaves some open."""

from collections.abc import Sequence

from ..onnx import Value


def fixed(values: Sequence[Value], batch: int, size: tuple[int, int] | None) -> list[tuple[int, ...]]:
    """The shape of every input for so many samples, of images of this size.

    Raises
    ------
    ValueError
        If a size stays open, or the model has another one.
    """
    return [_fixed(value, batch, size) for value in values]


def batch_of(values: Sequence[Value]) -> int | None:
    """The number of samples that a model has fixed; None where it is open."""
    shapes = [value.shape for value in values if value.shape]
    return next((shape[0] for shape in shapes if isinstance(shape[0], int)), None)


def _fixed(value: Value, batch: int, size: tuple[int, int] | None) -> tuple[int, ...]:
    if value.shape is None:
        raise ValueError(f"the model does not tell the shape of its input {value.name!r}")
    sizes: list[int | str | None] = list(value.shape)
    if sizes and not isinstance(sizes[0], int):
        sizes[0] = batch
    if len(sizes) == 4 and size is not None:
        for at, n in zip((2, 3), size, strict=True):
            if isinstance(sizes[at], int) and sizes[at] != n:
                raise ValueError(f"--size: input {value.name!r} of the model has images of {sizes[2]} x {sizes[3]}")
            sizes[at] = n
    if any(not isinstance(n, int) for n in sizes):
        shown = ", ".join(str(n) if n else "?" for n in sizes)
        raise ValueError(f"the model leaves sizes of its input {value.name!r} open, ({shown}): name them by --size H,W")
    return tuple(n for n in sizes if isinstance(n, int))

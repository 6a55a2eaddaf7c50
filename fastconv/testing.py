"""Shapes as data, fills and tolerances: shared by the tests and the benches, and open to users' own kernels.

`CASES` holds small shapes that cover remainders, strides, paddings, dilations and groups; `SPEED` the shapes that real
networks use, timed against PyTorch.
"""

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _dispatch
from ._settings import settings
from ._table import TABLE, Row

DTYPES = (np.float32, np.float64)


@dataclass(frozen=True)
class Case:
    """A problem's sizes; its string is its test id."""

    def __str__(self) -> str:
        return "-".join(_text(value) for value in astuple(self))


def _text(value: Any) -> str:
    return str(value).replace(" ", "").replace("(", "").replace(")", "").replace(",", "x")


@dataclass(frozen=True)
class ConvCase(Case):
    """x (N, C, H, W) with FN filters of `kernel`."""

    N: int
    C: int
    H: int
    W: int
    FN: int
    kernel: tuple[int, int] = (3, 3)
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def arrays(self, dtype: Any, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
        """(x, w, b) filled with normal numbers, w scaled by 1/sqrt(fan-in)."""
        w_shape = (self.FN, self.C // self.groups, *self.kernel)
        x, w, b = (
            normal(s, dtype, seed + i) for i, s in enumerate(((self.N, self.C, self.H, self.W), w_shape, self.FN))
        )
        return x, w / dtype(np.sqrt(np.prod(w_shape[1:]))), b

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


@dataclass(frozen=True)
class PoolCase(Case):
    """x (N, C, H, W) with windows of `kernel`."""

    N: int
    C: int
    H: int
    W: int
    kernel: Any = 2
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False


@dataclass(frozen=True)
class AffineCase(Case):
    """x (N, K) times (K, M)."""

    N: int
    K: int
    M: int


@dataclass(frozen=True)
class ArrayCase(Case):
    """An array of this shape."""

    shape: tuple[int, ...]


CASES: dict[str, list[Any]] = {
    "conv2d": [
        # the book's and the seeds' shapes, small batches
        ConvCase(2, 1, 28, 28, 30, (5, 5)),
        ConvCase(2, 1, 28, 28, 16, padding=1),
        ConvCase(2, 16, 14, 14, 32, padding=2),
        ConvCase(4, 3, 32, 32, 6, (5, 5)),
        ConvCase(4, 6, 14, 14, 16, (5, 5)),
        ConvCase(3, 10, 12, 12, 20, (5, 5)),
        ConvCase(10, 3, 7, 7, 10, (5, 5)),
        # remainders around the vector widths, in filters, channels and columns
        *(ConvCase(1, c, 6, 9, f, padding=1) for c, f in ((1, 1), (3, 7), (7, 8), (8, 9), (9, 15), (16, 17), (5, 31), (4, 33))),
        *(ConvCase(2, 5, 5, w, 6, padding=1) for w in (3, 4, 7, 8, 9, 15, 16, 17, 31, 33)),
        ConvCase(1, 33, 7, 7, 65, padding=1),
        ConvCase(2, 64, 8, 8, 64, padding=1),
        ConvCase(2, 32, 9, 10, 40, padding=1),
        ConvCase(1, 70, 13, 11, 66, padding=1),
        # rectangular and even filters
        ConvCase(2, 3, 9, 11, 5, (2, 2)),
        ConvCase(2, 3, 9, 11, 5, (1, 4), padding=(0, 2)),
        ConvCase(2, 3, 9, 11, 5, (4, 1), padding=(2, 0)),
        ConvCase(1, 2, 12, 12, 3, (6, 6)),
        ConvCase(1, 4, 10, 10, 18, (7, 7), padding=3),
        ConvCase(1, 2, 14, 14, 3, (11, 11), padding=5),
        ConvCase(2, 3, 4, 4, 5, (4, 4)),
        # asymmetric padding, "same", "valid", more padding than filter
        ConvCase(2, 3, 8, 9, 4, padding=((0, 2), (1, 0))),
        ConvCase(2, 20, 8, 9, 34, padding=((2, 1), (0, 3))),
        ConvCase(2, 3, 8, 9, 4, (4, 3), padding="same"),
        ConvCase(2, 3, 8, 9, 4, padding="valid"),
        ConvCase(1, 3, 5, 5, 4, padding=4),
        ConvCase(1, 3, 5, 5, 4, (1, 1), padding=1),
        # strides, also beyond the filter
        ConvCase(2, 3, 16, 16, 20, (7, 7), stride=2, padding=3),
        ConvCase(2, 18, 14, 15, 20, stride=2, padding=1),
        ConvCase(2, 18, 15, 14, 33, stride=2),
        ConvCase(2, 3, 17, 17, 5, stride=3, padding=1),
        ConvCase(2, 3, 17, 17, 5, stride=(1, 2), padding=1),
        ConvCase(2, 3, 17, 17, 5, (2, 2), stride=4),
        ConvCase(2, 3, 17, 16, 5, (1, 1), stride=3),
        ConvCase(1, 4, 12, 12, 6, (5, 5), stride=4, padding=2),
        # 1x1
        ConvCase(2, 16, 7, 7, 32, (1, 1)),
        ConvCase(2, 37, 9, 13, 35, (1, 1)),
        ConvCase(2, 16, 8, 8, 40, (1, 1), stride=2),
        ConvCase(2, 16, 9, 7, 40, (1, 1), stride=2),
        # dilation
        ConvCase(2, 3, 12, 12, 5, dilation=2),
        ConvCase(2, 17, 12, 13, 18, padding=2, dilation=2),
        ConvCase(1, 3, 15, 14, 4, stride=2, padding=(2, 3), dilation=(2, 3)),
        # groups and depthwise
        ConvCase(2, 8, 9, 9, 12, padding=1, groups=4),
        ConvCase(2, 34, 8, 8, 68, padding=1, groups=2),
        ConvCase(2, 6, 9, 9, 6, padding=1, groups=6),
        ConvCase(2, 6, 9, 9, 12, padding=1, groups=6),
        ConvCase(2, 19, 14, 14, 19, padding=1, groups=19),
        ConvCase(2, 5, 14, 15, 5, stride=2, padding=1, groups=5),
        ConvCase(1, 4, 17, 33, 4, (5, 5), padding=2, groups=4),
        ConvCase(1, 4, 9, 9, 4, padding=2, dilation=2, groups=4),
        ConvCase(2, 4, 8, 8, 8, (1, 1), groups=2),
        # batches of zero and one, single pixels
        ConvCase(0, 3, 8, 8, 4, padding=1),
        ConvCase(1, 1, 3, 3, 1),
        ConvCase(1, 64, 1, 1, 48, (1, 1)),
        ConvCase(3, 20, 1, 1, 5, padding=1),
    ],
    "im2col": [
        ConvCase(1, 3, 7, 7, 1, (5, 5)),
        ConvCase(10, 3, 7, 7, 1, (5, 5)),
        ConvCase(2, 2, 9, 8, 1, (3, 2), stride=(2, 1), padding=1),
        ConvCase(2, 1, 12, 17, 1, (5, 5)),
        ConvCase(2, 3, 6, 6, 1, (2, 2), stride=3),
        ConvCase(1, 2, 5, 6, 1, (3, 3), padding=((1, 0), (2, 1))),
        ConvCase(0, 2, 5, 6, 1, (3, 3)),
        ConvCase(2, 2, 5, 6, 1, (1, 1), stride=2),
    ],
    "pool2d": [
        PoolCase(2, 3, 24, 24),
        PoolCase(2, 3, 9, 11),
        *(PoolCase(1, 2, 6, w) for w in (2, 3, 14, 15, 16, 17, 30, 31, 32, 33, 34, 66)),
        PoolCase(2, 3, 8, 8, 3, 2, 1),
        PoolCase(2, 3, 9, 7, 3, 2, 1),
        PoolCase(1, 2, 33, 35, 3, 2, 1),
        PoolCase(1, 2, 14, 14, 3, 2, 0, 1, True),
        PoolCase(2, 3, 7, 8, 2, 2, 0, 1, True),
        PoolCase(2, 3, 7, 8, 3, 2, 1, 1, True),
        PoolCase(2, 3, 10, 11, (3, 2), (1, 2), (1, 0)),
        PoolCase(2, 3, 10, 11, (2, 4), 1, ((1, 0), (0, 2))),
        PoolCase(2, 3, 10, 11, 3, 1, 1, 2),
        PoolCase(1, 2, 11, 12, 2, 5),
        PoolCase(1, 2, 4, 4, 4),
        PoolCase(1, 2, 5, 5, 1),
        PoolCase(1, 2, 13, 13, 5, 3, 2),
        PoolCase(0, 3, 8, 8),
    ],
    "adaptive_pool2d": [
        PoolCase(2, 3, 7, 9, (1, 1)),
        PoolCase(2, 3, 7, 9, (3, 4)),
        PoolCase(2, 3, 8, 8, (4, 2)),
        PoolCase(1, 2, 3, 3, (5, 7)),
        PoolCase(0, 2, 3, 3, (2, 2)),
        PoolCase(2, 65, 14, 14, (1, 1)),
    ],
    "affine": [
        *(AffineCase(*s) for s in ((1, 1, 1), (4, 5, 6), (0, 5, 6), (1, 300, 17), (100, 50, 10), (3, 120, 84), (8, 84, 10))),
        *(AffineCase(n, 33, m) for n, m in ((7, 15), (13, 16), (14, 17), (15, 31), (16, 32), (17, 33), (29, 63), (30, 65))),
        *(AffineCase(*s) for s in ((5, 1025, 9), (100, 784, 50), (65, 130, 257), (2, 2000, 3), (257, 3, 2), (33, 64, 1))),
    ],
    "batch_norm": [
        ArrayCase(s)
        for s in ((4, 3), (100, 50), (7, 17), (33, 16), (2, 3, 4, 5), (4, 30, 12, 12), (3, 5, 1, 1), (1, 2, 7, 9), (2, 1, 33, 17))
    ],
    "elementwise": [ArrayCase(s) for s in ((), (1,), (7,), (16,), (17,), (33,), (3, 5), (2, 3, 4, 5), (0, 4), (70000,))],
    "softmax": [
        ArrayCase(s) for s in ((1, 1), (4, 10), (100, 10), (3, 15), (3, 16), (3, 17), (5, 33), (2, 1000), (7,), (0, 5), (2, 3, 4, 5))
    ],
    "cross_entropy": [ArrayCase(s) for s in ((1, 1), (4, 10), (100, 10), (3, 16), (5, 17), (6, 33), (2, 1000))],
}  # fmt: skip

SPEED: dict[str, list[Any]] = {
    "conv2d": [
        ConvCase(100, 1, 28, 28, 30, (5, 5)),
        ConvCase(100, 1, 28, 28, 16, padding=1),
        ConvCase(100, 16, 28, 28, 16, padding=1),
        ConvCase(100, 16, 14, 14, 32, padding=1),
        ConvCase(100, 32, 14, 14, 32, padding=2),
        ConvCase(100, 32, 8, 8, 64, padding=1),
        ConvCase(100, 64, 8, 8, 64, padding=1),
        ConvCase(4, 3, 32, 32, 6, (5, 5)),
        ConvCase(4, 6, 14, 14, 16, (5, 5)),
        ConvCase(4, 32, 30, 30, 32),
        ConvCase(32, 1, 28, 28, 10, (5, 5)),
        ConvCase(32, 10, 12, 12, 20, (5, 5)),
        ConvCase(100, 1, 28, 28, 32, padding=1),
        ConvCase(100, 32, 14, 14, 64),
        ConvCase(8, 64, 56, 56, 64, padding=1),
        ConvCase(4, 256, 28, 28, 256, padding=1),
        ConvCase(4, 512, 14, 14, 512, padding=1),
        ConvCase(8, 3, 224, 224, 64, (7, 7), stride=2, padding=3),
        ConvCase(8, 64, 56, 56, 128, stride=2, padding=1),
        ConvCase(8, 256, 56, 56, 64, (1, 1)),
        ConvCase(8, 256, 56, 56, 512, (1, 1), stride=2),
    ],
    "conv2d_batch1": [
        ConvCase(1, 3, 32, 32, 6, (5, 5)),
        ConvCase(1, 6, 14, 14, 16, (5, 5)),
        ConvCase(1, 16, 28, 28, 16, padding=1),
        ConvCase(1, 32, 14, 14, 32, padding=2),
        ConvCase(1, 64, 8, 8, 64, padding=1),
        ConvCase(1, 1, 28, 28, 32, padding=1),
        ConvCase(1, 32, 14, 14, 64),
        ConvCase(1, 64, 56, 56, 64, padding=1),
        ConvCase(1, 256, 28, 28, 256, padding=1),
        ConvCase(1, 512, 14, 14, 512, padding=1),
        ConvCase(1, 3, 224, 224, 64, (7, 7), stride=2, padding=3),
        ConvCase(1, 64, 56, 56, 128, stride=2, padding=1),
        ConvCase(1, 256, 56, 56, 64, (1, 1)),
        ConvCase(1, 256, 56, 56, 512, (1, 1), stride=2),
    ],
    "depthwise": [
        ConvCase(8, c, h, h, c, padding=1, groups=c) for c, h in ((64, 112), (64, 14), (128, 56), (256, 28), (512, 28), (512, 14))
    ],
    "pool2d": [
        PoolCase(100, 30, 24, 24),
        PoolCase(100, 16, 28, 28),
        PoolCase(4, 6, 28, 28),
        PoolCase(8, 64, 112, 112, 3, 2, 1),
        PoolCase(8, 128, 56, 56),
    ],
    "affine": [
        AffineCase(*s)
        for s in (
            (100, 4320, 100), (100, 784, 256), (100, 100, 10), (100, 1024, 50), (4, 400, 120), (4, 120, 84),
            (1, 4320, 100), (8, 512, 1000), (256, 256, 256), (1024, 1024, 1024),
        )
    ],
    "batch_norm": [ArrayCase(s) for s in ((100, 30, 24, 24), (100, 32, 14, 14), (8, 64, 56, 56), (100, 100), (100, 1000))],
    "elementwise": [ArrayCase(s) for s in ((10,), (100, 30, 24, 24), (8, 64, 56, 56))],
    "softmax": [ArrayCase(s) for s in ((100, 10), (1000, 10), (256, 1000))],
}  # fmt: skip


def normal(shape: Any, dtype: Any, seed: int = 0) -> NDArray:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def whole(shape: Any, dtype: Any, seed: int = 0, low: int = -3, high: int = 3) -> NDArray:
    """Small whole numbers: sums of their products are exact in float32, so comparisons can be exact."""
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)


class Kernel(NamedTuple):
    """One row of the table, for one operation."""

    op: str
    row: Row

    def __str__(self) -> str:
        return f"{self.row.backend}-{self.row.kernel}"

    def refuses(self, p: Any) -> str:
        """Why the row does not take the problem, or "". A backend that is not installed refuses everything; a compiled
        kernel that is missing is an error, not a reason."""
        loaded = _dispatch.load(self.row.kernel)
        if isinstance(loaded, str) and self.row.backend in ("cython", "numpy"):
            raise RuntimeError(f"{self.row}: {loaded}")
        token = settings.context_backend.set(self.row.backend)  # asked for, it may take what it would not be chosen for
        try:
            return self.row.accepts(p) or (loaded if isinstance(loaded, str) else "")
        finally:
            settings.context_backend.reset(token)

    def __call__(self, *args: Any) -> Any:
        """Run this very kernel, with the table's argument order; nothing falls back."""
        loaded = _dispatch.load(self.row.kernel)
        if isinstance(loaded, str):
            raise RuntimeError(f"{self.row}: {loaded}")
        return loaded(*args)


def kernels(*ops: str) -> list[Kernel]:
    """Every row of these operations."""
    return [Kernel(op, row) for op in ops for row in TABLE[op]]


def tolerance(dtype: Any, terms: int = 1, factor: float = 1.0) -> float:
    """Allowed error, relative to the size of the numbers summed, of a sum of `terms` products.

    float64: 1e-10 whatever the length. float32: rounding errors of a sum grow like the square root of its length when
    they are independent; 8 standard deviations are allowed, times `factor` for algorithms that round more.
    """
    if np.dtype(dtype) == np.float64:
        return 1e-10
    return 8 * factor * float(np.finfo(np.float32).eps) * max(1.0, float(terms)) ** 0.5


def assert_close(actual: NDArray, expected: NDArray, tol: float) -> None:
    """|actual - expected| <= tol * (|expected| + the expected array's own root mean square), NaN where NaN."""
    expected = np.asarray(expected, np.float64)
    finite = expected[np.isfinite(expected)]
    scale = float(np.sqrt(np.mean(finite**2))) if finite.size else 1.0
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol=tol, atol=tol * max(scale, 1e-30))

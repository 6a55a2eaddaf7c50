"""What a kernel is asked to do: one frozen, hashable Problem per call.

`_check` builds them from the arguments, `_dispatch` chooses (and remembers) a kernel by them, kernels read their sizes
from them. A Problem holds no array.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ._device import given_back

_SUMS: dict[np.dtype, np.dtype] = {np.dtype(np.float16): np.dtype(np.float32)}


def arithmetic(dtype: npt.DTypeLike) -> np.dtype:
    """What numbers of a dtype are added up in: float32 for float16, else the dtype itself."""
    dtype = np.dtype(dtype)
    return _SUMS.get(dtype, dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The part common to all: the dtype computed in, the dtype the caller gets, and where the arrays live: "cpu", or
    the family of those on a device, "cuda" for fastconv's own (`_families`)."""

    dtype: np.dtype
    result_dtype: np.dtype
    device: str = "cpu"
    unbatched: bool = False
    chosen: dict[tuple[str, str | None], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # dispatch's choices by (operation, forced backend), kept with the Problem

    def __str__(self) -> str:
        """The dtype and whatever is not at its default, for people."""
        shown = (f for f in fields(self) if f.repr and f.name not in ("dtype", "result_dtype"))
        given = (f"{f.name}={getattr(self, f.name)}" for f in shown if getattr(self, f.name) != f.default)
        return ", ".join((self.dtype.name, *given))

    @property
    def arithmetic(self) -> np.dtype:
        """The dtype of sums and statistics."""
        return arithmetic(self.dtype)

    def finish(self, y: npt.NDArray) -> npt.NDArray:
        """A kernel's result in the caller's dtype and rank."""
        if self.unbatched:
            y = y[0]
        return self.give(y if y.dtype == self.result_dtype else y.astype(self.result_dtype))

    def give(self, y: Any) -> Any:
        """A kernel's result, or what was made of it, as an array of the caller's family."""
        return y if self.device == "cpu" or y is None else given_back(y, self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Problem):
    """A filter sliding over N images of C channels of H x W, giving OH x OW positions."""

    N: int
    C: int
    H: int
    W: int
    FH: int
    FW: int
    OH: int
    OW: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int
    dilation_h: int = 1
    dilation_w: int = 1
    packed: bytes | None = field(default=None, init=False, repr=False, compare=False)  # for compiled kernels

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.N, self.C, self.H, self.W

    @property
    def padded(self) -> bool:
        return bool(self.pad_top or self.pad_bottom or self.pad_left or self.pad_right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes(Window):
    """Windows with a plane for every tap: images (N, C, H, W, run) give (C, FH, FW, N, OH, OW, run), or
    (N, C, FH, FW, OH, OW, run) when `images_first`. A pixel is `run` numbers."""

    run: int = 1
    images_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d(Window):
    """x (N, C, H, W) with w (FN, C/groups, FH, FW) gives (N, FN, OH, OW)."""

    FN: int
    groups: int = 1
    activation: str | None = None
    add: bool = False  # whether a residual is added before the activation
    precision: str = "high"

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.N, self.FN, self.OH, self.OW

    @property
    def result_size(self) -> int:
        return self.N * self.FN * self.OH * self.OW

    @property
    def w_shape(self) -> tuple[int, ...]:
        return self.FN, self.C // self.groups, self.FH, self.FW


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool2d(Window):
    """Windows of one channel each, reduced to one number: (N, C, OH, OW)."""

    count_include_pad: bool = True
    divisor: int = 0  # 0: the number of elements in the window

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.N, self.C, self.OH, self.OW


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptivePool2d(Problem):
    """(N, C, H, W) averaged over OH x OW bins that cover the plane."""

    N: int
    C: int
    H: int
    W: int
    OH: int
    OW: int

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.N, self.C, self.OH, self.OW


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine(Problem):
    """x (N, K) times W gives (N, M); W is (K, M), or (M, K) when transposed."""

    N: int
    K: int
    M: int
    transposed: bool = False
    activation: str | None = None

    @property
    def result_size(self) -> int:
        return self.N * self.M


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Problem):
    """x as (N, C, P): statistics per channel C over N and P = H*W (1 for 2-D input)."""

    N: int
    C: int
    P: int
    training: bool
    momentum: float = 0.1
    eps: float = 1e-5
    unbiased: bool = True  # the running variance's
    activation: str | None = None

    @property
    def result_size(self) -> int:
        return self.N * self.C * self.P


@dataclass(frozen=True, slots=True, kw_only=True)
class Interchange(Problem):
    """(N, A, B) becomes (N, B, A)."""

    N: int
    A: int
    B: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResponse(Problem):
    """x as (N, C, P), divided by a power of the sums of squares over `size` neighbouring channels."""

    N: int
    C: int
    P: int
    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Problem):
    """One number in, one number out; `activation` is add_activation's."""

    size: int
    negative_slope: float = 0.0
    activation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Problem):
    """x as (outer, n, inner), normalised along n."""

    outer: int
    n: int
    inner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy(Problem):
    """N rows of C scores against labels (N,) int64, or against targets (N, C) of the same dtype; `offset` is added to
    the probabilities before their logarithm."""

    N: int
    C: int
    labels: bool
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Problem):
    """`size` mask entries, each standing for `repeat` consecutive elements; an entry is kept when its random 32 bits
    reach `threshold`; what is kept is multiplied by `scale`."""

    size: int
    repeat: int
    threshold: int
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Problem):
    """One optimiser step over a list of parameters of one dtype."""

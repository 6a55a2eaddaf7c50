"""The process-wide choices a user can make: the forced backend and the precision of float32 convolutions."""

import os
from contextvars import ContextVar

try:
    from .kernels._cpu.engine import count_forced_backend
    from .kernels._cpu.remember import forget
except ImportError:  # a build without the compiled engine remembers nothing and has no short ways

    def forget() -> None:
        pass

    def count_forced_backend(change: int) -> None:
        pass


BACKENDS = ("cython", "numba", "cuda", "numpy")
PRECISIONS = ("highest", "high")


_FOLLOW_DEFAULT = ""


def _backend_of_environment() -> str | None:
    """FASTCONV_BACKEND: the backend that is forced from the start."""
    name = os.environ.get("FASTCONV_BACKEND", "").strip()
    if name and name not in BACKENDS:
        raise ValueError(f"FASTCONV_BACKEND: expected one of {BACKENDS}, got {name!r}")
    return name or None


class Settings:
    """`backend` is a context variable over a process-wide default: `with backend(...)` is safe in threads and tasks."""

    def __init__(self) -> None:
        self.float32_conv_precision = "high"
        self.default_backend = _backend_of_environment()
        count_forced_backend(self.default_backend is not None)
        self.context_backend: ContextVar[str | None] = ContextVar("fastconv_backend", default=_FOLLOW_DEFAULT)

    @property
    def backend(self) -> str | None:
        """The forced backend, or None for the table's own order."""
        chosen = self.context_backend.get()
        return self.default_backend if chosen == _FOLLOW_DEFAULT else chosen


settings = Settings()


def set_float32_conv_precision(precision: str) -> None:
    """Choose how exactly float32 convolutions are computed.

    Parameters
    ----------
    precision : {"highest", "high"}
        "high" (the default) may use Winograd's minimal filtering (Lavin & Gray, 2016). **One large number among small
        ones costs accuracy in its neighbours**: a result's error is up to 6e-6 times the largest abs(x) that its tile
        of 4 x 4 results reads, times the sum of its filter's abs(w), also where its own window holds small numbers
        alone. So a sentinel of 1e6 among numbers around 1 makes errors of about 1 beside it; `explain`
        ("conv2d", x, w, ...) says whether given data is like that. With numbers of one range, errors are a few times
        those of direct sums. NaN and infinities are where direct sums have them. "highest" never uses it.

    Raises
    ------
    ValueError
        For any other value.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {PRECISIONS}, got {precision!r}")
    settings.float32_conv_precision = precision
    forget()


def get_float32_conv_precision() -> str:
    """The precision of float32 convolutions: "highest" or "high"."""
    return settings.float32_conv_precision

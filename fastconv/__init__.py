"""fastconv: compiled CNN kernels behind NumPy arrays.

``fastconv.conv2d(x, w, b)`` and its family take arrays and return arrays; `fastconv.layers` and `fastconv.networks`
build networks of them; ``python -m fastconv script.py`` runs a book-style script on them without an edit.
"""

from ._device import cuda_stream, to_device, to_host
from ._dispatch import backend, backends, set_backend
from ._memory import empty_cache, memory_stats
from ._settings import get_float32_conv_precision, set_float32_conv_precision
from ._threads import get_num_threads, set_num_threads
from ._version import __version__
from .diagnostics import explain, show_config
from .ops import *  # noqa: F403
from .ops import __all__ as _operations


def install(float32: bool = False) -> None:
    """Let a program's own classes and functions compute with fastconv where they prove equal to it.

    What ``python -m fastconv SCRIPT`` does, inside of a program or a notebook: modules such as the program's own
    ``common.layers`` are looked at, whether they are imported already or later. A second call changes nothing;
    `uninstall` undoes it.

    Parameters
    ----------
    float32 : bool
        Compute in float32, and make parameters float32, whatever the program has.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.install()
    >>> fastconv.uninstall()
    """
    from . import programs

    programs.install(float32)


def uninstall() -> None:
    """Undo `install`: the program's classes and functions are its own again."""
    from . import programs

    programs.uninstall()


def load_ipython_extension(ipython: object) -> None:
    """``%load_ext fastconv`` in a notebook: `install`, also for functions that its cells define from then on."""
    from . import programs

    install()
    programs.watch_cells(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """``%unload_ext fastconv`` in a notebook: `uninstall`."""
    from . import programs

    uninstall()
    programs.forget_cells(ipython)


__all__ = [
    "__version__",
    "backend",
    "backends",
    "cuda_stream",
    "empty_cache",
    "explain",
    "get_float32_conv_precision",
    "get_num_threads",
    "install",
    "memory_stats",
    "set_backend",
    "set_float32_conv_precision",
    "set_num_threads",
    "show_config",
    "to_device",
    "to_host",
    "uninstall",
    *_operations,
]

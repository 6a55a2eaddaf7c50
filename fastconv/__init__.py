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

__all__ = [
    "__version__",
    "backend",
    "backends",
    "cuda_stream",
    "empty_cache",
    "explain",
    "get_float32_conv_precision",
    "get_num_threads",
    "memory_stats",
    "set_backend",
    "set_float32_conv_precision",
    "set_num_threads",
    "show_config",
    "to_device",
    "to_host",
    *_operations,
]

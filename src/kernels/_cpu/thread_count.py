"""The most threads a kernel may use, one number for the process: the engine's, or in a build without it a plain one."""

from typing import SupportsIndex

from .limits import default_threads, thread_count

try:
    from .engine import get_num_threads, set_num_threads
except ImportError:
    _count = default_threads()

    def get_num_threads() -> int:
        return _count

    def set_num_threads(n: SupportsIndex) -> None:
        global _count
        _count = thread_count("n", n)

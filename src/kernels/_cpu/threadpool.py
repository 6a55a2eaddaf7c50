"""Makes `threadpoolctl` see and limit fastconv's threads: importing this module registers the controller.

The engine imports it when threadpoolctl is already there, as it is in programs that use scikit-learn; otherwise
`import fastconv.kernels._cpu.threadpool` does it.
"""

from threadpoolctl import LibController, register

from fastconv._version import __version__


class FastconvController(LibController):
    """threadpoolctl's view of the engine's thread pool."""

    user_api = "fastconv"
    internal_api = "fastconv"
    filename_prefixes = ("engine.",)
    check_symbols = ("fastconv_get_num_threads", "fastconv_set_num_threads")

    def get_num_threads(self) -> int:
        return self.dynlib.fastconv_get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.fastconv_set_num_threads(num_threads)

    def get_version(self) -> str:
        return __version__


register(FastconvController)

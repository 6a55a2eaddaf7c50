"""Optional packages: imported where they are used, with one way to say that one is missing."""

import importlib
from types import ModuleType


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Parameters
    ----------
    module : str
        The module to import, e.g. ``"sklearn.datasets"``.
    extra : str
        The extra of fastconv that installs it, e.g. ``"demo"``.
    purpose : str
        What it is needed for; the error message begins with it.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed, naming the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"{purpose} needs {package}, which is not installed: pip install 'fastconv[{extra}]'",
            name=package,
        ) from None

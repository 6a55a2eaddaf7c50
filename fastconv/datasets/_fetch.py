"""Where the files of a data set are: a folder of the user's, or a cache filled by download."""

import os
from importlib.util import find_spec
from pathlib import Path

from .._extras import require


def folder(data: str | os.PathLike[str]) -> Path:
    """The user's folder, or an error that says what is wrong with it."""
    path = Path(data).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no such folder: {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"not a folder: {path}")
    return path


def download(dataset: str, base_url: str, checksums: dict[str, str]) -> Path:
    """Fetch files into the cache and return its folder; what is there already is only checked.

    The cache is the folder ``fastconv`` of the user's cache, or the folder named by ``FASTCONV_DATA``.

    Parameters
    ----------
    dataset : str
        Sub-folder of the cache.
    base_url : str
        What precedes the file names, with its slash.
    checksums : dict
        File name -> MD5, as the data set's authors publish it.

    Raises
    ------
    ModuleNotFoundError
        If pooch is not installed.
    ConnectionError
        If a file cannot be downloaded.
    ValueError
        If what came does not have the expected checksum.
    """
    pooch = require("pooch", "data", f"downloading {dataset} (or pass a folder that has the files)")
    cache = Path(os.environ.get("FASTCONV_DATA") or pooch.os_cache("fastconv")) / dataset
    bar = find_spec("tqdm") is not None
    for name, md5 in checksums.items():
        url = base_url + name
        try:
            pooch.retrieve(url, f"md5:{md5}", fname=name, path=cache, progressbar=bar)
        except OSError as error:
            raise ConnectionError(
                f"cannot download {url} to {cache}: {_root_cause(error)}; "
                f"without a network, pass a folder that has the files"
            ) from error
    return cache


def _root_cause(error: BaseException) -> str:
    """The one line at the bottom of a chain of network errors."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error).splitlines()[0] if str(error) else type(error).__name__

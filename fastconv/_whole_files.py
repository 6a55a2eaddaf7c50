"""Files that are replaced only when the new one is whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """A file beside `path` to write to: it takes the place of `path` when the block ends, and is removed if it fails.

    Parameters
    ----------
    path : path

    Yields
    ------
    Path
        Of the new file, in the same folder.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()

"""Parameter files: dicts of named float arrays in .npz, .safetensors and (reading only) the book's .pkl."""

import errno
import math
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _unpickle
from .._extras import require
from .._whole_files import PathLike, replacing

Array = npt.NDArray[Any]
_MOST_DEFLATED = 1032  # bytes that a byte of a deflated member can stand for


def write(path: PathLike, arrays: Mapping[str, Array]) -> None:
    """Write named arrays, in the format that the suffix names; a file is replaced only when the new one is whole.

    Raises
    ------
    ValueError
        If the suffix is none of .npz, .safetensors and .pkl.
    """
    path = Path(path)
    dense = {key: np.ascontiguousarray(a) for key, a in arrays.items()}
    with replacing(path) as unfinished:
        if path.suffix == ".npz":
            with open(unfinished, "wb") as file:
                np.savez(file, allow_pickle=False, **dense)
        elif path.suffix == ".safetensors":
            _safetensors().save_file(dense, unfinished)
        elif path.suffix == ".pkl":  # as the book's networks write it
            with open(unfinished, "wb") as file:
                pickle.dump(dense, file)
        else:
            raise ValueError(f"path: expected a name ending in .npz, .safetensors or .pkl, got {str(path)!r}")


def read(path: PathLike, kinds: str = "f") -> dict[str, Array]:
    """Read named arrays of these kinds of dtype; no code of the file is run.

    Raises
    ------
    ValueError
        If the suffix is none of .npz, .safetensors and .pkl, or the file holds anything but named float arrays.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors, ".pkl": _read_pickle}
    if path.suffix not in readers:
        raise ValueError(f"path: expected a name ending in {', '.join(readers)}, got {str(path)!r}")
    try:
        arrays = readers[path.suffix](path)
    except ImportError:
        raise
    except Exception as error:  # whatever a broken or foreign file makes its reader raise
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: it points to before its beginning
            raise
        raise ValueError(f"path: {path} is no parameter file ({error})") from error
    if not isinstance(arrays, dict):
        raise ValueError(f"path: expected {path} to hold a dict of arrays, got {type(arrays).__name__}")
    for key, a in arrays.items():
        if not (isinstance(key, str) and isinstance(a, np.ndarray) and a.dtype.kind in kinds):
            kind = a.dtype if isinstance(a, np.ndarray) else type(a).__name__
            raise ValueError(f"path: expected {path} to hold float arrays under names, got {kind} under {key!r}")
    return arrays


def check_names(path: PathLike, missing: Iterable[str], unknown: Iterable[str]) -> None:
    """Raise if a file has not the names that a network expects; the message shows the first few of each kind."""
    if missing or unknown:
        raise ValueError(f"path: {path} does not fit this network: missing {_few(missing)}, unknown {_few(unknown)}")


def _few(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(map(repr, names[:most]))}]{more}"


def _safetensors() -> Any:
    return require("safetensors.numpy", "demo", "a .safetensors file")


def _read_npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _check_member(archive, member, path.stat().st_size)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> None:
    """Raise unless an array is as large as it says, before the memory that it asks for is taken."""
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _MOST_DEFLATED}.get(member.compress_type, 0)
    if member.compress_size > limit or member.file_size > most * member.compress_size:
        raise ValueError(f"{member.filename} cannot have {member.file_size} bytes")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_2_0 if version > (1, 0) else np.lib.format.read_array_header_1_0
        shape, _, dtype = header(file)
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"{member.filename} of {member.file_size} bytes cannot be {dtype} of shape {shape}")


def _read_safetensors(path: Path) -> dict[str, Array]:
    return _safetensors().load_file(path)


def _read_pickle(path: Path) -> Any:
    with open(path, "rb") as file:
        return _unpickle.load(file)

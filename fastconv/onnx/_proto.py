"""A path, bytes or a ModelProto into a ModelProto and its arrays. Reading is the package onnx's."""

import math
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._extras import require

Array = npt.NDArray[Any]

_MOST_NUMBERS = 1 << 40  # of one tensor


def onnx(module: str = "onnx") -> ModuleType:
    """The package onnx, or one of its modules."""
    return require(module, "onnx", "a model in ONNX's format")


class ModelError(ValueError):
    """A model that cannot be used: what is wrong with it, and where."""


def read(source: Any) -> tuple[Any, str, Path | None]:
    """The ModelProto, what errors call it, and the folder of the file.

    Raises
    ------
    ValueError
        If it is no model.
    """
    package = onnx()
    if isinstance(source, package.ModelProto):
        return source, "model", None
    name, folder = "model", None
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        name, folder = str(path), path.resolve().parent
        source = path.read_bytes()
    elif not isinstance(source, bytes | bytearray | memoryview):
        raise TypeError(f"source: expected a path, bytes or a ModelProto, got {type(source).__name__}")
    proto = package.ModelProto()
    try:
        proto.ParseFromString(bytes(source))
    except Exception as error:  # protobuf's DecodeError, whose module differs from version to version
        raise ModelError(f"{name}: cannot be read as an ONNX model ({error})") from None
    return proto, name, folder


def inlined(proto: Any, name: str) -> Any:
    """The model with the nodes of its own functions in the places where they are called."""
    try:
        return onnx("onnx.inliner").inline_local_functions(proto)
    except Exception as error:
        raise ModelError(f"{name}: its functions cannot be put in their places ({error})") from None


def type_of(number: int, what: str) -> np.dtype:
    """NumPy's dtype of one of ONNX's.

    Raises
    ------
    ModelError
        If NumPy has none.
    """
    types = onnx().TensorProto
    known = {
        types.FLOAT: "f4", types.DOUBLE: "f8", types.FLOAT16: "f2", types.BOOL: "?",
        types.INT8: "i1", types.INT16: "i2", types.INT32: "i4", types.INT64: "i8",
        types.UINT8: "u1", types.UINT16: "u2", types.UINT32: "u4", types.UINT64: "u8",
    }  # fmt: skip
    if number not in known:
        names = {value: key for key, value in types.DataType.items()}
        raise ModelError(f"{what}: has numbers of type {names.get(number, number)}, which is not supported")
    return np.dtype(known[number])


def widened(x: Array) -> Array:
    """float16 as float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def array(tensor: Any, what: str, folder: Path | None) -> Array:
    """A TensorProto's numbers; those of float16 as float32, in which all that is float16 is computed.

    Raises
    ------
    ModelError
        If they are not as many as its shape says, or lie in a file outside of the model's folder.
    """
    return widened(_as_stored(tensor, what, folder))


def _as_stored(tensor: Any, what: str, folder: Path | None) -> Array:
    dtype = type_of(tensor.data_type, what)
    shape = tuple(tensor.dims)
    if any(n < 0 for n in shape) or math.prod(shape) > _MOST_NUMBERS:
        raise ModelError(f"{what}: cannot have the shape {list(shape)}")
    if tensor.HasField("segment"):
        raise ModelError(f"{what}: is a segment of a tensor, which is not supported")
    if tensor.data_location == onnx().TensorProto.EXTERNAL:
        return _external(tensor, what, folder, dtype, shape)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise ModelError(f"{what}: {len(raw)} bytes do not fit the shape {list(shape)} of {dtype}")
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    try:
        numbers = onnx("onnx.numpy_helper").to_array(tensor)
    except Exception as error:
        raise ModelError(f"{what}: cannot be read ({error})") from None
    if numbers.shape != shape or numbers.dtype != dtype:
        raise ModelError(f"{what}: its numbers do not fit the shape {list(shape)} of {dtype}")
    return numbers


def _external(tensor: Any, what: str, folder: Path | None, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
    """Numbers that lie in a file beside the model's."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(f"{what}: lies in the file {location!r}; give the path of the model to load it with its data")
    size = math.prod(shape) * dtype.itemsize
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise ModelError(f"{what}: the place in its file is not a number") from None
    path = inside(folder, location, what)
    if length != size or offset < 0:
        raise ModelError(f"{what}: {length} bytes from byte {offset} on do not fit the shape {list(shape)} of {dtype}")
    if offset + size > path.stat().st_size:
        raise ModelError(f"{what}: its file {location!r} has {path.stat().st_size} bytes, not {offset + size}")
    numbers = np.fromfile(path, dtype.newbyteorder("<"), math.prod(shape), offset=offset)
    return numbers.astype(dtype, copy=False).reshape(shape)


def inside(folder: Path, location: str, what: str) -> Path:
    """The path of a regular file inside of the folder, links followed.

    Raises
    ------
    ModelError
        If it is elsewhere, or no regular file.
    """
    try:
        path = (folder / location).resolve() if location else folder
    except (OSError, ValueError, RuntimeError):
        path = folder
    if os.path.isabs(location) or "\\" in location or not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{what}: lies in {location!r}, outside of the model's folder; nothing there is read")
    if not path.is_file():
        raise ModelError(f"{what}: its file {location!r} is not in the model's folder")
    return path

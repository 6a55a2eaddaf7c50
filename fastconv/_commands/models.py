"""MODEL of the command line: an ONNX file, or a network of this library with saved parameters."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import networks, onnx
from ..networks import Network, _files
from ..onnx import Value

Array = npt.NDArray[Any]

HELP = "an ONNX file"
HELP_SAVED = "an ONNX file, or NAME:FILE, a network of fastconv.networks and its saved parameters"

_PARAMETERS = ".npz", ".safetensors", ".pkl"  # the suffixes of files that hold parameters alone


class Model(Protocol):
    """What predicts."""

    @property
    def inputs(self) -> Sequence[Value]: ...
    @property
    def outputs(self) -> Sequence[Value]: ...
    def __call__(self, *arrays: Any, **named: Any) -> Any: ...


def opened(text: str) -> Model:
    """The model that a user names.

    Raises
    ------
    ValueError, OSError
        If there is none.
    """
    name, colon, file = text.partition(":")
    if colon and name.isidentifier() and Path(file).suffix in _PARAMETERS and not Path(text).exists():
        return _Saved(_network(name, Path(file)))
    return onnx.load(onnx_file(text))


def onnx_file(text: str) -> Path:
    """The path of an ONNX file."""
    path = Path(text)
    if path.suffix in _PARAMETERS:
        raise ValueError(f"{text}: holds parameters without a network; expected NAME:{text}, as in ResNet18:{text}")
    if path.is_dir():
        raise ValueError(f"{text}: expected an ONNX file, got a folder")
    if not path.exists():
        raise ValueError(f"{text}: no such file")
    return path


class _Saved:
    """A network of the library as a model."""

    def __init__(self, net: Network) -> None:
        self._predict = net.compile()
        self._dtype = next(iter(net.params.values())).dtype
        self.inputs = [Value("x", _input_shape(net), self._dtype)]
        self.outputs = [Value("y", None, self._dtype)]

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        (x,) = (*arrays, *named.values())
        return self._predict(np.ascontiguousarray(x, self._dtype))


def _input_shape(net: Network) -> tuple[int | str | None, ...] | None:
    """What the first layer takes, as far as its weights tell."""
    first = net.graph().nodes[0]
    if first.kind == "conv2d":
        return "N", first.layer.W.shape[1] * first.layer.groups, None, None
    return ("N", len(first.layer.W)) if first.kind == "affine" else None


def _network(name: str, file: Path) -> Network:
    """A network by its name with parameters that `save_params` or `save_torch` wrote.

    Its dtype is the file's; so is the number of classes, where the network takes one.
    """
    if name not in networks.__all__:
        raise ValueError(f"{name}:{file}: fastconv.networks has no {name}")
    arrays = _files.read(file, kinds="fiu")
    make: Any = getattr(networks, name)
    parameters = inspect.signature(make).parameters
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if required:
        raise ValueError(f"{name}:{file}: {name} cannot be made without {', '.join(required)}")
    floats = [a for a in arrays.values() if a.dtype.kind == "f"]
    if not floats:
        raise ValueError(f"{name}:{file}: the file has no parameters")
    options: dict[str, Any] = {"dtype": floats[0].dtype, "rng": 0}
    net: Network = make(**options)
    theirs = file.suffix == ".safetensors" and not net.params.keys() <= arrays.keys()
    last = _last(net, theirs)
    if "classes" in parameters and last[0] in arrays and len(arrays[last[0]]) != last[1]:
        net = make(classes=len(arrays[last[0]]), **options)
    if theirs:
        net.load_torch(file)
    else:
        net.load_params(file)
    return net


def _last(net: Network, theirs: bool) -> tuple[str, int]:
    """The name of the last bias in a file, and how many numbers this network has there."""
    name, array = list(net.params.items())[-1]
    return (f"{name.removesuffix('.b')}.bias" if theirs else name), len(array)

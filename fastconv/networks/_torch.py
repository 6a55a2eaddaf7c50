"""Weights to and from PyTorch: torchvision's names and layouts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._device import to_host
from ..graph.nodes import dotted, walk
from ..graph.parameters import Parameter, statistics_of, trainable_of
from . import _files

_NAMES = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "Wx": "weight_ih",
    "Wh": "weight_hh",
}
_COUNTER = "num_batches_tracked"  # PyTorch counts batches; nothing here depends on it


@dataclass(frozen=True, slots=True)
class _Entry:
    """One array: PyTorch's name, where it belongs, and whether PyTorch has it transposed (Linear: (out, in))."""

    name: str
    layer: Any
    attribute: str
    transposed: bool


def _entries(network: Any) -> Iterator[_Entry]:
    for path, layer, _ in walk(network):
        for attribute in (*trainable_of(layer), *statistics_of(layer)):
            if hasattr(getattr(layer, attribute, None), "shape"):
                name = dotted(path, _NAMES.get(attribute, attribute))
                yield _Entry(name, layer, attribute, getattr(layer, "kind", "") == "affine" and attribute == "W")


def _read(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return {name: _array(name, a) for name, a in source.items()}
    if Path(source).suffix != ".safetensors":
        raise ValueError(f"source: expected a .safetensors file or a mapping of arrays, got {str(source)!r}")
    return _files.read(source, kinds="fiu")


def _array(name: str, a: Any) -> np.ndarray:
    a = a.detach().cpu().numpy() if hasattr(a, "detach") else np.asarray(a)
    if a.dtype.kind not in "fiu":
        raise TypeError(f"source[{name!r}]: expected an array of numbers, got dtype {a.dtype}")
    return a


def load(network: Any, source: Any, strict: bool) -> tuple[list[str], list[str]]:
    """See `Network.load_torch`."""
    network._program()
    given = _read(source)
    entries = list(_entries(network))
    wanted = {entry.name for entry in entries}
    missing = sorted(wanted - given.keys())
    unexpected = sorted(name for name in given.keys() - wanted if not name.endswith(_COUNTER))
    if strict:
        label = "the mapping" if isinstance(source, Mapping) else source
        _files.check_names(label, missing, unexpected)
    owners, arrays = {}, {}
    for entry in entries:
        if entry.name in given:
            a = given[entry.name]
            owners[entry.name] = Parameter(entry.name, entry.attribute, _places(network, entry))
            arrays[entry.name] = a.T if entry.transposed else a
    network._give(owners, arrays, "source: expected {name} of shape {expected} (in fastconv's layout), got {given}")
    return missing, unexpected


def _places(network: Any, entry: _Entry) -> list[tuple[Any, str]]:
    """Everywhere the array of an entry is used: it stays one array."""
    for owner in network._owners.values():
        if any(layer is entry.layer and attribute == entry.attribute for layer, attribute in owner.places):
            return owner.places
    return [(entry.layer, entry.attribute)]


def save(network: Any, path: _files.PathLike) -> None:
    """See `Network.save_torch`."""
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path: expected a name ending in .safetensors, got {str(path)!r}")
    arrays = {}
    for entry in _entries(network):
        a = to_host(getattr(entry.layer, entry.attribute))
        arrays[entry.name] = a.T if entry.transposed else a
        if entry.attribute == "running_mean":
            arrays[f"{entry.name.rpartition('.')[0]}.{_COUNTER}".lstrip(".")] = np.zeros((), np.int64)
    _files.write(path, arrays)

"""The arrays of a tree of layers under their names: parameters to train, and running statistics."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from .nodes import dotted, walk


@dataclass(slots=True)
class Parameter:
    """One array, and every place of a network that uses it.

    Attributes
    ----------
    name : str
        The dotted name of the first place, or the book's.
    attribute : str
        What its first layer calls it, "W".
    places : list of (layer, attribute)
    """

    name: str
    attribute: str
    places: list[tuple[Any, str]] = field(default_factory=list)

    @property
    def array(self) -> Any:
        """The array in use."""
        layer, attribute = self.places[0]
        return getattr(layer, attribute)

    @array.setter
    def array(self, value: Any) -> None:
        for layer, attribute in self.places:
            setattr(layer, attribute, value)

    @property
    def gradient(self) -> Any:
        """The sum of the gradients of all places; None where none has one."""
        if len(self.places) == 1:  # the usual parameter, in half of the time
            layer, attribute = self.places[0]
            return getattr(layer, f"d{attribute}", None)
        total = None
        for layer, attribute in self.places:
            gradient = getattr(layer, f"d{attribute}", None)
            if gradient is not None:
                total = gradient if total is None else total + gradient
        return total


class Parameters(dict[str, Any]):
    """The parameters of a network by name, the very arrays that its layers use.

    ``params[name] = array`` gives the layers the array, which must have the shape of the one before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owners: Mapping[str, Parameter] = {}

    def show(self, owners: Mapping[str, Parameter]) -> None:
        """Have exactly these parameters, with the arrays that the layers use now."""
        self._owners = owners
        if list(self) != list(owners):  # else a loop over the names, which gives new arrays, goes on
            self.clear()
        for name, owner in owners.items():
            super().__setitem__(name, owner.array)

    def __setitem__(self, name: str, value: Any) -> None:
        owner = self._owners.get(name)
        if owner is None:
            raise KeyError(f"params: this network has no parameter {name!r}")
        before = owner.array
        if getattr(value, "shape", None) != before.shape:
            raise ValueError(
                f"params[{name!r}]: expected an array of shape {before.shape}, got {getattr(value, 'shape', value)}"
            )
        owner.array = value
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"params: {name!r} belongs to a layer and cannot be taken out of a network")

    def __reduce__(self) -> Any:
        return dict, (dict(self.items()),)


def numbered(layers: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The book's names: a layer's number in the place of its path, counted along the layers with a W."""
    number = 0
    for _, layer in layers:
        number += "W" in trainable_of(layer)
        yield str(number), layer


def collect(root: Any, *, book: bool = False) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """The parameters and the running statistics of a container by name.

    An array in several places is one parameter, named by the first. A number in the place of an array (a scalar gamma)
    is a constant, no parameter.

    Raises
    ------
    ValueError
        If two arrays share a part of their memory, so that an update of one would change the other.
    """
    layers = ((path, layer) for path, layer, _ in walk(root))
    parameters: dict[str, Parameter] = {}
    statistics: dict[str, Parameter] = {}
    by_memory: dict[Any, Parameter] = {}
    seen: set[tuple[int, str]] = set()
    for path, layer in numbered(layers) if book else layers:
        for owners, names in ((parameters, trainable_of(layer)), (statistics, statistics_of(layer))):
            for attribute in names:
                a = getattr(layer, attribute, None)
                if (id(layer), attribute) in seen or (owners is parameters and not hasattr(a, "shape")):
                    continue
                seen.add((id(layer), attribute))
                name = f"{attribute}{path}" if book else dotted(path, attribute)
                if name in owners:
                    raise ValueError(f"layers: two of them would have a parameter of the name {name!r}")
                owner = by_memory.get(_memory_of(a)) if owners is parameters else None
                if owner is None:
                    owner = owners[name] = Parameter(name, attribute)
                    by_memory[_memory_of(a)] = owner
                owner.places.append((layer, attribute))
    _refuse_overlap(parameters.values())
    return parameters, statistics


def trainable_of(layer: Any) -> tuple[str, ...]:
    return tuple(getattr(layer, "trainable", ()))


def statistics_of(layer: Any) -> tuple[str, ...]:
    return tuple(getattr(layer, "statistics", ()))


def _memory_of(a: Any) -> Any:
    """The same for two arrays only if they are the same numbers in the same shape."""
    if type(a) is not np.ndarray or a.size == 0:
        return id(a)
    return a.__array_interface__["data"][0], a.shape, a.strides, a.dtype.str


def _refuse_overlap(parameters: Iterable[Parameter]) -> None:
    owners = [p for p in parameters if isinstance(p.array, np.ndarray) and p.array.size]
    bounds = sorted((*np.lib.array_utils.byte_bounds(p.array), i) for i, p in enumerate(owners))
    for (_, end, i), (start, _, j) in pairwise(bounds):
        if start < end and np.shares_memory(owners[i].array, owners[j].array):
            raise ValueError(f"layers: {owners[i].name} and {owners[j].name} share a part of their memory; copy one")

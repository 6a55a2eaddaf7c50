"""Checkpoint files, and the states of random generators that go into them.

A checkpoint is an .npz file: its arrays, and beside them the tree of numbers, strings, lists and dicts that they belong
to, as JSON. No code of a file is run.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np

from ._whole_files import PathLike, replacing

Place: TypeAlias = tuple[tuple[str, Any], ...]

_FORMAT = "fastconv checkpoint 1"
_ARRAY = "array number"
_MOST = 1000  # items of a list that is searched for generators: longer ones are data


def write(path: PathLike, tree: Mapping[str, Any]) -> None:
    """Write a tree; a file is replaced only when the new one is whole.

    Raises
    ------
    TypeError
        If it holds anything but numbers, strings, None, arrays, and lists and dicts of these under strings.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps({"format": _FORMAT, "tree": _packed(tree, arrays)})
    named = {f"a{i}": a for i, a in enumerate(arrays)}
    with replacing(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, allow_pickle=False, tree=np.frombuffer(text.encode(), np.uint8), **named)
        file.flush()
        os.fsync(file.fileno())


def read(path: PathLike) -> dict[str, Any]:
    """Read what `write` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no whole checkpoint.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = json.loads(bytes(file["tree"]).decode())
            if stored["format"] != _FORMAT:
                raise ValueError(f"its format is {stored['format']!r}, expected {_FORMAT!r}")
            return _unpacked(stored["tree"], file)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a broken or foreign file makes its readers raise
        raise ValueError(f"path: {os.fspath(path)} is no whole checkpoint ({error})") from error


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key != _ARRAY for key in value):
            raise TypeError(f"a checkpoint holds dicts under strings, got the keys {list(value)[:5]}")
        return {key: _packed(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(item, arrays) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"a checkpoint holds numbers, strings, arrays, lists and dicts, got {type(value).__name__}")


def _unpacked(value: Any, file: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return file[f"a{value[_ARRAY]}"]
        return {key: _unpacked(item, file) for key, item in value.items()}
    return [_unpacked(item, file) for item in value] if isinstance(value, list) else value


# --- random generators ------------------------------------------------------------------------------------------------


def generators(root: Any) -> list[tuple[Place, np.random.Generator]]:
    """All NumPy generators that an object holds, in its attributes, lists and dicts, each once, with their places."""
    return list(_generators(root, (), set()))


def _generators(a: Any, place: Place, seen: set[int]) -> Iterator[tuple[Place, np.random.Generator]]:
    if id(a) in seen:
        return
    seen.add(id(a))
    if isinstance(a, np.random.Generator):
        yield place, a
        return
    items: Iterable[tuple[Any, Any]] = ()
    kind = "item"
    if isinstance(a, Mapping):
        items = a.items()
    elif isinstance(a, (list, tuple)):
        items = enumerate(a) if len(a) <= _MOST else ()
    elif not isinstance(a, (type, FunctionType, MethodType, ModuleType)):
        kind, items = "attribute", getattr(a, "__dict__", {}).items()
    for name, item in items:
        yield from _generators(item, (*place, (kind, name)), seen)


def states_of(found: Iterable[tuple[Place, np.random.Generator]]) -> list[dict[str, Any]]:
    """The states of an object's generators, and their places."""
    return [{"place": place, "state": generator.bit_generator.state} for place, generator in found]


def check_states(root: Any, states: Sequence[Mapping[str, Any]]) -> None:
    """Refuse states that `set_states` could not set.

    Raises
    ------
    ValueError
        When the generators of the object are not those that the states are of.
    """
    found = [_at(root, entry["place"]) for entry in states]
    for entry, generator in zip(states, found, strict=True):
        kind, wanted = getattr(generator, "bit_generator", None), entry["state"]["bit_generator"]
        makes = generator is None and entry["place"] and entry["place"][-1][0] == "attribute"
        if not makes and type(kind).__name__ != wanted:
            raise ValueError(f"expected a random generator {wanted} at {_words(entry['place'])}, got {generator!r}")
        getattr(np.random, wanted)().state = entry["state"]
    for place, generator in generators(root):
        if not any(generator is other for other in found):
            raise ValueError(f"no state of the random generator at {_words(place)}")


def set_states(root: Any, states: Sequence[Mapping[str, Any]]) -> None:
    """Set the generators of an object. One that a first step makes, and that is None yet, is made."""
    for entry in states:
        generator = _at(root, entry["place"])
        if generator is None:
            generator = np.random.Generator(getattr(np.random, entry["state"]["bit_generator"])())
            setattr(_at(root, entry["place"][:-1]), entry["place"][-1][1], generator)
        generator.bit_generator.state = entry["state"]


def _at(root: Any, place: Iterable[Sequence[Any]]) -> Any:
    """What lies at a place."""
    for kind, name in place:
        try:
            root = root[name] if kind == "item" else getattr(root, name)
        except (AttributeError, LookupError, TypeError):
            raise ValueError(f"no random generator at {_words(place)}") from None
    return root


def _words(place: Iterable[Sequence[Any]]) -> str:
    return "".join(f".{name}" if kind == "attribute" else f"[{name!r}]" for kind, name in place)

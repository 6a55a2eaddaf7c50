"""Forward hooks: see what a layer gives while a network runs."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy.typing as npt

from .graph.nodes import walk

Array = npt.NDArray[Any]
Hook = Callable[[Any, tuple[Any, ...], Any], Any]


class Handle:
    """A hook that is in place; `remove` takes it away, and so does the end of a `with` block."""

    def __init__(self, layer: Any, hook: Hook) -> None:
        self._layer = layer
        self._hooked: Callable[..., Any] | None
        self._before = vars(layer).get("forward")
        forward = layer.forward

        def hooked(*inputs: Any, **options: Any) -> Any:
            output = forward(*inputs, **options)
            changed = hook(layer, inputs, output)
            return output if changed is None else changed

        layer.forward = self._hooked = hooked

    def remove(self) -> None:
        """Restore the layer's own `forward`; a second call changes nothing.

        Raises
        ------
        RuntimeError
            If a later hook of the same layer is still in place.
        """
        if self._hooked is None:
            return
        if vars(self._layer).get("forward") is not self._hooked:
            raise RuntimeError("hooks of one layer are removed in reverse order: a later one is still in place")
        if self._before is None:
            del self._layer.forward
        else:
            self._layer.forward = self._before
        self._hooked = None

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def on_forward(layer: Any, hook: Hook) -> Handle:
    """Call `hook(layer, inputs, output)` after every `forward` of a layer.

    Parameters
    ----------
    layer
        Any object with a `forward` method.
    hook : callable
        `inputs` is the tuple of `forward`'s positional arguments. A result that is not None replaces the output.

    Returns
    -------
    Handle
    """
    return Handle(layer, hook)


def named_layers(network: Any) -> dict[Hashable, Any]:
    """The layers of a network by name, or by position where `network.layers` is a list.

    Behind them, by their dotted paths, the layers inside of them.
    """
    layers = network.layers
    outer = dict(layers if isinstance(layers, Mapping) else enumerate(layers))
    inner = {path: layer for path, layer, _ in walk(network)} if hasattr(network, "children") else {}
    return {**outer, **{path: layer for path, layer in inner.items() if not any(path == str(key) for key in outer)}}


def _keep(maps: dict[Hashable, Array], name: Hashable, layer: Any, inputs: Any, output: Array) -> None:
    maps[name] = output.copy()


def feature_maps(network: Any, x: Array, layers: Iterable[Hashable] | None = None) -> dict[Hashable, Array]:
    """What the layers give when a network predicts x.

    Parameters
    ----------
    network
        Has `layers` (a dict or a list) and `predict(x)`.
    x : ndarray (N, ...)
    layers : iterable of names, dotted paths or positions, optional
        Which layers; all that `network.layers` holds, if None.

    Returns
    -------
    dict of ndarray
        In the order of `layers`.

    Raises
    ------
    KeyError
        If the network has no layer of that name.
    """
    known = named_layers(network)
    held = network.layers if isinstance(network.layers, Mapping) else range(len(network.layers))
    wanted = list(held if layers is None else layers)
    maps: dict[Hashable, Array] = {}
    with ExitStack() as hooks:
        for name in wanted:
            hooks.enter_context(on_forward(known[name], partial(_keep, maps, name)))
        network.predict(x)
    return {name: maps[name] for name in wanted}

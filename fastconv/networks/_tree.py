"""A network as a tree of layers: its graph, its parameters by name, and the files that hold them."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .._device import to_device, to_host
from ..graph import Graph, Parameter, Parameters, Training, Watch
from ..graph.nodes import Child, walk
from ..graph.parameters import collect
from ..layers.containers import Container, as_layer, nested
from . import _files, _summary, _torch

Array = npt.NDArray[Any]


class Tree(Container):
    """What a network knows of its layers, without a loss: `Network` is this and what trains it."""

    layers: Any
    device: str
    _book_names: ClassVar[bool] = False

    def __init__(self, layers: Any) -> None:
        self.layers = nested(layers)
        self.device = "cpu"
        self._frozen: dict[int, Any] = {}  # layers by their ids
        self._params = Parameters()
        self._owners: dict[str, Parameter] = {}
        self._statistics: dict[str, Parameter] = {}
        self._program()

    def children(self) -> Iterator[Child]:
        items = self.layers.items() if isinstance(self.layers, Mapping) else enumerate(self.layers)
        return (Child(str(key), self.layers, key) for key, _ in items)

    def connect(self, graph: Graph, x: int, path: str) -> int:
        for child in self.children():
            x = graph.apply(child.layer, x, f"{path}.{child.name}" if path else child.name)
        return x

    def _program(self) -> Training:
        """The graph made ready, and the parameters found, anew where the layers or their arrays were replaced."""
        training = self._training
        if training is None or training.frozen is not self._frozen or not self._watch.unchanged():
            training = self._training = Training(Graph(self), self._frozen)
            self._watch = Watch(training.graph.bindings, holders=training.graph.holders)
            self._collect()
        elif not self._arrays.unchanged() or (self._odd and self._odd_moved()):
            self._collect()
        return training

    def _collect(self) -> None:
        """Find the parameters, and watch the places of their arrays."""
        self._owners, self._statistics = collect(self, book=self._book_names)
        self._params.show(self._owners)
        self._trained = [
            (name, owner)
            for name, owner in self._owners.items()
            if any(id(layer) not in self._frozen for layer, _ in owner.places)
        ]
        places = [place for owner in self._owners.values() for place in owner.places]
        plain = [(vars(layer), name) for layer, name in places if name in getattr(layer, "__dict__", {})]
        self._arrays = Watch(plain)
        self._odd = [
            (layer, name, getattr(layer, name)) for layer, name in places if name not in getattr(layer, "__dict__", {})
        ]

    def _odd_moved(self) -> bool:
        """Whether an array was replaced that is no plain attribute of its layer, as a property is."""
        return any(getattr(layer, name) is not array for layer, name, array in self._odd)

    def graph(self) -> Graph:
        """The graph of operations that the layers make now."""
        return self._program().graph

    def every_layer(self) -> list[Any]:
        """All layers once, those inside of others too."""
        return list({id(layer): layer for _, layer, _ in walk(self)}.values())

    def layer(self, name: str | int) -> Any:
        """A layer by its dotted path, "layer1.0.conv1", or by its position.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return self._child(name).layer

    def _child(self, name: str | int) -> Child:
        for path, _, child in walk(self):
            if path == str(name):
                return child
        known = ", ".join(path for path, _, _ in walk(self))
        raise KeyError(f"no layer {name!r} in this network, which has {known[:300]}")

    def replace(self, name: str | int, layer: Any) -> None:
        """Put another layer, or a list or dict of them, in the place of one: a new head for other classes.

        Parameters
        ----------
        name : str
            The dotted path.
        layer : layer, or list or dict of layers
        """
        child = self._child(name)
        child.holder[child.key] = as_layer(layer, str(name))
        self._program()

    def freeze(self, *prefixes: str) -> None:
        """Do not train the layers whose paths begin with one of these; all layers, without prefixes.

        They get no gradients, nothing below the lowest trained layer is propagated to, and batch normalisations among
        them use and keep their running statistics.

        Raises
        ------
        KeyError
            If no layer's path begins so.
        """
        self._frozen = {**self._frozen, **self._layers_below(prefixes)}

    def unfreeze(self, *prefixes: str) -> None:
        """Train these layers again; all, without prefixes."""
        thawed = self._layers_below(prefixes)
        self._frozen = {key: layer for key, layer in self._frozen.items() if key not in thawed}

    def _layers_below(self, prefixes: tuple[str, ...]) -> dict[int, Any]:
        found = {}
        for prefix in prefixes or ("",):
            below = {
                id(layer): layer
                for path, layer, _ in walk(self)
                if not prefix or path == prefix or path.startswith(f"{prefix.removesuffix('.')}.")
            }
            if not below:
                raise KeyError(f"prefixes: no layer's path begins with {prefix!r}")
            found.update(below)
        return found

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_training", "_params", "_owners", "_statistics", "_watch", "_arrays", "_odd", "_trained")
        state = {name: value for name, value in vars(self).items() if name not in kept}
        return {**state, "_frozen": list(self._frozen.values())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _frozen={id(layer): layer for layer in state["_frozen"]}, _params=Parameters())

    @property
    def params(self) -> dict[str, Array]:
        self._program()
        return self._params

    @params.setter
    def params(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            self.params[name] = array

    def named_parameters(self) -> dict[str, Array]:
        """The arrays in use under their dotted paths."""
        if not self._book_names:
            return dict(self.params)
        return {name: owner.array for name, owner in collect(self)[0].items()}

    def named_statistics(self) -> dict[str, Array]:
        """The running statistics in use, under names like those of `params`."""
        self._program()
        return {name: owner.array for name, owner in self._statistics.items() if owner.array is not None}

    def _copied_statistics(self) -> dict[str, Array]:
        return {name: np.array(to_host(a)) for name, a in self.named_statistics().items()}

    def arrays(self) -> list[Any]:
        """The parameters and running statistics that the layers use now."""
        self._program()
        return [owner.array for owners in (self._owners, self._statistics) for owner in owners.values()]

    def to(self, device: str) -> "Tree":
        """Move the parameters and running statistics to a CUDA device, or back.

        There, a training step copies nothing to or from the host and does not wait for the device: `last_loss` is
        brought when `float` asks for it. Batches and labels given as ndarrays are moved on the way in; scores come back
        as device arrays.

        Parameters
        ----------
        device : {"cpu", "cuda"}

        Returns
        -------
        The network itself.

        Raises
        ------
        ValueError
            For another name, or a network that has no way to run there.
        RuntimeError
            When there is no device, no driver or no numba-cuda.
        """
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r}")
        self._program()
        if device == "cuda":
            on_host = sorted({type(a).__name__ for a in self.every_layer() if not getattr(a, "runs_on_cuda", False)})
            if on_host:
                raise ValueError(f"device: {', '.join(on_host)} of this network cannot run on 'cuda'")
        move = to_device if device == "cuda" else to_host
        for owner in (*self._owners.values(), *self._statistics.values()):
            if hasattr(owner.array, "shape"):
                owner.array = move(owner.array)
        self.device = device
        return self

    def _here(self, a: Any) -> Any:
        return to_device(a) if self.device == "cuda" else a

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers: path, kind, shape of the result, and number of parameters.

        Parameters
        ----------
        input_shape : tuple of int
            With the batch: (N, C, H, W).
        """
        return _summary.table(self, input_shape)

    def save_params(self, path: _files.PathLike = "params.npz") -> None:
        """Write the parameters, and the running statistics of batch normalisation, to a file.

        Parameters
        ----------
        path : str or path
            Ends in .npz, .safetensors or, as the book's networks write it, .pkl.

        Raises
        ------
        ValueError
            If it has another suffix.
        """
        _files.write(path, {key: to_host(a) for key, a in {**self.params, **self._copied_statistics()}.items()})

    def load_params(self, path: _files.PathLike = "params.npz") -> None:
        """Read what `save_params` wrote, or a .pkl that the book's networks wrote.

        The layers and `params` get new arrays, in the dtype of the present ones. No code of a .pkl is run.

        Parameters
        ----------
        path : str or path
            Ends in .npz, .safetensors or .pkl.

        Raises
        ------
        ValueError
            If the file is not of these formats, or its names or shapes are not this network's. Nothing is changed then.
        """
        self._program()
        owners = {**self._owners, **self._statistics}
        arrays = _files.read(path)
        # Statistics that a layer makes at its first call may be missing on either side.
        needed = {name for name, owner in owners.items() if owner.array is not None}
        _files.check_names(path, missing=needed - arrays.keys(), unknown=arrays.keys() - owners.keys())
        self._give(owners, arrays, f"path: expected {{name}} of shape {{expected}} in {path}, got {{given}}")

    def _give(self, owners: Mapping[str, Parameter], arrays: Mapping[str, Array], message: str) -> None:
        """Give arrays to the layers, in the dtypes of those before; nothing, if one has another shape."""
        dense = {}
        for name, a in arrays.items():
            before = owners[name].array
            if before is not None and a.shape != before.shape:
                raise ValueError(message.format(name=name, expected=before.shape, given=a.shape))
            dense[name] = a.astype(a.dtype if before is None else before.dtype, order="C")
        for name, a in dense.items():
            owners[name].array = self._here(a)

    def load_torch(self, source: Any, strict: bool = True) -> tuple[list[str], list[str]]:
        """Take the weights of a PyTorch network of the same structure, by torchvision's names.

        Parameters
        ----------
        source : str, path or mapping
            A .safetensors file, or names -> arrays (a state dict's tensors are taken as they are).
        strict : bool
            True: every array of the network must be there, and no other. False: what fits by name is taken.

        Returns
        -------
        (missing, unexpected) : lists of str
            PyTorch's names of this network's arrays that were not found, and names that this network does not have.

        Raises
        ------
        ValueError
            If names (when strict) or shapes do not fit. Nothing is changed then.
        """
        return _torch.load(self, source, strict)

    def save_torch(self, path: _files.PathLike) -> None:
        """Write the parameters and statistics as a .safetensors file that PyTorch's `load_state_dict` takes.

        Parameters
        ----------
        path : str or path
            Ends in .safetensors.
        """
        _torch.save(self, path)

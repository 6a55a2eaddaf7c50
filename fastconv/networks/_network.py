"""What every network has in common."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .._between import between
from .._device import like_given, to_device, to_host
from ..gradient import numerical_gradient
from ..layers import Affine, Convolution, Dropout, Pooling, Relu, SoftmaxWithLoss
from ..layers._layer import Layer, run, with_parts
from ..optim import Optimizer
from . import _blocks, _files
from ._captured import TrainingStep, labels
from ._compiled import Predictor

Array = npt.NDArray[Any]


class Network:
    """Layers in a row, with a loss behind them.

    The k-th layer with weights has its parameters under 'Wk' and 'bk'; a batch normalisation behind it has 'gammak' and
    'betak'. `params` holds the very arrays that the layers use.

    Parameters
    ----------
    layers : dict of layers, in order
    weight_decay_lambda : float
        The loss has 0.5 * lambda * sum(W**2) added, over all W.

    Attributes
    ----------
    params : dict of ndarray
    layers : dict of layers
    last_layer : SoftmaxWithLoss
    last_loss : float
        The loss that the last call of `gradient` computed on its way.
    device : str
        "cpu" or "cuda": where the parameters are, see `to`.
    """

    layers: Any
    _trains_in_loss = False  # what `loss` takes for train_flg by default

    def __init__(self, layers: Mapping[str, Layer], weight_decay_lambda: float = 0.0) -> None:
        self.layers = layers
        self.last_layer = SoftmaxWithLoss()
        self.last_loss: Any = None
        self.device = "cpu"
        self.weight_decay_lambda = weight_decay_lambda
        self.params: dict[str, Array] = {}
        self._found: tuple[list[Layer], list[Any]] = [], []  # layers, and the same with some put together in blocks
        self._rows: list[Any] | None = None  # the latter inside of `gradient`
        self._owners: dict[str, tuple[Layer, str]] = {}
        self._statistics: dict[str, tuple[Layer, str]] = {}
        number = 0
        for layer in with_parts(layers.values()):
            number += "W" in layer.trainable
            for attribute in layer.trainable:
                if getattr(layer, attribute) is not None:  # as a bias may be
                    self._owners[f"{attribute}{number}"] = layer, attribute
            for attribute in layer.statistics:
                self._statistics[f"{attribute}{number}"] = layer, attribute
        self._collect()

    def _collect(self) -> None:
        """Show the arrays that the layers use now."""
        self.params.update({key: getattr(*owner) for key, owner in self._owners.items()})

    def _layers(self) -> list[Layer]:
        return list(self.layers.values()) if isinstance(self.layers, Mapping) else list(self.layers)

    def every_layer(self) -> list[Layer]:
        """All layers, those inside of others too."""
        return with_parts(self._layers())

    def arrays(self) -> list[Any]:
        """The parameters and running statistics that the layers use now."""
        return [getattr(*owner) for owners in (self._owners, self._statistics) for owner in owners.values()]

    def to(self, device: str) -> "Network":
        """Move the parameters and running statistics to a CUDA device, or back.

        There, a training step copies nothing to or from the host and does not wait for the device: `last_loss` is
        brought when `float` asks for it. Batches and labels given as ndarrays are moved on the way in; scores come back
        as device arrays.

        Parameters
        ----------
        device : {"cpu", "cuda"}

        Returns
        -------
        Network
            This one.

        Raises
        ------
        ValueError
            For another name, or a network that has no way to run there.
        RuntimeError
            When there is no device, no driver or no numba-cuda.
        """
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r}")
        if device == "cuda":
            self._refuse_what_stays_on_the_host()
        move = to_device if device == "cuda" else to_host
        owners = {**self._owners, **self._statistics}
        present: dict[str, Any] = {key: getattr(*owner) for key, owner in owners.items()}
        self._set(owners, {key: move(a) if hasattr(a, "shape") else a for key, a in present.items()})
        self._collect()
        self.device = device
        return self

    def _refuse_what_stays_on_the_host(self) -> None:
        on_host = sorted({type(layer).__name__ for layer in self.every_layer() if not layer.runs_on_cuda})
        if on_host:
            raise ValueError(f"device: {', '.join(on_host)} of this network cannot run on 'cuda'")

    def _here(self, a: Any) -> Any:
        return to_device(a) if self.device == "cuda" else a

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """Scores of the classes, before the softmax.

        Parameters
        ----------
        x : ndarray (N, ...)
        train_flg : bool
            True: dropout drops, and batch normalisation uses and remembers the statistics of this batch.

        Returns
        -------
        ndarray (N, classes)
            On a device an array of x's family: CuPy's for CuPy's, PyTorch's for PyTorch's, else fastconv's own.
        """
        return like_given(_forward(self._rows or self._layers(), self._here(x), train_flg), x)

    def compile(self) -> Predictor:
        """`predict`, compiled for speed: weights packed or transformed once, batch normalisation folded into the layer
        before it, ReLU and dropout into the kernels, and images taken through several layers while they are in cache.

        The parameters stay yours: change them as you like, by an optimiser, in place or by `load_params`, and the next
        call prepares anew. See `Predictor`.

        Returns
        -------
        Predictor
            A callable: `net.compile()(x)` is `net.predict(x)`.

        Raises
        ------
        TypeError
            If this network's `predict` is not the one of `Network`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.networks import SimpleConvNet
        >>> predict = SimpleConvNet(dtype=np.float32).compile()
        >>> predict(np.zeros((5, 1, 28, 28), np.float32)).shape
        (5, 10)
        """
        if type(self).predict is not Network.predict or "predict" in vars(self):
            raise TypeError("compile: only Network's own predict can be compiled, this network has another")
        if self.device != "cpu":
            raise TypeError(f"compile: expected a network on the CPU, this one is on {self.device}")
        return Predictor(self)

    def targets(self, t: Any) -> Any:
        """Targets as the loss takes them on a device: labels, of labels or one-hot targets, where it is of classes."""
        return labels(t) if self.last_layer.classifies else t

    def capture(self, x: Array, t: Array, optimizer: Optimizer, *, rows: int | None = None) -> TrainingStep:
        """A training step as one CUDA graph, captured once and replayed for every batch of the same shape.

        ``step(x, t)`` is then ``optimizer.update(net.params, net.gradient(x, t))`` without Python between the kernels;
        ``step.loss`` is its loss. See `TrainingStep`.

        Parameters
        ----------
        x : array (N, ...)
            A batch, for its shape and dtype; with `rows`, all samples.
        t : array
            Its targets, as for `gradient`; of classes on the device (N,) of int64.
        optimizer : one of fastconv.optim
        rows : int, optional
            ``step(places)`` then takes that many numbers of samples, and picks the batch out of x and t on the device.

        Raises
        ------
        TypeError
            When the network is not on "cuda", or has a `gradient` of its own, or the optimiser is another's.

        Examples
        --------
        ::

            net.to("cuda")
            step = net.capture(x[:100], t[:100], optim.Adam())
            for i in range(0, len(x), 100):
                step(x[i : i + 100], t[i : i + 100])
            print(float(step.loss))
        """
        own = ("gradient", "loss", "predict")
        if any(getattr(type(self), name) is not getattr(Network, name) or name in vars(self) for name in own):
            raise TypeError("capture: only Network's own gradient can be captured, this network has another")
        if self.device != "cuda":
            raise TypeError(f"capture: expected a network on 'cuda', this one is on {self.device!r}: net.to('cuda')")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer: expected one of fastconv.optim, got {type(optimizer).__name__}")
        if rows is None:
            return TrainingStep(self, optimizer, lambda x, t: (x, t), x, self.targets(t))
        x, t = self._here(x), self._here(self.targets(t))
        return TrainingStep(self, optimizer, lambda places: (x[places], t[places]), np.empty(rows, np.int64))

    def loss(self, x: Array, t: Array, train_flg: bool | None = None) -> float:
        """The loss of a batch, with the weight decay.

        Parameters
        ----------
        x : ndarray (N, ...)
        t : ndarray (N,) of int, or (N, classes) one-hot
        train_flg : bool, optional
            As in `predict`; the default is the network's own, as in the book.
        """
        train_flg = self._trains_in_loss if train_flg is None else train_flg
        t = self._here(self.targets(t)) if self.device == "cuda" else t
        loss = self.last_layer.forward(self.predict(self._here(x), train_flg), t)
        if not self.weight_decay_lambda:
            return loss
        weights = [p for key, p in self.params.items() if key.startswith("W")]
        return between(loss).plus_squares(loss, weights, 0.5 * self.weight_decay_lambda)

    def accuracy(self, x: Array, t: Array, batch_size: int = 100) -> float:
        """The share of x whose highest score is at its class.

        Parameters
        ----------
        x : ndarray (N, ...)
        t : ndarray (N,) of int, or (N, classes) one-hot
        batch_size : int
            How many to predict at a time; the last batch may be smaller.
        """
        t = labels(t)
        starts = range(0, len(x), batch_size)
        right = sum(
            np.count_nonzero(to_host(self.predict(x[i : i + batch_size])).argmax(axis=1) == t[i : i + batch_size])
            for i in starts
        )
        return right / len(x)

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The gradients of the loss by back-propagation, under the keys of `params`; in training mode.

        Parameters
        ----------
        x : ndarray (N, ...)
        t : ndarray (N,) of int, or (N, classes) one-hot
        """
        layers = self._layers()
        if layers != self._found[0]:
            self._found = layers, _blocks.find(layers)
        rows = self._rows = self._found[1]
        try:
            self.last_loss = self.loss(x, t, train_flg=True)
        except BaseException:
            self._found = [], []  # a block that has run would wait for its backward
            raise
        finally:
            self._rows = None
        _backward(rows, self.last_layer.backward(), needs_dx=False)
        return {key: self._gradient_of(key) for key in self.params}

    def _gradient_of(self, key: str) -> Array:
        layer, attribute = self._owners[key]
        grad = getattr(layer, f"d{attribute}")
        if self.weight_decay_lambda and key.startswith("W"):
            grad = grad + self.weight_decay_lambda * self.params[key]
        return grad

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The same by central differences: very slow, for checks of small networks.

        Dropout draws its masks once, and running statistics come out as they went in.
        """
        if self.device != "cpu":
            raise RuntimeError(f"numerical_gradient: the parameters are on {self.device}; net.to('cpu') first")
        with self._still():
            return {
                key: numerical_gradient(lambda _: self.loss(x, t, train_flg=True), p) for key, p in self.params.items()
            }

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Masks drawn once and kept, running statistics put back."""
        dropouts = [layer for layer in self.every_layer() if isinstance(layer, Dropout)]
        before = self._named_statistics()
        try:
            for layer in dropouts:
                layer.mask, layer.reuse_mask = None, True
            yield
        finally:
            for layer in dropouts:
                layer.reuse_mask = False
            self._set(self._statistics, before)

    def _named_statistics(self) -> dict[str, Array]:
        return {key: np.array(to_host(getattr(*owner))) for key, owner in self._statistics.items()}

    @staticmethod
    def _set(owners: Mapping[str, tuple[Layer, str]], arrays: Mapping[str, Any]) -> None:
        for key, (layer, attribute) in owners.items():
            setattr(layer, attribute, arrays[key])

    def save_params(self, path: _files.PathLike = "params.npz") -> None:
        """Write the parameters, and the running statistics of batch normalisation, to a file.

        Parameters
        ----------
        path : str or path
            Ends in .npz or .safetensors.

        Raises
        ------
        ValueError
            If it has another suffix.
        """
        _files.write(path, {key: to_host(a) for key, a in {**self.params, **self._named_statistics()}.items()})

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
        owners = {**self._owners, **self._statistics}
        arrays = _files.read(path)
        if arrays.keys() != owners.keys():
            missing, unknown = sorted(owners.keys() - arrays.keys()), sorted(arrays.keys() - owners.keys())
            raise ValueError(f"path: {path} does not fit this network: missing {missing}, unknown {unknown}")
        present = {key: getattr(*owner) for key, owner in owners.items()}
        for key, a in arrays.items():
            if a.shape != present[key].shape:
                raise ValueError(f"path: expected {key} of shape {present[key].shape} in {path}, got {a.shape}")
        dense = {key: a.astype(present[key].dtype, order="C") for key, a in arrays.items()}
        self._set(owners, {key: self._here(a) for key, a in dense.items()})
        self._collect()


def _forward(layers: list[Any], x: Array, train_flg: bool) -> Array:
    """Through layers and blocks of layers."""
    done: Any = None
    for layer, follower in pairwise([*layers, None]):
        if type(layer) is _blocks.Block:
            y = layer.forward(x)
            x = _forward(layer.layers, x, train_flg) if y is None else y
        elif _fuses(layer, follower):
            x = follower.out = layer.forward(x, activation="relu")
            done = follower
        elif layer is not done:
            x = run(layer, x, train_flg)
    return x


def _backward(layers: list[Any], dout: Any, needs_dx: bool) -> Any:
    """Back through layers and blocks of layers: what is before the first, whose gradient need not be computed."""
    gradient: Any = dout
    done: Any = None
    for layer, before in pairwise([*reversed(layers), None]):
        needed = needs_dx or before is not None
        if type(layer) is _blocks.Block:
            gradient = layer.backward(gradient, needed) if layer.ran else _backward(layer.layers, gradient, needed)
        elif not needed and isinstance(layer, (Affine, Convolution)):
            gradient = layer.backward(gradient, needs_dx=False)
        elif _goes_through(layer, before):
            gradient = layer.backward(gradient, through_relu=True)
            done = before
        elif layer is not done:
            gradient = layer.backward(gradient)
    return gradient


def _goes_through(layer: Any, before: Any) -> bool:
    """Whether a pooling's gradient can go through the ReLU before it on the way; as `_fuses`, for both directions."""
    return (
        type(layer) is Pooling
        and type(before) is Relu
        and not {"forward", "backward"} & (vars(layer).keys() | vars(before).keys())
    )


def _fuses(layer: Any, follower: Any) -> bool:
    """Whether a layer's kernel can apply the ReLU behind it on the way: one pass over memory less.

    Not where either `forward` was replaced on the object, as a hook does: it wants to see both results.
    """
    return (
        type(layer) in (Affine, Convolution)
        and type(follower) is Relu
        and "forward" not in vars(layer)
        and "forward" not in vars(follower)
    )

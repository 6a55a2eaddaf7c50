"""What every network has in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .._between import between
from .._device import like_given, to_host
from ..gradient import numerical_gradient
from ..graph import Parameter, Predictor, Training
from ..layers import Dropout, SoftmaxWithLoss
from ..layers._kept import are_own, private
from ..layers.containers import as_layer
from ..optim import Optimizer
from ._captured import TrainingStep, labels
from ._tree import Tree

Array = npt.NDArray[Any]


class Network(Tree):
    """Layers with a loss behind them.

    Parameters
    ----------
    layers : list or dict of layers
        Lists and dicts in it are rows of their own, at any depth; `layers.Residual`, `Concatenate` and the like make
        branches. A layer may stand in several places: its gradients add up.
    loss : layer
        ``forward(scores, t)`` and ``backward()``: `SoftmaxWithLoss`, `NLLLoss`, `MeanSquaredErrorLoss` or your own.
    weight_decay_lambda : float
        The loss has 0.5 * lambda * sum(W**2) added, over all W.

    Attributes
    ----------
    layers : list or dict of layers
        May be changed: the next call follows.
    params : dict of ndarray
        The very arrays that the layers use, under dotted paths ("layer1.0.conv1.W"). The book's networks have the
        book's names: the k-th layer with weights has 'Wk' and 'bk', a batch normalisation behind it 'gammak', 'betak'.
        ``params[name] = array`` gives an array of the same shape to the layer.
    last_layer : layer
        The loss.
    last_loss : float
        The loss that the last call of `gradient` computed on its way.
    device : str
        "cpu" or "cuda": where the parameters are, see `to`.

    Raises
    ------
    TypeError
        If something in `layers` is no layer.
    ValueError
        If two parameters would have one name, or share a part of their memory.
    """

    _trains_in_loss: ClassVar[bool] = False  # what `loss` takes for train_flg by default

    def __init__(self, layers: Any, loss: Any = None, *, weight_decay_lambda: float = 0.0) -> None:
        super().__init__(layers)
        self.last_layer = SoftmaxWithLoss() if loss is None else as_layer(loss, "loss")
        self.last_loss: Any = None
        self.weight_decay_lambda = weight_decay_lambda

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
        given, program = self._here(x), self._program()
        with self._private(program, given):
            return like_given(program.forward(given, train_flg), x)

    def _private(self, program: Training, seen: Any = None) -> Any:
        """Where this network's own methods run its layers, nobody else sees what the layers keep, but for `seen`."""
        if program.is_own is None:
            program.is_own = are_own(node.layer for node in program.graph.nodes)
        return private(seen) if program.is_own else nullcontext()

    def __call__(self, x: Array, train_flg: bool = False) -> Array:
        """`predict`."""
        return self.predict(x, train_flg)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """`predict` in training mode: what a network does as a layer of another."""
        return self.predict(x, train_flg)

    connect = Tree.connect  # a graph may look inside of a network that is a layer of another

    def backward(self, dout: Array) -> Array | None:
        """Back-propagate a gradient through the last `predict`.

        Parameters
        ----------
        dout : ndarray
            The gradient of anything with respect to what `predict` returned, in its shape.

        Returns
        -------
        ndarray
            The gradient with respect to x. The layers have those of their parameters (`dW`, ...).
        """
        return self._program().backward(self._here(dout), needs_dx=True)

    def compile(self, *, fixed: bool = False) -> Predictor:
        """`predict`, compiled for speed: weights packed or transformed once, batch normalisation folded into the layer
        before it, ReLU and dropout into the kernels, and images taken through several layers while they are in cache.

        The parameters stay yours: change them as you like, by an optimiser, in place or by `load_params`, and the next
        call prepares anew. See `Predictor`.

        Parameters
        ----------
        fixed : bool
            True: you promise not to change numbers in place, and no call looks whether you did.

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
        return Predictor(self, fixed=fixed)

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
        t : ndarray (N,) of int, or (N, classes)
        train_flg : bool, optional
            As in `predict`; the default is the network's own, as in the book.
        """
        train_flg = self._trains_in_loss if train_flg is None else train_flg
        return self._loss_of(self.predict(self._here(x), train_flg), t)

    def _loss_of(self, scores: Array, t: Array) -> float:
        t = self._here(self.targets(t)) if self.device == "cuda" else t
        loss = self.last_layer.forward(scores, t)
        if not self.weight_decay_lambda:
            return loss
        weights = [owner.array for owner in self._owners.values() if _decays(owner)]
        return between(loss).plus_squares(loss, weights, 0.5 * self.weight_decay_lambda)

    def accuracy(self, x: Array, t: Array, batch_size: int = 100) -> float:
        """The share of x whose highest score is at its class.

        Parameters
        ----------
        x : ndarray (N, ...)
        t : ndarray (N,) or (N, 1) of int, or (N, classes) one-hot
        batch_size : int
            How many to predict at a time; the last batch may be smaller.

        Raises
        ------
        ValueError
            If there is no sample, or not a target for each.
        TypeError
            If the network's loss is not one of classes, as in a regression.
        """
        if not getattr(self.last_layer, "classifies", False):
            raise TypeError(f"accuracy: expected a network of classes, this one has {type(self.last_layer).__name__}")
        t = labels(np.asarray(to_host(t)))
        if len(x) == 0 or len(t) != len(x):
            raise ValueError(f"t: expected a target for each of at least one sample, got {len(t)} for {len(x)}")
        starts = range(0, len(x), batch_size)
        right = sum(
            np.count_nonzero(to_host(self.predict(x[i : i + batch_size])).argmax(axis=1) == t[i : i + batch_size])
            for i in starts
        )
        return right / len(x)

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The gradients of the loss by back-propagation, under the keys of `params`; in training mode.

        Frozen layers have none.

        Parameters
        ----------
        x : ndarray (N, ...)
        t : ndarray (N,) of int, or (N, classes)
        """
        self._propagate(x, t)
        if self.weight_decay_lambda:
            return {name: self._decayed(owner, owner.gradient) for name, owner in self._trained}
        return {name: owner.gradient for name, owner in self._trained}

    def _propagate(self, x: Array, t: Array, weigh: Callable[[Any], Any] | None = None) -> None:
        """Forward and backward: `weigh` changes the loss's gradient, and the layers have their gradients."""
        program = self._program()
        try:
            if self._runs_alone():  # what `loss` does, whose `predict` would look for replaced layers again
                with self._private(program):
                    self.last_loss = self._loss_of(program.forward(self._here(x), True, for_parameters=True), t)
            else:
                program.forget()
                self.last_loss = self.loss(x, t, train_flg=True)
        except BaseException:
            program.forget()  # a block that has run would wait for its backward
            raise
        dout = self.last_layer.backward()
        program.backward(dout if weigh is None else weigh(dout), needs_dx=False)

    def _runs_alone(self) -> bool:
        """Whether nothing but Network's own methods stands between a forward and a backward pass."""
        cls, own = type(self), vars(self)
        return cls.predict is Network.predict and cls.loss is Network.loss and not ("predict" in own or "loss" in own)

    def _decayed(self, owner: Parameter, grad: Array) -> Array:
        """A gradient with that of the weight decay."""
        return grad + self.weight_decay_lambda * owner.array if _decays(owner) else grad

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
        before = self._copied_statistics()
        try:
            for layer in dropouts:
                layer.mask, layer.reuse_mask = None, True
            yield
        finally:
            for layer in dropouts:
                layer.reuse_mask = False
            for name, array in before.items():
                self._statistics[name].array = array


def _decays(owner: Parameter) -> bool:
    """Whether weight decay holds for a parameter: for weights, not for biases and normalisations."""
    return owner.attribute.startswith("W")


class BookNetwork(Network):
    """A network of the book: its parameters are numbered along the layers, 'W1', 'b1', 'gamma1', ..."""

    _book_names = True

    def __init__(self, layers: Any, weight_decay_lambda: float = 0.0) -> None:
        super().__init__(layers, weight_decay_lambda=weight_decay_lambda)

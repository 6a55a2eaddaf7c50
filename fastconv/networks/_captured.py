"""Training on a CUDA device: a step captured once in a CUDA graph, and replayed for every batch."""

from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np

from .. import _device
from ..optim import Optimizer

Batch = Callable[..., tuple[Any, Any]]

_WARM = 2  # plain steps before the capture: kernels are compiled in the first, the memory of all others is there after


class TrainingStep:
    """A network's gradient and an optimiser's update as one CUDA graph: what `Network.capture` returns.

    Called with a batch, it does what ``optimizer.update(net.params, net.gradient(x, t))`` does, the same bits: its
    first calls do just that, the next one captures what they launch, and from then on a call copies the batch to the
    graph's own arrays, writes the step's numbers (rates, seeds of dropout) beside them and launches the graph. None of
    it waits for the device.

    A batch of another shape takes a plain step, and so does any while a hook is on a layer. Parameters, running
    statistics, layers or the optimiser's state replaced by others are noticed, and the step is captured anew; a changed
    learning rate just goes into the next step. Other attributes of layers (a ratio, a stride) are the graph's own from
    the capture on: `forget` it after changing one.

    Attributes
    ----------
    network : Network
    optimizer : Optimizer
    captured : bool
        Whether the next call replays a graph.
    """

    def __init__(self, network: Any, optimizer: Optimizer, batch: Batch, *examples: Any) -> None:
        self.network, self.optimizer = network, optimizer
        self._batch = batch
        self._graphs = _device.graphs()
        self._inlets = [self._graphs.Inlet(a.shape, a.dtype) for a in map(_array, examples)]
        self._pool = self._graphs.new_pool()
        self.forget()

    def forget(self) -> None:
        """Capture the step anew, in a later call."""
        self._graph: Any = None
        self._loss: Any = None
        self._warm = 0
        self._present: list[Any] = []

    @property
    def captured(self) -> bool:
        return self._graph is not None

    @property
    def loss(self) -> Any:
        """The loss of the latest step, as a device array of one number that later steps leave alone.

        Asking for it does not wait for the device; `float` of it does.
        """
        return self.network.last_loss.copy()

    def __call__(self, *batch: Any) -> None:
        """One step of training.

        Parameters
        ----------
        x : array (N, ...)
        t : array (N,) of int, or ndarray (N, classes) one-hot

        Raises
        ------
        RuntimeError
            When the step cannot be captured, with the reason; nothing is changed then.
        """
        *inputs, last = batch
        given = [*map(_array, inputs), self.network.targets(_array(last))]
        fits = all(a.shape == inlet.array.shape for a, inlet in zip(given, self._inlets, strict=True))
        if not fits or self._is_watched():
            self._plain(*given)
            return
        for inlet, a in zip(self._inlets, given, strict=True):
            inlet.put(a)
        if not self._is_as_it_was():
            self.forget()
        if self._warm < _WARM:
            with self._graphs.taking_from(self._pool):
                self._plain(*(inlet.array for inlet in self._inlets))
            self._warm += 1
            self._present = self._used()
            return
        if self._graph is None:
            with self._graphs.taking_from(self._pool):
                self._graph = self._graphs.Capture(self.optimizer.hyper).run(self._captured)
        self.optimizer.advance()
        self._graph.replay()
        self.network.last_loss = self._loss

    def _plain(self, *given: Any) -> None:
        self.optimizer.update(self.network.params, self.network.gradient(*self._batch(*given)))

    def _captured(self) -> None:
        before = self.network.last_loss
        grads = self.network.gradient(*self._batch(*(inlet.array for inlet in self._inlets)))
        self.optimizer.apply(self.network.params, grads)
        self._loss, self.network.last_loss = self.network.last_loss, before

    def _is_watched(self) -> bool:
        """Whether a hook, or anything else in a method's place, waits for a layer's results."""
        return any("forward" in vars(layer) or "backward" in vars(layer) for layer in self.network.every_layer())

    def _used(self) -> list[Any]:
        """The objects that the graph works on."""
        states = (a for state in self.optimizer.states() for a in state.values())
        return [*self.network.every_layer(), *self.network.arrays(), *self.network.params.values(), *states]

    def _is_as_it_was(self) -> bool:
        now = self._used()
        return len(now) == len(self._present) and all(map(is_, now, self._present))


def labels(t: Any) -> Any:
    """Labels of int64, of labels or one-hot targets."""
    if t.ndim == 2 and t.shape[1] == 1 and t.dtype.kind in "iu":
        t = t.reshape(len(t))
    if t.ndim == 1:
        return t if _device.is_device(t) or t.dtype.kind not in "iu" else t.astype(np.int64, copy=False)
    if _device.is_device(t):
        raise TypeError("t: expected labels (N,) of int64 on the device, got one-hot targets: take argmax on the host")
    return t.argmax(axis=1)


def _array(a: Any) -> Any:
    return _device.to_device(a) if _device.is_device(a) else np.asarray(a)

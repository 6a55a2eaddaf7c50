"""Training in mini-batches."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import optim
from ._device import to_device
from ._extras import require
from ._random import source

Array = npt.NDArray[Any]
Callback = Callable[["Trainer", str], Any]
_LR = MappingProxyType({"lr": 0.01})


class Trainer:
    """Trains a network with an optimiser, and keeps the course of its loss and accuracies.

    Parameters
    ----------
    network
        One of `fastconv.networks`, or anything with `params`, `gradient(x, t)`, `loss(x, t)` and `accuracy(x, t)`.
    x_train, t_train, x_test, t_test : ndarray (N, ...)
    epochs, mini_batch_size : int
    optimizer : str
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta" or "adam", in any case.
    optimizer_param : dict
        Arguments of its constructor.
    evaluate_sample_num_per_epoch : int, optional
        Accuracies are those of the first so many samples; of all, if None.
    verbose : bool
        Print the loss of every step (unless there is a progress bar), the accuracies of every epoch and the last one.
    progress : bool
        Show a bar with the loss, the accuracy, images per second and the time left; needs tqdm.
    seed : None, int or numpy.random.Generator
        For the choice of batches. None is NumPy's global generator, as in the book.
    shuffle : bool
        True: every epoch goes through all samples in a new random order. False: every batch is drawn anew, with
        repetition, as in the book.
    callbacks : iterable of callables
        Called as `callback(trainer, event)` with the event "step" after every step, "epoch" after the accuracies of an
        epoch, and "end".
    recompute_loss : bool
        True: the loss listed for a step is computed again after the update, which costs one more forward pass. False:
        it is the one that the gradient was taken of, if the network tells (`last_loss`).

    device : {"cpu", "cuda"}
        "cuda" moves the network and the training data there first (`Network.to`). Steps are then captured in a CUDA
        graph (`Network.capture`), where they can be, and run without copies and without waiting: losses are brought to
        the host once an epoch, unless they are printed or shown.

    Attributes
    ----------
    train_loss_list : list of float
        One for each step.
    train_acc_list, test_acc_list : list of float
        One for each epoch, measured after its first step as in the book.
    final_test_acc : float or None
        Of all test samples, after the training.
    optimizer : Optimizer
    current_iter, current_epoch : int
    """

    optimizers: ClassVar[Mapping[str, type[optim.Optimizer]]] = {
        "sgd": optim.SGD,
        "momentum": optim.Momentum,
        "nesterov": optim.Nesterov,
        "adagrad": optim.AdaGrad,
        "rmsprop": optim.RMSprop,
        "adadelta": optim.AdaDelta,
        "adam": optim.Adam,
    }

    def __init__(
        self,
        network: Any,
        x_train: Array,
        t_train: Array,
        x_test: Array,
        t_test: Array,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str = "SGD",
        optimizer_param: Mapping[str, Any] = _LR,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        progress: bool = False,
        seed: Any = None,
        shuffle: bool = False,
        callbacks: Iterable[Callback] = (),
        recompute_loss: bool = False,
        device: str = "cpu",
    ) -> None:
        if optimizer.lower() not in self.optimizers:
            raise ValueError(f"optimizer: expected one of {', '.join(self.optimizers)}, got {optimizer!r}")
        self.network = network if device == "cpu" else network.to(device)
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self._x: Any = x_train if device == "cpu" else to_device(x_train)
        self._t: Any = t_train if device == "cpu" else to_device(network.targets(t_train))
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.optimizer = self.optimizers[optimizer.lower()](**optimizer_param)
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose, self.progress, self.shuffle = verbose, progress, shuffle
        self.recompute_loss = recompute_loss
        self.callbacks = list(callbacks)

        self.train_size = len(x_train)
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = 0
        self.current_epoch = 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []
        self.final_test_acc: float | None = None
        self._captures = device == "cuda" and not recompute_loss and hasattr(network, "capture")
        self._step: Any = None
        self._random = source(seed)
        self._order = np.empty(0, int)

    def _next_batch(self) -> Array:
        """Indices of a batch."""
        if not self.shuffle:
            return self._random.choice(self.train_size, self.batch_size)
        while len(self._order) < self.batch_size:
            self._order = np.concatenate([self._order, self._random.permutation(self.train_size)])
        batch, self._order = np.split(self._order, [self.batch_size])
        return batch

    def train_step(self) -> None:
        """One update; after the first one of an epoch, also its accuracies."""
        batch = self._next_batch()
        self.train_loss_list.append(self._update(batch))
        if self.verbose and not self.progress:
            print(f"train loss:{float(self.train_loss_list[-1])}")
        if self.current_iter >= self.current_epoch * self.iter_per_epoch:
            self.current_epoch += 1
            self._evaluate()
        self.current_iter += 1
        self._tell("step")

    def _update(self, batch: Array) -> Any:
        """One update by the samples of these numbers; the loss."""
        if self._captures:
            try:
                return self._update_by_graph(batch)
            except (TypeError, RuntimeError):  # it cannot be captured; another error comes again below
                self._captures = False
        x, t = self._x[batch], self._t[batch]
        grads = self.network.gradient(x, t)
        self.optimizer.update(self.network.params, grads)
        loss = None if self.recompute_loss else getattr(self.network, "last_loss", None)
        return self.network.loss(x, t) if loss is None else loss

    def _update_by_graph(self, batch: Array) -> Any:
        step = self._step
        if step is None or step.optimizer is not self.optimizer or step.network is not self.network:
            step = self._step = self.network.capture(self._x, self._t, self.optimizer, rows=self.batch_size)
        step(batch)
        return step.loss

    def _evaluate(self) -> None:
        self.train_loss_list[:] = map(float, self.train_loss_list)
        n = self.evaluate_sample_num_per_epoch
        self.train_acc_list.append(self.network.accuracy(self.x_train[:n], self.t_train[:n]))
        self.test_acc_list.append(self.network.accuracy(self.x_test[:n], self.t_test[:n]))
        if self.verbose and not self.progress:
            print(
                f"=== epoch:{self.current_epoch}, train acc:{self.train_acc_list[-1]}, "
                f"test acc:{self.test_acc_list[-1]} ==="
            )
        self._tell("epoch")

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            callback(self, event)

    def train(self) -> None:
        """All steps that are left, and the accuracy of all test samples at the end.

        Raises
        ------
        KeyboardInterrupt
            When the user stops it: the parameters are those of the last whole step, the lists go up to it, and another
            call goes on from there.
        """
        bar = _Bar(self) if self.progress else None
        try:
            while self.current_iter < self.max_iter:
                self.train_step()
                if bar:
                    bar.show()
        finally:
            self.train_loss_list[:] = map(float, self.train_loss_list)
            if bar:
                bar.close()
        self.final_test_acc = self.network.accuracy(self.x_test, self.t_test)
        if self.verbose:
            print("=============== Final Test Accuracy ===============")
            print(f"test acc:{self.final_test_acc}")
        self._tell("end")


class _Bar:
    """A progress bar that counts images."""

    def __init__(self, trainer: Trainer) -> None:
        tqdm = require("tqdm", "demo", "a progress bar").tqdm
        self.trainer = trainer
        self.bar = tqdm(
            total=trainer.max_iter * trainer.batch_size,
            initial=trainer.current_iter * trainer.batch_size,
            unit="img",
            unit_scale=True,
        )

    def show(self) -> None:
        trainer = self.trainer
        self.bar.set_description(f"epoch {trainer.current_epoch}/{trainer.epochs}", refresh=False)
        self.bar.set_postfix(
            loss=f"{float(trainer.train_loss_list[-1]):.4f}", test_acc=f"{trainer.test_acc_list[-1]:.4f}", refresh=False
        )
        self.bar.update(trainer.batch_size)

    def close(self) -> None:
        self.bar.close()


class BookTrainer(Trainer):
    """The book's class to the last digit: the loss after the update, and the book's Adam."""

    optimizers: ClassVar[Mapping[str, type[optim.Optimizer]]] = {**Trainer.optimizers, "adam": optim.BookAdam}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"recompute_loss": True, **kwargs})

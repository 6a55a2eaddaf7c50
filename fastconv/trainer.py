"""Training in mini-batches."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _checkpoint, _training_state, optim
from ._bar import Bar
from ._check.arguments import integer
from ._device import to_device
from ._validation import Best, Measured, classifies, named_metrics, with_targets
from .datasets._batches import Samples, Worker
from .distributed._team import team_of

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
        x may be a data set such as `datasets.ImageFolder`; t is None if it has the targets. The test samples may be
        left out.
    epochs, mini_batch_size : int
    optimizer : str or Optimizer
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta" or "adam", in any case; or an object with
        `update(params, grads)`.
    optimizer_param : dict
        Arguments of its constructor, for a name.
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
    validation : (x, t) or data set, optional
        Measured behind every epoch, in prediction.
    schedule : Schedule, optional
        One of `optim.schedules`, attached to the optimiser here; or a callable of the epoch's number. One that wants a
        metric gets the validation's loss, or its accuracy if its mode is "max".
    metrics : iterable or dict of callables (y, t), optional
        Measured on the validation samples; names are those of `fastconv.metrics`.
    transform : callable, optional
        Of every training input; see `datasets.transforms`.
    save_best : path, optional
        Where the parameters of the best epoch of the validation are written.
    monitor : {"loss", "accuracy"}
        What of the validation is to be best.
    patience : int, optional
        End after so many epochs that were not better.
    checkpoint : path, optional
        Where `save_checkpoint` writes behind every epoch.
    prefetch : int
        How many batches threads prepare ahead, where images are read or transformed.
    distributed : bool
        True: the MPI processes that run this program (``mpiexec -n 4 python train.py``) train together, on a part of
        every batch each; see `fastconv.distributed`. The network may be a `DataParallel` already. The first process
        prints and writes files; callbacks are called on all.
    device : {"cpu", "cuda"}
        "cuda" moves the network and the training data there first (`Network.to`). Steps are then captured in a CUDA
        graph (`Network.capture`), where they can be, and run without copies and without waiting: losses are brought to
        the host once an epoch, unless they are printed or shown.

    Attributes
    ----------
    train_loss_list : list of float
        One for each step.
    train_acc_list, test_acc_list : list of float
        One for each epoch, measured after its first step as in the book. Empty where the loss is none of classes.
    test_loss_list : list of float
        The same of the loss, where there is no accuracy.
    final_test_acc, final_test_loss : float or None
        Of all test samples, after the training: the accuracy, or the loss where there is none.
    val_loss_list, val_acc_list : list of float
        Of the validation samples, at the end of each epoch.
    metric_lists : dict of lists
        What each metric gave at the end of each epoch.
    best : Best or None
        With `epoch` (from 0) and `value`.
    stopped : bool
        Whether the training was ended by `stop` or `patience`.
    optimizer : Optimizer
    current_iter, current_epoch : int
    team
        The processes that train together: `team.rank`, `team.size`, and `team.leads` for the first one.
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
        x_train: Any,
        t_train: Any,
        x_test: Any = None,
        t_test: Any = None,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: Any = "SGD",
        optimizer_param: Mapping[str, Any] = _LR,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        progress: bool = False,
        seed: Any = None,
        shuffle: bool = False,
        callbacks: Iterable[Callback] = (),
        recompute_loss: bool = False,
        validation: Any = None,
        schedule: Any = None,
        metrics: Any = (),
        transform: Callable[[Any], Any] | None = None,
        save_best: _checkpoint.PathLike | None = None,
        monitor: str = "loss",
        patience: int | None = None,
        checkpoint: _checkpoint.PathLike | None = None,
        prefetch: int = 2,
        distributed: bool = False,
        device: str = "cpu",
    ) -> None:
        network, self.team = team_of(network, distributed, device)
        self.optimizer = self._optimizer(optimizer, optimizer_param)
        self.network = network if device == "cpu" else network.to(device)
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self._samples = Samples(x_train, t_train, transform)
        lazy = self._samples.lazy
        self._x: Any = x_train if device == "cpu" or lazy else to_device(x_train)
        self._t: Any = t_train if device == "cpu" or lazy else to_device(network.targets(t_train))
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.shuffle = shuffle
        self.verbose, self.progress = verbose and self.team.leads, progress and self.team.leads
        self.recompute_loss = recompute_loss
        self.callbacks = list(callbacks)

        self.train_size = len(self._samples)
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = 0
        self.current_epoch = 0
        self.finished_epochs = 0
        self.owes_accuracies = False
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []
        self.test_loss_list: list[float] = []
        self.val_loss_list: list[float] = []
        self.val_acc_list: list[float] = []
        self.final_test_acc: float | None = None
        self.final_test_loss: float | None = None
        self.stopped = False

        self._classifies = classifies(network)
        self._train = Measured(self._samples, mini_batch_size, self.team)
        self._test = None if x_test is None else Measured(Samples(x_test, t_test), mini_batch_size, self.team)
        self._validation = self._validated(validation)
        self._metrics = named_metrics(metrics)
        self.metric_lists: dict[str, list[Any]] = {name: [] for name in self._metrics}
        patience = None if patience is None else integer("patience", patience, 1)
        self.best = (
            None
            if self._validation is None
            else Best(network, monitor, patience, save_best if self.team.leads else None)
        )
        self.schedule = schedule.attach(self.optimizer) if hasattr(schedule, "attach") else schedule
        self._wants_metric = getattr(schedule, "wants", "epoch") == "metric"
        self._need_validation(metrics=self._metrics, save_best=save_best, patience=patience,
                              schedule=schedule if self._wants_metric else None)  # fmt: skip
        self.checkpoint = checkpoint

        self._captures = device == "cuda" and not recompute_loss and hasattr(network, "capture") and not lazy
        self._step: Any = None
        self._random = self.team.random(seed)
        self._prefetch = integer("prefetch", prefetch, 0)
        self._ahead: deque[_Job] = deque()
        if lazy:  # batches are drawn ahead of the steps: from a generator of their own, which nobody else draws from
            first = getattr(self._random, "integers", None) or self._random.randint
            self._random = np.random.default_rng(first(0, 1 << 31, 4))
        self._order = np.empty(0, int)
        self._drawers = _checkpoint.generators(self.drawing())

    def _optimizer(self, optimizer: Any, options: Mapping[str, Any]) -> Any:
        if isinstance(optimizer, str):
            if optimizer.lower() not in self.optimizers:
                raise ValueError(f"optimizer: expected one of {', '.join(self.optimizers)}, got {optimizer!r}")
            return self.optimizers[optimizer.lower()](**options)
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
            raise TypeError(f"optimizer: expected a name, or an object with update(params, grads), got {optimizer!r}")
        if options is not _LR:
            raise ValueError("optimizer_param: expected none beside an optimiser that is made already")
        return optimizer

    def _validated(self, given: Any) -> Measured | None:
        if given is None:
            return None
        x, t = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, None)
        samples = Samples(x, t)
        if not len(samples):
            raise ValueError("validation: expected at least one sample, got none")
        if not samples.lazy and samples.t is None:
            raise ValueError("validation: expected (x, t), or a data set with targets")
        return Measured(samples, self.batch_size, self.team)

    def _need_validation(self, **wanting: Any) -> None:
        for name, value in wanting.items():
            if value not in (None, {}) and self._validation is None:
                raise ValueError(f"{name}: needs validation=(x, t)")

    def _next_batch(self) -> Array:
        """Indices of a batch."""
        if not self.shuffle:
            return self._random.choice(self.train_size, self.batch_size)
        while len(self._order) < self.batch_size:
            self._order = np.concatenate([self._order, self._random.permutation(self.train_size)])
        batch, self._order = np.split(self._order, [self.batch_size])
        return batch

    def _next_prepared(self) -> Any:
        """The arrays of a batch that is read or transformed, by threads ahead of the steps."""
        while not self._ahead or (
            len(self._ahead) <= self._prefetch and self.current_iter + len(self._ahead) < self.max_iter
        ):
            before = self._state_now()
            samples, places = self.team.fork(self._samples, self._random, self._next_batch())
            self._ahead.append(_Job(before, samples, places, Worker(samples, places) if self._prefetch else None))
        job = self._ahead.popleft()
        try:
            return with_targets(job.samples.take(job.places) if job.worker is None else job.worker.result())
        except BaseException:
            self.draw_again(job.before)
            raise

    def drawing(self) -> Any:
        """What holds the random generators that batches are drawn by."""
        return [self._random, self._samples]

    def drawing_state(self) -> dict[str, Any]:
        """What the next batches depend on."""
        return self._ahead[0].before if self._ahead else self._state_now()

    def _state_now(self) -> dict[str, Any]:
        return {"order": self._order, "random": _checkpoint.states_of(self._drawers)}

    def draw_again(self, before: Mapping[str, Any]) -> None:
        """Go back to where the next batches were not drawn yet."""
        self._ahead.clear()
        self._order = before["order"]
        _checkpoint.set_states(self.drawing(), before["random"])

    def train_step(self) -> None:
        """One update; after the first one of an epoch, also its accuracies."""
        begins = self.current_iter >= self.current_epoch * self.iter_per_epoch
        if begins and self.schedule is not None and not self._wants_metric:
            self.schedule(self.current_epoch)
        batch = self._next_prepared() if self._samples.lazy else self._next_batch()
        self.train_loss_list.append(self._update(batch))
        if self.verbose and not self.progress:
            print(f"train loss:{float(self.train_loss_list[-1])}")
        self.current_epoch += begins
        self.owes_accuracies = begins
        try:
            self._evaluate()
        finally:
            self.current_iter += 1  # the step is made, whatever interrupts its accuracies
        self._finish_epoch()
        self._tell("step")

    def _update(self, batch: Any) -> Any:
        """One update by the samples of these numbers, or by the batch that was made of them; the loss."""
        if self._captures:
            try:
                return self._update_by_graph(batch)
            except (TypeError, RuntimeError):  # it cannot be captured; another error comes again below
                self._captures = False
        if self._samples.lazy:
            x, t = batch
        else:
            mine = batch[self.team.part(len(batch))]
            x, t = self._x[mine], self._t[mine]
        trained = self.team.trained(self.network)
        grads = trained.gradient(x, t)
        self.optimizer.update(self.network.params, grads)
        loss = None if self.recompute_loss else getattr(trained, "last_loss", None)
        return trained.loss(x, t) if loss is None else loss

    def _update_by_graph(self, batch: Array) -> Any:
        step = self._step
        if step is None or step.optimizer is not self.optimizer or step.network is not self.network:
            step = self._step = self.network.capture(self._x, self._t, self.optimizer, rows=self.batch_size)
        step(batch)
        return step.loss

    def _evaluate(self) -> None:
        """The accuracies of an epoch, where they are owed."""
        if not self.owes_accuracies:
            return
        self.team.settle()
        self.train_loss_list[:] = map(float, self.train_loss_list)
        n = self.evaluate_sample_num_per_epoch
        measured: list[tuple[str, list[float], float]] = []
        if self._classifies:
            measured.append(("train acc", self.train_acc_list, self._train.accuracy(self.network, n)))
        if self._test is not None and self._classifies:
            measured.append(("test acc", self.test_acc_list, self._test.accuracy(self.network, n)))
        elif self._test is not None:
            measured.append(("test loss", self.test_loss_list, self._test.loss(self.network, n)))
        self.owes_accuracies = False
        for _, values, value in measured:
            values.append(value)
        if self.verbose and not self.progress:
            words = ", ".join(f"{name}:{value}" for name, _, value in measured)
            print(f"=== epoch:{self.current_epoch}, {words} ===")
        self._tell("epoch")

    def _finish_epoch(self) -> None:
        """Behind the last step of an epoch: the validation, and what follows from it."""
        last = min((self.finished_epochs + 1) * self.iter_per_epoch, self.max_iter)
        if self.current_iter < last or self.finished_epochs >= self.epochs:
            return
        self.team.settle()
        if self._validation is not None:
            self._validate(self._validation)
        else:
            self.finished_epochs += 1
        if self.checkpoint is not None:
            self.save_checkpoint(self.checkpoint)
        if self._validation is not None:
            self._tell("validation")

    def _validate(self, measured: Measured) -> None:
        loss = measured.loss(self.network)
        accuracy = measured.accuracy(self.network) if self._classifies else None
        scores = measured.scores(self.network) if self._metrics else ()
        values = {name: metric(*scores) for name, metric in self._metrics.items()}
        self.finished_epochs += 1  # an interruption up to here leaves the epoch to be measured again
        self.val_loss_list.append(loss)
        if accuracy is not None:
            self.val_acc_list.append(accuracy)
        for name, value in values.items():
            self.metric_lists[name].append(value)
        if self.verbose and not self.progress:
            more = "" if accuracy is None else f", val acc:{accuracy}"
            print(f"=== epoch:{self.finished_epochs}, val loss:{loss}{more} ===")
        if self._wants_metric:
            self.schedule(accuracy if getattr(self.schedule, "mode", "min") == "max" else loss)
        best = self.best
        assert best is not None
        value = accuracy if best.monitor == "accuracy" and accuracy is not None else loss
        if not best.take(self.network, self.finished_epochs - 1, value):
            self.stop()

    def stop(self) -> None:
        """End the training behind the present step: a callback may call it. Another `train` goes on from there."""
        self.stopped = True

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
        with self.team.watching():
            self._take_steps()
            self.team.settle()
            self._measure_tests()
            self.team.agree(self)  # Ctrl-C since the last step
        self._tell("end")

    def _take_steps(self) -> None:
        bar = Bar(self) if self.progress else None
        self.stopped = False
        try:
            self._evaluate()  # what was interrupted
            self._finish_epoch()
            while self.current_iter < self.max_iter and not self.stopped:
                self.train_step()
                if bar:
                    bar.show()
                self.team.agree(self)
        finally:
            self.train_loss_list[:] = map(float, self.train_loss_list)
            if bar:
                bar.close()

    def _measure_tests(self) -> None:
        """The accuracy of all test samples, or their loss where there is none."""
        if self._test is not None and self._classifies:
            self.final_test_acc = self._test.accuracy(self.network)
            if self.verbose:
                print("=============== Final Test Accuracy ===============")
                print(f"test acc:{self.final_test_acc}")
        elif self._test is not None:
            self.final_test_loss = self._test.loss(self.network)
            if self.verbose:
                print("=============== Final Test Loss ===============")
                print(f"test loss:{self.final_test_loss}")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save_checkpoint(self, path: _checkpoint.PathLike) -> None:
        """Write everything that the rest of the training depends on: `resume` then goes on bit for bit.

        These are the network's parameters and running statistics, the optimiser, the schedule, the lists and the random
        generators. A file is replaced only when the new one is whole.
        Of several processes, which all call it, the first one writes; any number of them may resume.

        Parameters
        ----------
        path : path
            Of an .npz file.

        Raises
        ------
        TypeError
            When the optimiser or schedule has no `state_dict`.
        """
        self.team.settle()
        if self.team.leads:
            _training_state.save(self, path)

    def resume(self, path: _checkpoint.PathLike) -> None:
        """Take over what `save_checkpoint` wrote: `train` goes on from there.

        The trainer is made as the other one was, of the same network, data and options; `epochs` may differ.

        Raises
        ------
        FileNotFoundError, ValueError
            When there is no such file, or it is not whole, or of another training. Nothing is changed then.
        """
        _training_state.resume(self, path)


class _Job(NamedTuple):
    """A batch that is prepared ahead, and what was to be drawn before it."""

    before: dict[str, Any]
    samples: Any
    places: Array
    worker: Worker | None


class BookTrainer(Trainer):
    """The book's class to the last digit: the loss after the update, and the book's Adam."""

    optimizers: ClassVar[Mapping[str, type[optim.Optimizer]]] = {**Trainer.optimizers, "adam": optim.BookAdam}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"recompute_loss": True, **kwargs})

"""Batches of samples, prepared by threads ahead of the loop that takes them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._check.arguments import integer
from .._device import is_device
from .transforms import child, forked

Transform = Callable[[Any], Any]


class Samples:
    """Inputs and targets by their numbers: arrays, or an object with `__len__` and `__getitem__`.

    Parameters
    ----------
    x : array (N, ...), sequence, or data set
    t : array (N, ...) or sequence, optional
        Without it, the items of x are pairs (input, target), or inputs alone.
    transform : callable, optional
        Of an input.
    """

    def __init__(self, x: Any, t: Any = None, transform: Transform | None = None) -> None:
        self.x: Any = _source("x", x)
        self.t: Any = None if t is None else _source("t", t)
        self.transform = transform
        if transform is not None and not callable(transform):
            raise TypeError(f"transform: expected a callable, got {transform!r}")
        if self.t is not None and len(self.t) != len(self.x):
            raise ValueError(f"t: expected {len(self.x)} targets, one for each sample, got {len(self.t)}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def lazy(self) -> bool:
        """Whether taking some is work: files to read, transforms to apply."""
        return self.transform is not None or not _is_array(self.x) or not (self.t is None or _is_array(self.t))

    def fork(self, rng: np.random.Generator) -> "Samples":
        """The same for another thread."""
        if not self.lazy:
            return self
        return Samples(forked(self.x, rng), self.t, forked(self.transform, rng))

    def take(self, places: Any, stopped: Callable[[], bool] = lambda: False) -> Any:
        """The samples of these numbers as arrays: (x, t), or x alone; None when `stopped` on the way."""
        if not self.lazy:
            x = self.x[places]
            return x if self.t is None else (x, self.t[places])
        if isinstance(places, slice):
            places = np.arange(places.start, places.stop)
        inputs: list[Any] = []
        targets: list[Any] = []
        for i in map(int, places):
            if stopped():
                return None
            item = self.x[i]
            if self.t is None and isinstance(item, (tuple, list)) and len(item) == 2:
                item, target = item
                targets.append(target)
            inputs.append(item if self.transform is None else self.transform(item))
        x = _stacked("inputs", inputs)
        if self.t is not None:
            return x, self.t[places] if _is_array(self.t) else _stacked("targets", [self.t[int(i)] for i in places])
        if len(targets) not in (0, len(inputs)):
            raise ValueError("x: expected pairs (input, target) for all items, or for none")
        return (x, _stacked("targets", targets)) if targets else x


def _source(name: str, a: Any) -> Any:
    """An array, or something with length and items."""
    if isinstance(a, np.ndarray) or is_device(a):
        if not a.shape:
            raise ValueError(f"{name}: expected an array (N, ...), got a single number")
        return a
    if not (hasattr(a, "__len__") and hasattr(a, "__getitem__")) or isinstance(a, (str, bytes, dict)):
        raise TypeError(f"{name}: expected an array, or an object with __len__ and __getitem__, got {type(a).__name__}")
    return np.asarray(a) if hasattr(a, "__array__") else a


def _is_array(a: Any) -> bool:
    return isinstance(a, np.ndarray) or is_device(a)


def _stacked(name: str, items: list[Any]) -> Any:
    arrays = [np.asarray(item) for item in items]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        first, other = sorted(shapes)[:2]
        raise ValueError(f"the {name} of a batch differ in shape, {first} and {other}: a transform can make them equal")
    return np.stack(arrays) if arrays else np.empty(0)


def batches(
    x: Any,
    t: Any,
    size: int,
    *,
    shuffle: bool = True,
    transform: Transform | None = None,
    rng: Any = None,
    prefetch: int = 2,
) -> Iterator[Any]:
    """One epoch in batches; the last one may be smaller.

    Where images are read or transformed, each of the next batches is prepared by a thread of its own while the loop
    works on the present one. Plain arrays need no threads.

    Parameters
    ----------
    x : ndarray (N, ...), or a data set
        A data set is anything with `__len__` and `__getitem__`, such as `ImageFolder`. It is read by several threads.
    t : ndarray (N, ...), or None
        None: the items of x are pairs (input, target), or inputs alone.
    size : int
        Samples of a batch.
    shuffle : bool
        In a random order; otherwise in that of x.
    transform : callable, optional
        Applied to each input; see `datasets.transforms`.
    rng : None, int or numpy.random.Generator
        The same seed gives the same batches, with the same random transforms, for any `prefetch`. A Generator gives
        others in each call; None takes a seed from NumPy's global generator. A random data set or transform of one's
        own has part in that if it has ``fork(rng)``, which gives one like it for a thread, with a generator seeded
        from `rng`.
    prefetch : int
        How many batches are prepared ahead; 0 uses no threads.

    Yields
    ------
    (x, t) or x : ndarrays of the batch

    Raises
    ------
    TypeError, ValueError
        At the call, for arguments that do not fit. What reading or transforming raises comes when it is the batch's
        turn; the threads have ended then, as they have after leaving the loop early.

    Examples
    --------
    >>> import numpy as np
    >>> x, t = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> [labels.tolist() for _, labels in batches(x, t, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    samples = Samples(x, t, transform)
    size, prefetch = integer("size", size, 1), integer("prefetch", prefetch, 0)
    own = np.random.default_rng(np.random.randint(0, 1 << 31, 4)) if rng is None else child(np.random.default_rng(rng))  # noqa: NPY002
    order = own.permutation(len(samples)) if shuffle else np.arange(len(samples))
    parts = (order[i : i + size] for i in range(0, len(order), size))
    jobs = ((samples.fork(own), places) for places in parts)
    if prefetch == 0 or not samples.lazy:
        return (job.take(places) for job, places in jobs)
    return _ahead(jobs, prefetch)


def _ahead(jobs: Iterator[tuple[Samples, Any]], prefetch: int) -> Iterator[Any]:
    stop = threading.Event()
    waiting: deque[Worker] = deque()

    def fill() -> None:
        while len(waiting) < prefetch and (job := next(jobs, None)) is not None:
            waiting.append(Worker(*job, stop.is_set))

    try:
        fill()
        while waiting:
            batch = waiting.popleft().result()
            fill()
            yield batch
    finally:
        stop.set()
        for worker in waiting:
            worker.join()


class Worker(threading.Thread):
    """A thread that prepares one batch: none is left waiting for work when the loop is forgotten half-way."""

    def __init__(self, samples: Samples, places: Any, stopped: Callable[[], bool] = lambda: False) -> None:
        super().__init__(name="fastconv batch", daemon=True)
        self._work = samples, places, stopped
        self._batch: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        samples, places, stopped = self._work
        try:
            self._batch = samples.take(places, stopped)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join()
        if self._error is not None:
            raise self._error
        return self._batch


class Subset:
    """Some samples of a data set, as a data set.

    Parameters
    ----------
    dataset : object with `__getitem__`
    places : ndarray of int
        The numbers of the samples.
    """

    def __init__(self, dataset: Any, places: Any) -> None:
        self.dataset, self.places = dataset, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[int(self.places[i])]

    def __repr__(self) -> str:
        return f"Subset of {len(self)} samples of {self.dataset!r}"

    def fork(self, rng: np.random.Generator) -> "Subset":
        return Subset(forked(self.dataset, rng), self.places)


def validation_split(x: Any, t: Any = None, fraction: float = 0.2, *, rng: Any = 0) -> Any:
    """Set a random part of the training samples aside.

    Parameters
    ----------
    x : ndarray (N, ...), or a data set
    t : ndarray (N, ...), optional
        None: x is a data set with targets of its own, or has none.
    fraction : float
        The part set aside, 0 to 1, rounded to whole samples.
    rng : None, int or numpy.random.Generator
        The same seed, 0 by default, gives the same split.

    Returns
    -------
    (x_train, t_train), (x_validation, t_validation)
        Copies; or, without t, two arrays or two data sets, which read what they are asked for.

    Raises
    ------
    ValueError
        If `fraction` is not within 0..1, or the numbers of samples and targets differ.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected 0 to 1, got {fraction!r}")
    samples = Samples(x, t)
    order = np.random.default_rng(rng).permutation(len(samples))
    train, held = np.split(order, [len(order) - round(fraction * len(order))])

    def part(a: Any, places: Any) -> Any:
        return a[places] if _is_array(a) else Subset(a, places)

    if t is None:
        return part(samples.x, train), part(samples.x, held)
    return (part(samples.x, train), part(samples.t, train)), (part(samples.x, held), part(samples.t, held))

"""What a Trainer needs of the processes that train together: `Alone` is one, `Processes` are several."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .. import _random
from ..datasets._batches import Samples
from ..datasets.transforms import child
from ..networks import Network
from . import _ending, _mpi, _shards
from .parallel import DataParallel, differ_by_rank


class Alone:
    """One process."""

    rank, size = 0, 1
    leads = True  # whether this process prints, and writes files

    def part(self, count: int) -> slice:
        """This process's part of a batch."""
        return slice(0, count)

    def parts(self, count: int) -> Iterable[int]:
        """This process's share of a number of things."""
        return range(count)

    def trained(self, network: Any) -> Any:
        """What has `gradient`, `loss` and `last_loss` of the whole batch."""
        return network

    def random(self, seed: Any) -> Any:
        """Where random numbers for the choice of batches come from: the same on all processes."""
        return _random.source(seed)

    def fork(self, samples: Samples, rng: np.random.Generator, places: Any) -> tuple[Any, Any]:
        """Samples for a thread, and the places of the batch that it takes."""
        return samples.fork(rng), places

    def settle(self) -> None:
        """Make the running statistics the same everywhere, before they are used or saved."""

    def watching(self) -> AbstractContextManager[Any]:
        """Around a training: Ctrl-C waits for the end of a step."""
        return nullcontext()

    def agree(self, trainer: Any) -> None:
        """Behind a step: whether all go on."""

    def together(self, work: Callable[[], Any]) -> Any:
        """What one process does for all: a file read."""
        return work()

    def resumed(self, network: Any) -> None:
        """After a checkpoint was taken over."""

    def total(self, *numbers: float) -> Iterable[float]:
        """Sums over all processes."""
        return numbers

    def gathered(self, items: list[Any]) -> list[Any]:
        """The items of all processes."""
        return items

    def accuracy(self, network: Any, x: Any, t: Any) -> float:
        return network.accuracy(x, t)


class Processes(Alone):
    """The processes of a `DataParallel`."""

    def __init__(self, parallel: DataParallel) -> None:
        self.parallel = parallel
        self.rank, self.size, self.leads = parallel.rank, parallel.size, parallel.rank == 0
        self._ending = _ending.Ending(parallel.comm)

    def part(self, count: int) -> slice:
        return self.parallel.shard(count)

    def parts(self, count: int) -> Iterable[int]:
        return range(*_shards.bounds(count, self.rank, self.size))

    def trained(self, network: Any) -> Any:
        if network is not self.parallel.net:
            raise ValueError("network: expected the one that the training on several processes began with")
        return self.parallel

    def random(self, seed: Any) -> Any:
        if seed is None:
            seed = np.random.randint(0, 1 << 31, 4)  # noqa: NPY002 (the book's source of random numbers)
        return self.parallel.comm.bcast(np.random.default_rng(seed))

    def fork(self, samples: Samples, rng: np.random.Generator, places: Any) -> tuple[Any, Any]:
        """Every sample has random transforms of its own, which do not depend on the number of processes."""
        mine, own = self.part(len(places)), child(rng)
        if mine.start == mine.stop:  # one sample, for the shape of none
            return _Each(samples.fork(rng), own, slice(0, 1), empty=True), places[:1]
        return _Each(samples.fork(rng), own, mine), places[mine]

    def settle(self) -> None:
        self.parallel.average_statistics()

    def watching(self) -> AbstractContextManager[Any]:
        return self._ending.watching()

    def agree(self, trainer: Any) -> None:
        interrupted, stopped = self._ending.agree(trainer.stopped)
        if stopped:
            trainer.stop()
        if interrupted:
            self.settle()
            raise _ending.Interrupted(
                f"interrupted after step {trainer.current_iter} of {trainer.max_iter}: all {self.size} processes end"
            )

    def together(self, work: Callable[[], Any]) -> Any:
        return _mpi.together(self.parallel.comm, work)

    def resumed(self, network: Any) -> None:
        differ_by_rank(network, self.rank)
        if self.rank:
            bits: Any = vars(np.random)["get_bit_generator"]()  # of the masks of the book's dropout
            bits.state = bits.jumped(self.rank).state

    def total(self, *numbers: float) -> Iterable[float]:
        sums = np.array(numbers, np.float64)
        self.parallel.comm.Allreduce(_mpi.mpi().IN_PLACE, sums)
        return sums.tolist()

    def gathered(self, items: list[Any]) -> list[Any]:
        return [item for each in self.parallel.comm.allgather(items) for item in each]

    def accuracy(self, network: Any, x: Any, t: Any) -> float:
        own = self.part(len(x))
        return self.parallel.accuracy(x[own], t[own])


class _Each:
    """Samples that are each taken by a twin of their own: those of the others' are made, too, but not used."""

    def __init__(self, samples: Samples, rng: np.random.Generator, mine: slice, empty: bool = False) -> None:
        self._samples, self._rng, self._mine, self._empty = samples, rng, mine, empty

    def take(self, places: Any, stopped: Callable[[], bool] = lambda: False) -> Any:
        def taken() -> Iterator[Any]:
            forks = [self._samples.fork(self._rng) for _ in range(self._mine.stop)][self._mine]
            for fork, place in zip(forks, places, strict=True):
                yield None if stopped() else fork.take([place])

        parts = list(taken())
        if any(part is None for part in parts):
            return None
        if not isinstance(parts[0], tuple):
            return parts[0]  # inputs alone, which the trainer refuses
        end = 0 if self._empty else len(parts)
        x, t = ([part[i] for part in parts] for i in (0, 1))
        shapes = {a.shape for a in x}
        if len(shapes) > 1:
            first, other = sorted(shapes)[:2]
            raise ValueError(
                f"the inputs of a batch differ in shape, {first[1:]} and {other[1:]}: a transform can make them equal"
            )
        return np.concatenate(x)[:end], np.concatenate(t)[:end]


def team_of(network: Any, distributed: bool, device: str) -> tuple[Any, Alone]:
    """The network, and the processes that train it.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not go together.
    """
    if not isinstance(distributed, (bool, np.bool_)):
        raise TypeError(f"distributed: expected True or False, got {distributed!r}")
    if not distributed:
        if isinstance(network, DataParallel):
            raise ValueError("distributed: expected True for a DataParallel network, got False")
        return network, Alone()
    if device != "cpu":
        raise ValueError(f"distributed: several processes train on the CPU, expected device='cpu', got {device!r}")
    if not isinstance(network, (DataParallel, Network)):
        raise TypeError(f"distributed: expected a network of fastconv, got {type(network).__name__}")
    parallel = network if isinstance(network, DataParallel) else DataParallel(network)
    return parallel.net, Processes(parallel)

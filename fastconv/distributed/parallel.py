"""A network trained by several processes, each on its part of every batch."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checkpoint
from .._between import between
from .._check.arguments import integer
from ..networks import Network
from . import _ending, _mpi, _shards, _threads
from ._buckets import Buckets
from ._normalization import Across

Array = npt.NDArray[Any]

_OWN = ("gradient", "_propagate")


class DataParallel:
    """A network of which every MPI process has a copy: gradients are those of the whole batch, the same on all.

    Every process gives `gradient` its own part of a batch. Gradients are summed while the backward pass goes on, and
    come out as those of the mean over all samples, however unequal the parts are; a part may be empty. With the same
    optimiser everywhere, the copies stay equal.

    Parameters
    ----------
    net : Network
        On the CPU. Its parameters and running statistics become those of the first process.
    comm : mpi4py.MPI.Intracomm, optional
        The processes; COMM_WORLD by default. Messages go through a duplicate.
    bucket_bytes : int
        Gradients are sent in pieces of so many bytes, at least 1,024.
    sync_batch_norm : bool
        False: a batch normalisation takes the statistics of its process's part. True: those of the whole batch, for one
        more message forward and backward in each such layer.

    Attributes
    ----------
    net : Network
    comm
        The duplicate.
    rank, size : int
        The number of this process, and how many there are.
    last_loss : float
        The loss of the last `gradient`, the mean over the whole batch, on all processes.

    Raises
    ------
    ModuleNotFoundError
        If mpi4py is not installed.
    TypeError, ValueError
        If the network is not one of fastconv on the CPU, or differs between the processes.

    Notes
    -----
    Constructing one, `gradient`, `loss`, `accuracy`, `broadcast` and `average_statistics` are collective: all processes
    call them, in the same order. An exception that nobody catches on one process ends all of them.

    The layers' own `dW`, ... are those of the whole batch, too, but for layers that are used in several places.

    Every process takes its share of the CPUs of its node, unless the number of threads was set: by
    ``FASTCONV_NUM_THREADS``, ``OMP_NUM_THREADS`` or `fastconv.set_num_threads`.

    Examples
    --------
    ::

        parallel = DataParallel(ResNet18())
        for x, t in batches(x_train, t_train, 256, rng=0):  # the same batches on every process
            mine = parallel.shard(len(x))
            optimizer.update(parallel.params, parallel.gradient(x[mine], t[mine]))
    """

    def __init__(
        self, net: Network, comm: Any = None, *, bucket_bytes: int = 1 << 22, sync_batch_norm: bool = False
    ) -> None:
        self.comm = _mpi.own(comm)
        _ending.end_together()
        if not isinstance(net, Network):
            raise TypeError(f"net: expected one of fastconv's networks, got {type(net).__name__}")
        if any(getattr(type(net), name) is not getattr(Network, name) or name in vars(net) for name in _OWN):
            raise TypeError("net: only Network's own gradient can be distributed, this network has another")
        if net.device != "cpu":
            raise ValueError(f"net: expected a network on the CPU, this one is on {net.device!r}")
        self._bucket_bytes = integer("bucket_bytes", bucket_bytes, 1)
        self.net, self.rank, self.size = net, self.comm.rank, self.comm.size
        self._MPI = _mpi.mpi()
        self.last_loss: Any = None
        self._program: Any = None
        self._trained: Any = None
        self._buckets: Any = None
        self.sync_batch_norm = bool(sync_batch_norm)
        _threads.take_share(self.comm)
        self.broadcast()
        across = Across(self.comm) if self.sync_batch_norm and self.size > 1 else None
        for layer in net.every_layer():
            if hasattr(layer, "across"):
                layer.across = across
        differ_by_rank(net, self.rank)

    def __repr__(self) -> str:
        return f"DataParallel({type(self.net).__name__}, process {self.rank} of {self.size})"

    @property
    def params(self) -> dict[str, Array]:
        """Those of the network."""
        return self.net.params

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """`Network.predict`, on this process alone."""
        return self.net.predict(x, train_flg)

    def shard(self, count: int) -> slice:
        """This process's part of a batch of so many samples; see `fastconv.distributed.shard`."""
        return _shards.shard(count, self.rank, self.size)

    # --- a step -------------------------------------------------------------------------------------------------------

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The gradients of the whole batch, under the keys of `params`.

        Parameters
        ----------
        x : ndarray (n, ...)
            This process's part of the batch; n may differ between processes and be 0, but not on all.
        t : ndarray (n,) of int, or (n, classes)
        """
        if self.size == 1:
            found = self.net.gradient(x, t)
            self.last_loss = self.net.last_loss
            return found
        _paired(x, t)
        program, buckets = self._prepared()
        buckets.begin()
        counts = np.array([len(x), len(x) > 0], np.float64)
        counted = self.comm.Iallreduce(self._MPI.IN_PLACE, counts)  # goes on during the forward pass
        loss = np.zeros(1)

        def weigh(dout: Any) -> Any:
            """The loss's gradient as this process's part of that of the whole batch."""
            loss[0], factor = self._weighted(self.net.last_loss, len(x), counted, counts)
            summed.append(self.comm.Iallreduce(self._MPI.IN_PLACE, loss))
            return dout * dout.dtype.type(factor)

        summed: list[Any] = []
        program.after_backward = buckets.after
        try:
            if len(x) or self.sync_batch_norm:
                self._propagate(x, t, weigh)
            weighed = bool(summed)
            if not weighed:  # this process had nothing to weigh
                counted.Wait()
                summed.append(self.comm.Iallreduce(self._MPI.IN_PLACE, loss))
                buckets.send_nothing()
        finally:
            program.after_backward = None
        found = buckets.finish(present=weighed)
        summed[0].Wait()
        if not counts[0]:
            raise ValueError("x: expected at least one sample on one of the processes, got none")
        self.net.last_loss = self.last_loss = float(loss[0] - self._counted_too_often(counts[1]))
        if not self.net.weight_decay_lambda:
            return found
        return {name: self.net._decayed(owner, found[name]) for name, owner in self._trained}

    def _propagate(self, x: Array, t: Array, weigh: Any) -> None:
        if len(x):
            self.net._propagate(x, t, weigh)
        else:  # other processes wait for this one in the batch normalisations
            program = self._program
            program.after_backward = None
            y = program.forward(x, True)
            program.backward(np.zeros_like(y), needs_dx=False)

    def _prepared(self) -> tuple[Any, Buckets]:
        """The network's passes, and buckets for them: new ones where layers were replaced or frozen."""
        net = self.net
        if net.device != "cpu":
            raise ValueError(f"net: expected a network on the CPU, this one is on {net.device!r}")
        program = net._program()
        if program is not self._program or net._trained is not self._trained:
            self._program, self._trained = program, net._trained
            self._buckets = Buckets(program, self._trained, self.comm, self._bucket_bytes)
        return program, self._buckets

    @property
    def _sums(self) -> bool:
        """Whether the loss is a sum over the samples, not a mean."""
        return getattr(self.net.last_layer, "reduction", "mean") in ("sum", "half_sum")

    def _weighted(self, loss: Any, count: int, counted: Any, counts: Array) -> tuple[float, float]:
        """This process's part of the loss, and the factor of its gradients."""
        counted.Wait()
        factor = 1.0 if self._sums else count / counts[0]
        return factor * float(loss), factor

    def _counted_too_often(self, parts: float) -> float:
        """What a sum of losses has of the weight decay beyond one: means have a part of it each."""
        net = self.net
        if not (self._sums and net.weight_decay_lambda):
            return 0.0
        weights = [owner.array for owner in net._owners.values() if owner.attribute.startswith("W")]
        return (parts - 1) * float(between(weights[0]).plus_squares(0.0, weights, 0.5 * net.weight_decay_lambda))

    # --- measures -----------------------------------------------------------------------------------------------------

    def loss(self, x: Array, t: Array, train_flg: bool | None = None) -> float:
        """The loss of all processes' parts together; parameters as for `gradient`."""
        if self.size == 1:
            return float(self.net.loss(x, t, train_flg))
        _paired(x, t)
        own = self.net.loss(x, t, train_flg) if len(x) else 0.0
        numbers = np.array([(1 if self._sums else len(x)) * float(own), len(x), len(x) > 0])
        self.comm.Allreduce(self._MPI.IN_PLACE, numbers)
        total, count, parts = numbers
        if not count:
            raise ValueError("x: expected at least one sample on one of the processes, got none")
        return float(total - self._counted_too_often(parts) if self._sums else total / count)

    def accuracy(self, x: Array, t: Array, batch_size: int = 100) -> float:
        """The share of right predictions among the samples of all processes."""
        _paired(x, t)
        right = round(self.net.accuracy(x, t, batch_size) * len(x)) if len(x) else 0
        counts = np.array([right, len(x)], np.int64)
        self.comm.Allreduce(self._MPI.IN_PLACE, counts)
        if not counts[1]:
            raise ValueError("x: expected at least one sample on one of the processes, got none")
        return int(counts[0]) / int(counts[1])

    # --- the same on all processes ------------------------------------------------------------------------------------

    def broadcast(self) -> None:
        """Give every process the parameters and running statistics of the first one.

        Raises
        ------
        ValueError
            On all processes, if their networks differ in names, shapes or dtypes of parameters.
        """
        self.net._program()
        owners, statistics = self.net._owners, self.net._statistics
        text = repr([(name, owner.array.shape, str(owner.array.dtype)) for name, owner in owners.items()])
        prints = self.comm.allgather(hashlib.sha256(text.encode()).hexdigest())
        other = [rank for rank, each in enumerate(prints) if each != prints[0]]
        if other:
            raise ValueError(f"net: processes {other} have another network than process 0: names, shapes or dtypes")
        for owner in owners.values():
            self._receive(owner)
        shapes = self.comm.bcast(
            {name: (a.shape, a.dtype) for name, owner in statistics.items() if (a := owner.array) is not None}
        )
        for name, owner in statistics.items():
            if name not in shapes:
                owner.array = None
                continue
            shape, dtype = shapes[name]
            if owner.array is None or owner.array.shape != shape or owner.array.dtype != dtype:
                owner.array = np.empty(shape, dtype)
            self._receive(owner)

    def _receive(self, owner: Any) -> None:
        a = owner.array
        whole = a if a.flags.carray else np.ascontiguousarray(a)
        numbers = whole.reshape(-1).view(np.uint8)
        for start in range(0, numbers.size, 1 << 30):  # MPI counts in 32 bits
            self.comm.Bcast(numbers[start : start + (1 << 30)])
        if whole is a:
            return
        if a.flags.writeable:
            a[...] = whole
        else:
            owner.array = whole

    def average_statistics(self) -> None:
        """Make the running statistics the mean over the processes: they differ, without `sync_batch_norm`."""
        if self.size == 1 or self.sync_batch_norm:
            return
        self.net._program()
        owners = self.net._statistics
        mine = {name: owner.array for name, owner in owners.items() if owner.array is not None}
        everyone = self.comm.allgather(mine)
        for name, owner in owners.items():
            known = [arrays[name] for arrays in everyone if name in arrays]
            if not known:
                continue
            first = known[0].astype(np.float64)
            change = sum(((a - first) for a in known[1:]), np.zeros_like(first)) / len(known)  # equal ones stay equal
            mean = (first + change).astype(known[0].dtype)
            if owner.array is not None and owner.array.flags.writeable:
                owner.array[...] = mean
            else:
                owner.array = mean


def _paired(x: Any, t: Any) -> None:
    if len(x) != len(t):
        raise ValueError(f"t: expected a target for each of {len(x)} samples, got {len(t)}")


def differ_by_rank(net: Network, rank: int) -> None:
    """Masks of dropout for one part of a batch are not those of another: generators of a seed go on apart."""
    for _, generator in _checkpoint.generators(net):
        jumped = getattr(generator.bit_generator, "jumped", None)
        if jumped is not None and rank:
            generator.bit_generator.state = jumped(rank).state

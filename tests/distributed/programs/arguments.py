"""Arguments that are refused: a JSON line for each, with every process's message and the one expected."""

import json

import numpy as np
from mpi4py import MPI

from fastconv.distributed import DataParallel
from fastconv.layers import Affine, BatchNorm2d
from fastconv.networks import Network, TwoLayerNet
from fastconv.trainer import Trainer

WORLD = MPI.COMM_WORLD
X, T = np.zeros((4, 3)), np.zeros(4, int)


class Own(Network):
    def gradient(self, x, t):
        return {}


def net():
    return TwoLayerNet(3, 4, 2, rng=0)


def parallel():
    return DataParallel(net())


def normalised():
    return DataParallel(Network([BatchNorm2d(3), Affine(np.ones((3, 2)), np.zeros(2))]), sync_batch_norm=True)


CASES = {
    "net": (lambda: DataParallel(3), "net: expected one of fastconv's networks, got int"),
    "own gradient": (
        lambda: DataParallel(Own([Affine(np.ones((3, 2)), np.zeros(2))])),
        "net: only Network's own gradient can be distributed, this network has another",
    ),
    "comm": (lambda: DataParallel(net(), comm=3), "comm: expected an mpi4py.MPI.Intracomm, got int"),
    "bucket_bytes": (lambda: DataParallel(net(), bucket_bytes=0), "bucket_bytes: expected at least 1, got 0"),
    "different networks": (
        lambda: DataParallel(TwoLayerNet(3, 4 + WORLD.rank, 2)),
        "net: processes [1] have another network than process 0: names, shapes or dtypes",
    ),
    "x and t": (lambda: parallel().gradient(X, T[:1]), "t: expected a target for each of 4 samples, got 1"),
    "no sample": (
        lambda: parallel().gradient(X[:0], T[:0]),
        "x: expected at least one sample on one of the processes, got none",
    ),
    "no sample to measure": (
        lambda: parallel().accuracy(X[:0], T[:0]),
        "x: expected at least one sample on one of the processes, got none",
    ),
    "no sample for a loss": (
        lambda: parallel().loss(X[:0], T[:0]),
        "x: expected at least one sample on one of the processes, got none",
    ),
    "one value": (
        lambda: normalised().gradient(X[: 1 - WORLD.rank], T[: 1 - WORLD.rank]),
        f"x: expected more than 1 value per channel over all processes when training, got {(1 - WORLD.rank, 3)}",
    ),
    "not distributed": (
        lambda: Trainer(parallel(), X, T),
        "distributed: expected True for a DataParallel network, got False",
    ),
    "a foreign network": (
        lambda: Trainer(object(), X, T, distributed=True),
        "distributed: expected a network of fastconv, got object",
    ),
}
for name, (call, wanted) in CASES.items():
    try:
        call()
        message = "nothing was raised"
    except (TypeError, ValueError) as error:
        message = str(error)
    told = WORLD.gather((message, wanted))
    if WORLD.rank == 0:
        same = [wanted if message == expected else message for message, expected in told]
        print(json.dumps({"name": name, "messages": same, "wanted": wanted}), flush=True)

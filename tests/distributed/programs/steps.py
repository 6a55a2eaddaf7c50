"""Twenty steps of several networks by all processes, compared with one process that takes whole batches.

Prints a JSON line for each case: the errors of parameters, statistics and losses, and whether all processes have the
same bits.
"""

import hashlib
import json
import sys

import numpy as np
from mpi4py import MPI

from fastconv import layers, networks, optim
from fastconv.distributed import DataParallel
from fastconv.layers import IdentityWithLoss, MeanSquaredErrorLoss

WORLD = MPI.COMM_WORLD
N = 60


def convolution(rng, inner, outer, dtype):
    W = rng.standard_normal((outer, inner, 3, 3)) * (2 / (9 * inner)) ** 0.5
    return layers.Convolution(W.astype(dtype), np.zeros(outer, dtype), 1, 1)


def affine(rng, inner, outer, dtype):
    return layers.Affine((rng.standard_normal((inner, outer)) * inner**-0.5).astype(dtype), np.zeros(outer, dtype))


def simple(dtype):
    net = networks.SimpleConvNet((1, 12, 12), hidden_size=20, weight_init_std="he", dtype=dtype, rng=0)
    net.weight_decay_lambda = 0.01
    return net


def residual(dtype, loss=None, decay=0.0):
    """With batch normalisations of both kinds, a residual branch, and a layer that is used twice."""
    rng = np.random.default_rng(0)
    twice = convolution(rng, 6, 6, dtype)
    body = [twice, layers.BatchNorm2d(6, dtype=dtype), layers.Relu(), twice]
    return networks.Network(
        [
            convolution(rng, 1, 6, dtype),
            layers.BatchNorm2d(6, dtype=dtype),
            layers.Relu(),
            layers.Residual(body),
            layers.Pooling(4, 4, 4),
            affine(rng, 54, 10, dtype),
            layers.BatchNormalization(np.ones(10, dtype), np.zeros(10, dtype)),
        ],
        loss,
        weight_decay_lambda=decay,
    )


def plain(dtype, loss=None, decay=0.0, frozen=False):
    rng = np.random.default_rng(0)
    net = networks.Network(
        {
            "conv1": convolution(rng, 1, 4, dtype), "relu1": layers.Relu(), "conv2": convolution(rng, 4, 4, dtype),
            "relu2": layers.Relu(), "pool": layers.Pooling(4, 4, 4), "affine": affine(rng, 36, 10, dtype),
        },
        loss,
        weight_decay_lambda=decay,
    )  # fmt: skip
    if frozen:
        net.freeze("conv1")
    return net


# name: network, samples of each batch, bucket_bytes, sync_batch_norm, dtype
CASES = {
    **{f"buckets of {b}": (simple, 16, b, False, np.float64) for b in (1, 1000, 1 << 14, 1 << 22)},
    "uneven": (simple, 13, 5000, False, np.float64),
    "an empty shard": (simple, 1, 5000, False, np.float64),
    "float32": (simple, 13, 5000, False, np.float32),
    "common statistics": (residual, 13, 1000, True, np.float64),
    "common statistics, an empty shard": (residual, 1, 1000, True, np.float64),
    "common statistics, float32": (residual, 13, 1000, True, np.float32),
    "a frozen layer": (lambda dtype: plain(dtype, frozen=True), 7, 1000, False, np.float64),
    "a mean over elements": (lambda dtype: plain(dtype, MeanSquaredErrorLoss()), 7, 1000, False, np.float64),
    "a sum with decay": (lambda dtype: plain(dtype, IdentityWithLoss(), 0.1), 7, 1000, False, np.float64),
}


def train(trained, mine, batch, x, t):
    """The losses of twenty steps."""
    optimizer, rng, losses = optim.Momentum(1e-3), np.random.default_rng(2), []
    for _ in range(20):
        places = rng.choice(N, batch)
        own = places[mine(batch)]
        grads = trained.gradient(x[own], t[own])
        optimizer.update(trained.params, grads)
        losses.append(float(trained.last_loss))
    return np.array(losses)


def error(a, b):
    """The largest difference, relative to the numbers around."""
    return float(np.max(np.abs(a - b)) / max(1e-3, np.max(np.abs(b)))) if np.size(b) else 0.0


def largest(a, b):
    return max([error(a[name], b[name]) for name in b], default=0.0)


def compare(name):
    build, batch, bucket_bytes, sync, dtype = CASES[name]
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((N, 1, 12, 12)).astype(dtype), rng.integers(0, 10, N)
    alone = build(dtype)
    if not alone.last_layer.classifies:
        t = rng.standard_normal((N, 10)).astype(dtype)
    several = build(dtype)
    if WORLD.rank:
        for p in several.params.values():
            p += 1  # the first process's are taken
    parallel = DataParallel(several, bucket_bytes=bucket_bytes, sync_batch_norm=sync)
    begin = {key: p.copy() for key, p in alone.params.items()}
    got = train(parallel, parallel.shard, batch, x, t)
    wanted = train(alone, lambda n: slice(0, n), batch, x, t)
    bits = hashlib.sha256(b"".join(p.tobytes() for p in several.params.values())).hexdigest()
    part = parallel.shard(N)
    found = {
        "case": name,
        "parameters": largest(several.params, alone.params),
        "moved": largest(alone.params, begin),
        "statistics": largest(several.named_statistics(), alone.named_statistics()),
        "losses": error(got, wanted),
        "loss": error(parallel.loss(x[part], t[part], train_flg=False), alone.loss(x, t, train_flg=False)),
        "same": len(set(WORLD.allgather(bits))) == 1,
    }
    if alone.last_layer.classifies:
        found["accuracy"] = [parallel.accuracy(x[part], t[part]), alone.accuracy(x, t)]
    return found


for case in sys.argv[1:] or CASES:
    result = compare(case)
    if WORLD.rank == 0:
        print(json.dumps(result), flush=True)

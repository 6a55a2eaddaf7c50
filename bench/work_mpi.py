"""One job of `bench/compare_mpi.py`, started by mpiexec: the processes take steps together, and the first one prints.

The job is a JSON text: {"side": "fastconv" or "torch", "net": name, "batch": samples of each process, "seconds": of
each kind of measurement, "threads": of each process, "port": for PyTorch}. The answer is a JSON text, with seconds.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import work_deep
import work_steps
from mpi4py import MPI

WORLD = MPI.COMM_WORLD
BOOK = ("SimpleConvNet", "DeepConvNet")
SIZES = tuple(1 << k for k in range(8, 27, 2))  # bytes of messages whose time is measured
TURNS = 5


def data(net: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    return work_steps.data(net, count) if net in BOOK else work_deep.batch(net, count)


def our_net(net: str) -> Any:
    return work_steps.our_net(net, np.float32) if net in BOOK else work_deep.network(net)


def turns(kinds: dict[str, Callable[[], Any]], seconds: float) -> dict[str, dict[str, float]]:
    """Best and median time of each kind of call, in turns; all processes make the same calls."""
    times: dict[str, list[float]] = {name: [] for name in kinds}
    counts = {}
    for name, call in kinds.items():
        call()
        WORLD.Barrier()
        start = time.perf_counter()
        call()
        once = WORLD.allreduce(time.perf_counter() - start, MPI.MAX)
        counts[name] = max(1, min(200, math.ceil(seconds / TURNS / once)))
    for _ in range(TURNS):
        for name, call in kinds.items():
            WORLD.Barrier()
            for _ in range(counts[name]):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    found = {name: {"best": min(each), "median": statistics.median(each)} for name, each in times.items()}
    every = WORLD.allgather(found)  # a step is as slow as the slowest process
    return {name: {key: max(one[name][key] for one in every) for key in ("best", "median")} for name in kinds}


# ---- ours ----


def ours(job: dict[str, Any]) -> dict[str, Any]:
    import fastconv
    from fastconv.distributed import DataParallel
    from fastconv.optim import SGD

    fastconv.set_num_threads(job["threads"])
    net, optimiser = our_net(job["net"]), SGD(1e-4)
    parallel = DataParallel(net)
    x, t = data(job["net"], job["batch"])

    def step() -> None:
        optimiser.update(net.params, parallel.gradient(x, t))

    def compute() -> None:
        optimiser.update(net.params, net.gradient(x, t))

    def lockstep() -> None:
        compute()
        WORLD.Barrier()  # a message of nothing: what remains is waiting for the slowest process

    step()
    kinds = {"step": step, "compute": compute, "lockstep": lockstep}
    if WORLD.size > 1:
        kinds["communication"] = lambda: communicate(parallel)
    found: dict[str, Any] = {"times": turns(kinds, job["seconds"])}
    if WORLD.size > 1:
        found["buckets"] = readiness(parallel, x, t)
        found["messages"] = messages()
    return found


def communicate(parallel: Any) -> None:
    """The messages of a step, of the gradients that the layers have, and nothing else."""
    buckets = parallel._buckets
    buckets.begin()
    for number in range(buckets._last):
        buckets._complete(number)
    buckets.finish()


def readiness(parallel: Any, x: Any, t: Any) -> list[list[float]]:
    """For every bucket its bytes, and how many seconds before the end of the backward pass it is full."""
    net, buckets = parallel.net, parallel._buckets
    stamps: list[float] = []
    program = net._program()
    program.after_backward = lambda _: stamps.append(time.perf_counter())
    net.gradient(x, t)
    program.after_backward = None
    sent: list[tuple[int, int]] = []  # the step behind which it is sent, and bytes
    for number, each in buckets._large.items():
        for large in each:
            sent += [(number, part.nbytes) for part in large.take(None)]
    for row in buckets._rows:
        row.begin()
        for number, places in row.due.items():
            sent += [(number, bucket.nbytes) for bucket in row.full(places[-1])]
    last = len(stamps) - 1
    return [[size, stamps[last] - stamps[min(number, last)]] for number, size in sorted(sent)]


def messages() -> list[list[float]]:
    """Bytes and best time of sums over all processes."""
    found = []
    for size in SIZES:
        a = np.ones(size // 4, np.float32)
        best = math.inf
        for _ in range(30 if size < 1 << 22 else 6):
            WORLD.Barrier()
            start = time.perf_counter()
            WORLD.Iallreduce(MPI.IN_PLACE, a).Wait()
            best = min(best, time.perf_counter() - start)
        found.append([size, WORLD.allreduce(best, MPI.MAX)])
    return found


# ---- PyTorch's DistributedDataParallel, on gloo ----


def torchs(job: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(job["threads"])
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(job["port"]))
    torch.distributed.init_process_group("gloo", rank=WORLD.rank, world_size=WORLD.size)
    kinds = {}
    for name, memory in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
        kinds[name] = torch_step(job, memory, DistributedDataParallel)
    times = turns(kinds, job["seconds"])
    torch.distributed.destroy_process_group()
    return {"times": {"step": min(times.values(), key=lambda each: each["median"])}}


def torch_step(job: dict[str, Any], memory: Any, parallel: Any) -> Callable[[], Any]:
    import torch

    if job["net"] in BOOK:
        model = work_steps.torch_net(job["net"])
    else:
        from twin import Twin

        model = Twin(our_net(job["net"])).train()
    model = parallel(model.to(memory_format=memory))
    x, t = (torch.tensor(a) for a in data(job["net"], job["batch"]))
    x, optimiser = x.to(memory_format=memory), torch.optim.SGD(model.parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), t).backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    answer = {"fastconv": ours, "torch": torchs}[given["side"]](given)
    if WORLD.rank == 0:
        print(json.dumps(answer), flush=True)

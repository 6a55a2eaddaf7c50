"""Our CUDA kernels against PyTorch on the same card: correctness first, then times by CUDA events.

    python bench/compare_gpu.py [--seconds 400] [--out bench/results]

Every operation runs on copies of its arrays that together exceed the L2 cache, one after the other, between two events;
the figure is the median of several such rounds. PyTorch runs in float32 with TF32 off and again with it on. A training
step is also replayed as a CUDA graph, on both sides. Shares of the card's ceilings, a copy's bandwidth and
a large product's rate, are measured in the same run. Ends with 1 when a result is wrong, 2 where there is no card.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import optim
from fastconv.testing import SPEED, ConvCase, normal

BATCH = 256
ROUNDS = 7
LONGEST = 1000.0  # milliseconds of rounds for one figure: a slow side has fewer, at least one


@dataclass
class Row:
    """One operation on one shape: milliseconds of each side, and what it moves or computes."""

    name: str
    ours: float
    torch: float
    torch_tf32: float | None = None
    gigabytes: float = 0.0
    gigaflops: float = 0.0
    error: float = 0.0

    def line(self, ceilings: dict[str, float]) -> str:
        share = ""
        if self.gigaflops:
            share = f"{self.gigaflops / self.ours / ceilings['tflops'] * 100:.0f} % of rate"
        elif self.gigabytes:
            share = f"{self.gigabytes / self.ours * 1e3 / ceilings['gbs'] * 100:.0f} % of bandwidth"
        tf32 = "" if self.torch_tf32 is None else f"{self.torch_tf32 / self.ours:.2f}"
        return f"| {self.name} | {self.ours:.4f} | {self.torch / self.ours:.2f} | {tf32} | {share} | {self.error:.1e} |"


HEADER = "| operation | ms | PyTorch / ours | TF32 / ours | of the ceiling | error |\n|---|---:|---:|---:|---:|---:|"


def table(rows: list[Row], ceilings: dict[str, float]) -> str:
    """A Markdown table."""
    return "\n".join([HEADER, *(row.line(ceilings) for row in rows)])


def milliseconds(calls: list[Callable[[], Any]]) -> float:
    """Median time of one call, over rounds through all of them; the first round is for warming up."""
    times: list[float] = []
    while len(times) < 2 or (len(times) <= ROUNDS and sum(times) * len(calls) < LONGEST):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / len(calls))
    return statistics.median(times[1:])


def copies_of(tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Copies that together are larger than twice the L2 cache, at least two."""
    size = sum(t.numel() * t.element_size() for t in tensors)
    l2 = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20)
    return [[t.clone() for t in tensors] for _ in range(min(40, max(2, 2 * l2 // max(size, 1))))]


def measure(
    name: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    tensors: list[torch.Tensor],
    **ceiling: float,
) -> Row:
    """Compare one result in float64's place, then time both sides."""
    expected = theirs(*(t.double() for t in tensors))
    got = torch.as_tensor(ours(*map(fc.to_device, tensors)), device="cuda").double()
    error = float((got - expected).norm() / expected.norm().clamp_min(1e-30))
    sets = copies_of(tensors)
    device = [[fc.to_device(t) for t in one] for one in sets]
    mine = milliseconds([lambda a=a: ours(*a) for a in device])
    times = []
    for tf32 in (False, True):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        times.append(milliseconds([lambda a=a: theirs(*a) for a in sets]))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return Row(name, mine, times[0], times[1], error=error, **ceiling)


def tensor(shape: Any, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(normal(shape, np.float32, seed), device="cuda")


def convolutions(case: ConvCase) -> Iterator[Row]:
    """Forward, backward-data and backward-weights at BATCH images."""
    o = case.options
    x, w = tensor((BATCH, case.C, case.H, case.W)), tensor((case.FN, case.C // case.groups, *case.kernel), 1) * 0.05
    y = F.conv2d(x, w, None, **o)
    dout = torch.randn_like(y)
    flops = {"gigaflops": 2e-9 * y.numel() * w[0].numel()}
    name = f"{case.C}x{case.H} {case.FN}@{case.kernel[0]}x{case.kernel[1]} s{case.stride} p{case.padding}"
    if case.groups > 1:
        name, flops = f"depthwise {name}", {"gigabytes": 4e-9 * (x.numel() + y.numel())}
    grad = torch.nn.grad
    yield measure(
        f"conv {name}", lambda x, w: fc.conv2d(x, w, **o), lambda x, w: F.conv2d(x, w, None, **o), [x, w], **flops
    )
    yield measure(
        f"dX {name}",
        lambda d, x, w: fc.conv2d_backward(d, x, w, **o, needs=(True, False, False))[0],
        lambda d, x, w: grad.conv2d_input(x.shape, w, d, **o),
        [dout, x, w],
        **flops,
    )
    yield measure(
        f"dW {name}",
        lambda d, x, w: fc.conv2d_backward(d, x, w, **o, needs=(False, True, False))[1],
        lambda d, x, w: grad.conv2d_weight(x, w.shape, d, **o),
        [dout, x, w],
        **flops,
    )


def others() -> Iterator[Row]:
    """What is bound by memory, and the affine map."""
    x = tensor((BATCH, 64, 56, 56))
    moved = 4e-9 * x.numel()
    yield measure("relu", fc.relu, F.relu, [x], gigabytes=2 * moved)
    yield measure(
        "max pool 2", lambda x: fc.max_pool2d(x, 2)[0], lambda x: F.max_pool2d(x, 2), [x], gigabytes=1.75 * moved
    )
    gamma = torch.ones(64, device="cuda")
    yield measure(
        "batch norm, training",
        lambda x, g: fc.batch_norm(x, g, None, None, None, True)[0],
        lambda x, g: F.batch_norm(x, None, None, g, None, True),
        [x, gamma],
        gigabytes=3 * moved,
    )
    scores = tensor((4096, 1000))
    yield measure("softmax", fc.softmax, lambda x: F.softmax(x, -1), [scores], gigabytes=8e-9 * scores.numel())
    for case in SPEED["affine"]:
        a, b = tensor((case.N, case.K)), tensor((case.K, case.M), 1)
        name, flops = f"affine {case.N}x{case.K}x{case.M}", 2e-9 * case.N * case.K * case.M
        yield measure(name, fc.affine, torch.matmul, [a, b], gigaflops=flops)


def ceilings() -> dict[str, float]:
    """A large copy's bandwidth in GB/s, counting reading and writing, and a large product's rate in TFLOP/s."""
    a = torch.empty(1 << 28, device="cuda")
    b = torch.empty_like(a)
    gbs = 2 * a.numel() * 4e-6 / milliseconds([lambda: b.copy_(a)])
    m = torch.randn(8192, 8192, device="cuda")
    return {"gbs": gbs, "tflops": 2e-9 * 8192**3 / milliseconds([lambda: m @ m])}


def captured(step: Callable[[], Any]) -> Callable[[], Any]:
    """PyTorch's warmed step as a CUDA graph: its replay."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def steps() -> Iterator[Row]:
    """Training steps by SGD, eager and as a graph; our graph's time has the copying of the batch to it."""
    from work_steps import NETS, our_net, torch_net  # beside this file, where Python looks when it is the program

    for name, batch in (("SimpleConvNet", 100), ("DeepConvNet", 100), ("LeNet", 4)):
        x, t = tensor((batch, *NETS[name][0])), torch.arange(batch, device="cuda") % 10
        theirs = torch_net(name).cuda()
        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01)
        ours, sgd = [our_net(name, np.float32) for _ in range(2)], optim.SGD(lr=0.01)
        for key, p in ours[0].params.items():
            ours[1].params[key][...] = p
        mine_x, mine_t = fc.to_device(x), fc.to_device(t)
        eager, graphed = (net.to("cuda") for net in ours)
        replay = graphed.capture(mine_x, mine_t, sgd)

        def our_step(net: Any = eager, x: Any = mine_x, t: Any = mine_t) -> None:
            optim.SGD(lr=0.01).update(net.params, net.gradient(x, t))

        def their_step(net: Any = theirs, x: Any = x, t: Any = t, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x), t).backward()
            optimizer.step()

        for _ in range(5):
            our_step()
            replay(mine_x, mine_t)
        error = 0.0 if name == "DeepConvNet" else difference(eager, graphed)  # dropout's masks are each network's own
        our_graph = partial(replay, mine_x, mine_t)
        yield Row(f"{name} step, eager", milliseconds([our_step] * 20), milliseconds([their_step] * 20))
        their_graph = captured(their_step)
        yield Row(f"{name} step, graph", milliseconds([our_graph] * 20), milliseconds([their_graph] * 20), error=error)


def difference(one: Any, other: Any) -> float:
    """The largest difference of two networks' parameters, relative to the parameters' largest."""
    pairs = [(fc.to_host(p), fc.to_host(other.params[key])) for key, p in one.params.items()]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs)


def all_rows() -> Iterator[Row]:
    yield from others()
    yield from steps()
    for case in (*SPEED["conv2d"], *SPEED["depthwise"]):
        yield from convolutions(case)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=400, help="begin nothing new after so long; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, help="folder for gpu.md and gpu.json")
    options = parser.parse_args(arguments)
    reason = fc.backends()["cuda"] or ("" if torch.cuda.is_available() else "PyTorch finds no CUDA device")
    if reason:
        print(f"no comparison: {reason}", file=sys.stderr)
        return 2
    began, rows, limits = time.perf_counter(), [], ceilings()
    card = f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{card}; copy {limits['gbs']:.0f} GB/s, product {limits['tflops']:.1f} TFLOP/s\n{HEADER}")
    for row in all_rows():
        rows.append(row)
        print(row.line(limits), flush=True)
        if time.perf_counter() - began > options.seconds:
            print("out of time: the rest is left out")
            break
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.md").write_text(f"# {card}\n\n{table(rows, limits)}\n")
        data = {"card": card, "ceilings": limits, "rows": [asdict(row) for row in rows]}
        (options.out / "gpu.json").write_text(json.dumps(data, indent=1) + "\n")
    wrong = [row.name for row in rows if row.error > 1e-4]
    if wrong:
        print(f"wrong results: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""What is timed: for each piece of work, one builder per side that returns the callables to time.

A builder runs in its side's own process, so torch is imported by the torch side alone. Several callables are variants of
one side (PyTorch's memory formats): the fastest counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastconv as fc
from fastconv.testing import SPEED, ConvCase, normal

Builder = Callable[[], list[Callable[[], Any]]]
F32 = np.float32


@dataclass
class Work:
    """One line of the table."""

    group: str
    name: str
    target: float  # PyTorch's time over ours, at least
    sides: dict[str, Builder]
    flops: float = 0.0
    bytes: float = 0.0
    pause: float = 0.0  # seconds asleep before each call

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def conv_shape(case: ConvCase) -> str:
    text = f"{case.N}x{case.C}x{case.H}x{case.W} {case.FN}@{case.kernel[0]}x{case.kernel[1]}"
    text += f" s{case.stride}" if case.stride != 1 else ""
    text += f" p{case.padding}" if case.padding else ""
    return text + (f" g{case.groups}" if case.groups > 1 else "")


def _output(case: ConvCase) -> tuple[int, int, int, int]:
    OH = (case.H + 2 * case.padding - case.kernel[0]) // case.stride + 1
    OW = (case.W + 2 * case.padding - case.kernel[1]) // case.stride + 1
    return case.N, case.FN, OH, OW


def _conv_flops(case: ConvCase) -> float:
    return 2.0 * np.prod(_output(case)) * case.C // case.groups * case.kernel[0] * case.kernel[1]


def conv_forward(case: ConvCase, group: str, target: float) -> Work:
    def ours():
        x, w, b = case.arrays(F32)
        return [lambda: fc.conv2d(x, w, b, **case.options)]

    def torch_side():
        import torch
        import torch.nn.functional as F

        x, w, b = (torch.tensor(a) for a in case.arrays(F32))
        last = [t.to(memory_format=torch.channels_last) for t in (x, w)]
        args = (case.stride, case.padding, case.dilation, case.groups)
        return [lambda: F.conv2d(x, w, b, *args), lambda: F.conv2d(*last, b, *args)]

    def book():
        x, w, b = case.arrays(F32)
        return [lambda: book_conv(x, w, b, case.stride, case.padding)]

    sides = {"fastconv": ours, "torch": torch_side}
    if case.groups == 1:
        sides["book"] = book
    return Work(group, conv_shape(case), target, sides, _conv_flops(case))


def conv_backward(case: ConvCase, group: str, target: float) -> Work:
    shape = _output(case)

    def ours():
        x, w, _ = case.arrays(F32)
        dout = normal(shape, F32, 9)
        return [lambda: fc.conv2d_backward(dout, x, w, **case.options)]

    def torch_side():
        import torch

        x, w, _ = (torch.tensor(a) for a in case.arrays(F32))
        dout = torch.tensor(normal(shape, F32, 9))
        s, p, d = ([v, v] for v in (case.stride, case.padding, case.dilation))

        def run(dy, x, w):
            return torch.ops.aten.convolution_backward(
                dy, x, w, [case.FN], s, p, d, False, [0, 0], case.groups, [True, True, True]
            )

        last = [t.to(memory_format=torch.channels_last) for t in (dout, x, w)]
        return [lambda: run(dout, x, w), lambda: run(*last)]

    return Work(group, conv_shape(case), target, {"fastconv": ours, "torch": torch_side}, 2 * _conv_flops(case))


def book_conv(x, w, b, stride, pad):
    """The book's Convolution.forward: im2col and np.dot."""
    FN, C, FH, FW = w.shape
    N, _, H, W = x.shape
    OH, OW = (H + 2 * pad - FH) // stride + 1, (W + 2 * pad - FW) // stride + 1
    col = book_im2col(x, FH, FW, stride, pad)
    return (np.dot(col, w.reshape(FN, -1).T) + b).reshape(N, OH, OW, -1).transpose(0, 3, 1, 2)


def book_im2col(x, FH, FW, stride=1, pad=0):
    N, C, H, W = x.shape
    OH, OW = (H + 2 * pad - FH) // stride + 1, (W + 2 * pad - FW) // stride + 1
    image = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    col = np.zeros((N, C, FH, FW, OH, OW), x.dtype)
    for u in range(FH):
        for v in range(FW):
            col[:, :, u, v] = image[:, :, u : u + stride * OH : stride, v : v + stride * OW : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * OH * OW, -1)


def pools() -> Iterator[Work]:
    for case in SPEED["pool2d"]:
        args = (case.kernel, case.stride, case.padding)
        shape = (case.N, case.C, case.H, case.W)
        name = f"{'x'.join(map(str, shape))} {case.kernel}x{case.kernel}" + (f" s{case.stride}" if case.stride else "")

        def ours(forward, kind, shape=shape, args=args):
            x = normal(shape, F32)
            if kind == "max":
                y, indices = fc.max_pool2d(x, *args)
                return [
                    (lambda: fc.max_pool2d(x, *args))
                    if forward
                    else lambda: fc.max_pool2d_backward(y, indices, shape, *args)
                ]
            y = fc.avg_pool2d(x, *args)
            return [(lambda: fc.avg_pool2d(x, *args)) if forward else lambda: fc.avg_pool2d_backward(y, shape, *args)]

        def torch_side(forward, kind, shape=shape, args=args):
            import torch
            import torch.nn.functional as F

            x = torch.tensor(normal(shape, F32))
            k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))
            aten = torch.ops.aten
            if kind == "max":
                y, indices = F.max_pool2d(x, *args, return_indices=True)
                return [
                    (lambda: F.max_pool2d(x, *args, return_indices=True))
                    if forward
                    else lambda: aten.max_pool2d_with_indices_backward(y, x, k, s, p, [1, 1], False, indices)
                ]
            y = F.avg_pool2d(x, *args)
            return [
                (lambda: F.avg_pool2d(x, *args))
                if forward
                else lambda: aten.avg_pool2d_backward(y, x, k, s, p, False, True, None)
            ]

        tiny = np.prod(shape) < 50_000
        targets = {("max", True): 5 if tiny else 10, ("max", False): 1.8, ("avg", True): 6, ("avg", False): 6}
        for (kind, forward), target in targets.items():
            yield Work(
                f"{kind}_pool2d {'forward' if forward else 'backward'}", name, target,
                {
                    "fastconv": lambda f=forward, k=kind, o=ours: o(f, k),
                    "torch": lambda f=forward, k=kind, t=torch_side: t(f, k),
                },
                bytes=4.0 * np.prod(shape),
            )  # fmt: skip


def affines() -> Iterator[Work]:
    for case in SPEED["affine"]:
        N, K, M = case.N, case.K, case.M

        def arrays(N=N, K=K, M=M):
            return normal((N, K), F32), normal((K, M), F32, 1), normal(M, F32, 2), normal((N, M), F32, 3)

        def ours_forward(arrays=arrays):
            x, w, b, _ = arrays()
            return [lambda: fc.affine(x, w, b)]

        def torch_forward(arrays=arrays):
            import torch

            x, w, b, _ = (torch.tensor(a) for a in arrays())
            wt = w.T.contiguous()
            return [lambda: torch.addmm(b, x, w), lambda: torch.nn.functional.linear(x, wt, b)]

        def ours_backward(arrays=arrays):
            x, w, _, dout = arrays()
            return [lambda: fc.affine_backward(dout, x, w)]

        def torch_backward(arrays=arrays):
            import torch

            x, w, _, dout = (torch.tensor(a) for a in arrays())
            wt = w.T.contiguous()
            return [lambda: (dout @ w.T, x.T @ dout, dout.sum(0)), lambda: (dout @ wt, dout.T @ x, dout.sum(0))]

        big = min(N, K, M) >= 1024
        name = f"{N}x{K}x{M}"
        flops = 2.0 * N * K * M
        yield Work(
            "affine forward", name, 0.97 if big else 1.5 if N <= 8 else 1.05,
            {"fastconv": ours_forward, "torch": torch_forward}, flops,
        )  # fmt: skip
        yield Work(
            "affine backward",
            name,
            0.97 if big else 1.0,
            {"fastconv": ours_backward, "torch": torch_backward},
            2 * flops,
        )


def batch_norms() -> Iterator[Work]:
    for case in SPEED["batch_norm"]:
        shape = case.shape
        C = shape[1]

        def ours(forward, shape=shape, C=C):
            x, g = normal(shape, F32), np.ones(C, F32)
            mean, var = np.zeros(C, F32), np.ones(C, F32)
            y, cache = fc.batch_norm(x, g, g, mean, var, True)
            if forward:
                return [lambda: fc.batch_norm(x, g, g, mean, var, True)]
            return [lambda: fc.batch_norm_backward(y, cache)]

        def torch_side(forward, shape=shape, C=C):
            import torch

            x, g = torch.tensor(normal(shape, F32)), torch.ones(C)
            mean, var = torch.zeros(C), torch.ones(C)
            y, m, i = torch.native_batch_norm(x, g, g, mean, var, True, 0.1, 1e-5)
            if forward:
                return [lambda: torch.native_batch_norm(x, g, g, mean, var, True, 0.1, 1e-5)]
            flags = [True, True, True]
            return [lambda: torch.ops.aten.native_batch_norm_backward(y, x, g, mean, var, m, i, True, 1e-5, flags)]

        for forward, target in ((True, 3.5), (False, 1.15)):
            yield Work(
                f"batch_norm {'forward' if forward else 'backward'}", "x".join(map(str, shape)), target,
                {
                    "fastconv": lambda f=forward, o=ours: o(f),
                    "torch": lambda f=forward, t=torch_side: t(f),
                },
                bytes=8.0 * np.prod(shape),
            )  # fmt: skip


def elementwise() -> Iterator[Work]:
    for case in SPEED["elementwise"]:
        shape = case.shape

        def ours(shape=shape):
            x = normal(shape, F32)
            return [lambda: fc.relu(x)]

        def torch_side(shape=shape):
            import torch

            x = torch.tensor(normal(shape, F32))
            return [lambda: torch.relu(x)]

        tiny = np.prod(shape) < 100
        yield Work(
            "call" if tiny else "relu forward", "relu of 10 numbers" if tiny else "x".join(map(str, shape)),
            5.0 if tiny else 0.97, {"fastconv": ours, "torch": torch_side}, bytes=8.0 * np.prod(shape),
        )  # fmt: skip


def losses() -> Iterator[Work]:
    for case in SPEED["softmax"]:
        N, C = case.shape

        def data(N=N, C=C):
            return normal((N, C), F32), np.random.default_rng(0).integers(0, C, N)

        def ours(data=data):
            x, t = data()

            def run():
                _, y = fc.softmax_cross_entropy(x, t)
                return fc.softmax_cross_entropy_backward(y, t)

            return [run]

        def torch_side(data=data):
            import torch
            import torch.nn.functional as F

            x, t = (torch.tensor(a) for a in data())
            x.requires_grad_()

            def run():
                x.grad = None
                F.cross_entropy(x, t).backward()

            return [run]

        yield Work("softmax + cross entropy with gradient", f"{N}x{C}", 3.0, {"fastconv": ours, "torch": torch_side})


def optimisers() -> Iterator[Work]:
    shapes = {
        "SimpleConvNet": [(30, 1, 5, 5), (30,), (4320, 100), (100,), (100, 10), (10,)],
        "2 M numbers": [(2_000_000,)],
    }
    for name, sizes in shapes.items():

        def ours(sizes=sizes):
            from fastconv.ops import adam_update

            p, g, m, v = ([normal(s, F32, i) * (i < 2) for s in sizes] for i in range(4))
            return [lambda: adam_update(p, g, m, v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, step=5)]

        def torch_side(sizes=sizes):
            import torch

            p = [torch.tensor(normal(s, F32), requires_grad=True) for s in sizes]
            for a in p:
                a.grad = torch.ones_like(a)
            fused = torch.optim.Adam(p, 1e-3, fused=True)
            return [fused.step]

        yield Work("Adam", name, 1.5, {"fastconv": ours, "torch": torch_side})


def calls() -> Iterator[Work]:
    def ours():
        x, w = normal((1, 1, 5, 5), F32), normal((1, 1, 3, 3), F32)
        return [lambda: fc.conv2d(x, w)]

    def torch_side():
        import torch
        import torch.nn.functional as F

        x, w = torch.tensor(normal((1, 1, 5, 5), F32)), torch.tensor(normal((1, 1, 3, 3), F32))
        return [lambda: F.conv2d(x, w)]

    yield Work("call", "conv2d of 5x5 with one 3x3", 8.0, {"fastconv": ours, "torch": torch_side})


def convolutions() -> Iterator[Work]:
    for case in [*SPEED["conv2d"], *SPEED["conv2d_batch1"]]:
        single = case.N == 1
        yield conv_forward(case, "conv2d forward", 1.2 if single else 1.05)
        first, stem = case.C == 1 and case.kernel[0] == 5, case.kernel[0] == 7
        yield conv_backward(case, "conv2d backward", 1.2 if single else 4.0 if first else 3.0 if stem else 1.1)
    for case in SPEED["depthwise"]:
        yield conv_forward(case, "depthwise forward", 3.0)
        yield conv_backward(case, "depthwise backward", 2.0)


def after_a_pause() -> Iterator[Work]:
    """First calls after the program has slept: threads that went to sleep must not hold them up."""
    conv = ConvCase(4, 3, 32, 32, 6, (5, 5))
    work = conv_forward(conv, "after 20 ms asleep", 3.0)
    work.pause, work.flops = 0.02, 0.0
    yield work

    def affine():
        x, w, b = normal((100, 784), F32), normal((784, 256), F32), normal(256, F32)
        return [lambda: fc.affine(x, w, b)]

    def relu():
        x = normal(1_750_000, F32)
        return [lambda: fc.relu(x)]

    def torch_affine():
        import torch

        x, w, b = (torch.tensor(normal(s, F32)) for s in ((100, 784), (784, 256), 256))
        return [lambda: torch.addmm(b, x, w)]

    def torch_relu():
        import torch

        x = torch.tensor(normal(1_750_000, F32))
        return [lambda: torch.relu(x)]

    for name, ours, theirs in (("affine 100x784x256", affine, torch_affine), ("relu of 7 MB", relu, torch_relu)):
        yield Work("after 20 ms asleep", name, 3.0, {"fastconv": ours, "torch": theirs}, pause=0.02)


def all_work() -> list[Work]:
    from steps import steps

    return [
        *convolutions(), *pools(), *affines(), *batch_norms(), *elementwise(), *losses(), *optimisers(), *calls(), *after_a_pause(), *steps()
    ]  # fmt: skip

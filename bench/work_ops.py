"""Pooling, affine maps, batch normalisation, ReLU, softmax with cross entropy, and Adam's step."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from work import F32, Calls, Work, memory_formats, sizes, times

import fastconv as fc
from fastconv.ops import adam_update
from fastconv.testing import SPEED, AffineCase, ArrayCase, PoolCase, normal

# ---- pooling ----


def _pool(case: PoolCase) -> tuple[np.ndarray, tuple]:
    return normal((case.N, case.C, case.H, case.W), F32), (case.kernel, case.stride, case.padding)


def max_pool(case: PoolCase) -> Calls:
    x, args = _pool(case)
    return [lambda: fc.max_pool2d(x, *args)]


def max_pool_backward(case: PoolCase) -> Calls:
    x, args = _pool(case)
    y, indices = fc.max_pool2d(x, *args)
    return [lambda: fc.max_pool2d_backward(y, indices, x.shape, *args)]


def avg_pool(case: PoolCase) -> Calls:
    x, args = _pool(case)
    return [lambda: fc.avg_pool2d(x, *args)]


def avg_pool_backward(case: PoolCase) -> Calls:
    x, args = _pool(case)
    y = fc.avg_pool2d(x, *args)
    return [lambda: fc.avg_pool2d_backward(y, x.shape, *args)]


def torch_max_pool(case: PoolCase) -> Calls:
    from torch.nn.functional import max_pool2d

    x, args = _pool(case)
    return [partial(max_pool2d, *tensors, *args, return_indices=True) for tensors in memory_formats(x)]


def torch_max_pool_backward(case: PoolCase) -> Calls:
    import torch

    x, args = _pool(case)
    k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))

    def call(tx):
        y, indices = torch.nn.functional.max_pool2d(tx, *args, return_indices=True)
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        return partial(backward, y, tx, k, s, p, [1, 1], False, indices)

    return [call(*tensors) for tensors in memory_formats(x)]


def torch_avg_pool(case: PoolCase) -> Calls:
    from torch.nn.functional import avg_pool2d

    x, args = _pool(case)
    return [partial(avg_pool2d, *tensors, *args) for tensors in memory_formats(x)]


def torch_avg_pool_backward(case: PoolCase) -> Calls:
    import torch

    x, args = _pool(case)
    k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))

    def call(tx):
        y = torch.nn.functional.avg_pool2d(tx, *args)
        return partial(torch.ops.aten.avg_pool2d_backward, y, tx, k, s, p, False, True, None)

    return [call(*tensors) for tensors in memory_formats(x)]


def pools() -> Iterator[Work]:
    for case in SPEED["pool2d"]:
        shape, step = (case.N, case.C, case.H, case.W), case.stride or case.kernel
        OH, OW = ((extent + 2 * case.padding - case.kernel) // step + 1 for extent in (case.H, case.W))
        read, written = sizes(shape), sizes((case.N, case.C, OH, OW))
        name = f"{times(*shape)} {case.kernel}x{case.kernel}" + (f" s{case.stride}" if case.stride else "")
        tiny = "max pool tiny" if np.prod(shape) < 50_000 else "max pool"
        with_indices = read + 3 * written  # int64
        for group, row, ours, theirs, moved in (
            ("max_pool2d forward", tiny, max_pool, torch_max_pool, with_indices),
            ("max_pool2d backward", "max pool backward", max_pool_backward, torch_max_pool_backward, with_indices),
            ("avg_pool2d forward", "avg pool", avg_pool, torch_avg_pool, read + written),
            ("avg_pool2d backward", "avg pool", avg_pool_backward, torch_avg_pool_backward, read + written),
        ):
            sides = {"fastconv": partial(ours, case), "torch": partial(theirs, case)}
            yield Work(group, name, (row,), sides, bytes=moved)


# ---- affine maps ----

WITH_RELU = [AffineCase(100, 4320, 100), AffineCase(100, 784, 256), AffineCase(1, 4320, 100)]


def _affine(case: AffineCase) -> tuple[np.ndarray, ...]:
    """x, W, b, dout."""
    N, K, M = case.N, case.K, case.M
    return normal((N, K), F32), normal((K, M), F32, 1), normal(M, F32, 2), normal((N, M), F32, 3)


def affine(case: AffineCase, activation: str | None = None) -> Calls:
    x, w, b, _ = _affine(case)
    return [lambda: fc.affine(x, w, b, activation=activation)]


def affine_backward(case: AffineCase, needs: tuple[bool, bool, bool]) -> Calls:
    x, w, _, dout = _affine(case)
    return [lambda: fc.affine_backward(dout, x, w, needs=needs)]


def torch_affine(case: AffineCase) -> Calls:
    """The weights as ours, (K, M), and as PyTorch's own layer keeps them, (M, K)."""
    import torch

    x, w, b, _ = (torch.tensor(a) for a in _affine(case))
    return [partial(torch.addmm, b, x, w), partial(torch.nn.functional.linear, x, w.T.contiguous(), b)]


def torch_affine_relu(case: AffineCase) -> Calls:
    import torch

    return [lambda call=call: torch.relu_(call()) for call in torch_affine(case)]


def torch_affine_dx(case: AffineCase) -> Calls:
    import torch

    _, w, _, dout = (torch.tensor(a) for a in _affine(case))
    kept = w.T.contiguous()
    return [lambda: dout @ w.T, lambda: dout @ kept]


def torch_affine_dw(case: AffineCase) -> Calls:
    import torch

    x, _, _, dout = (torch.tensor(a) for a in _affine(case))
    return [lambda: (x.T @ dout, dout.sum(0)), lambda: (dout.T @ x, dout.sum(0))]


def affines() -> Iterator[Work]:
    for case in SPEED["affine"]:
        N, K, M = case.N, case.K, case.M
        big = min(N, K, M) >= 1024
        forward_row = "affine 1024" if big else "affine few" if N <= 8 else "affine forward"
        backward_row = "affine 1024" if big else "affine backward"
        for group, row, ours, theirs in (
            ("affine forward", forward_row, affine, torch_affine),
            ("affine dx", backward_row, partial(affine_backward, needs=(True, False, False)), torch_affine_dx),
            ("affine dW, db", backward_row, partial(affine_backward, needs=(False, True, True)), torch_affine_dw),
        ):
            sides = {"fastconv": partial(ours, case), "torch": partial(theirs, case)}
            moved = sizes((N, K), (K, M), (N, M))
            yield Work(group, times(N, K, M), (row, "two threads"), sides, 2.0 * N * K * M, moved)
    for case in WITH_RELU:
        N, K, M = case.N, case.K, case.M
        sides = {"fastconv": partial(affine, case, "relu"), "torch": partial(torch_affine_relu, case)}
        moved = sizes((N, K), (K, M), (N, M))
        yield Work("affine + ReLU forward", times(N, K, M), ("bias + relu",), sides, 2.0 * N * K * M, moved)


# ---- batch normalisation ----


def _statistics(C: int) -> tuple[np.ndarray, ...]:
    """gamma, beta, running mean and variance."""
    return np.ones(C, F32), np.zeros(C, F32), np.zeros(C, F32), np.ones(C, F32)


def batch_norm(case: ArrayCase) -> Calls:
    x, rest = normal(case.shape, F32), _statistics(case.shape[1])
    return [lambda: fc.batch_norm(x, *rest, True)]


def batch_norm_backward(case: ArrayCase) -> Calls:
    y, cache = fc.batch_norm(normal(case.shape, F32), *_statistics(case.shape[1]), True)
    return [lambda: fc.batch_norm_backward(y, cache)]


def torch_batch_norm(case: ArrayCase) -> Calls:
    import torch

    arrays = normal(case.shape, F32), *_statistics(case.shape[1])
    return [partial(torch.native_batch_norm, *tensors, True, 0.1, 1e-5) for tensors in memory_formats(*arrays)]


def torch_batch_norm_backward(case: ArrayCase) -> Calls:
    import torch

    def call(x, gamma, beta, mean, var):
        y, m, i = torch.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)
        backward = torch.ops.aten.native_batch_norm_backward
        return partial(backward, y, x, gamma, mean, var, m, i, True, 1e-5, [True, True, True])

    arrays = normal(case.shape, F32), *_statistics(case.shape[1])
    return [call(*tensors) for tensors in memory_formats(*arrays)]


def batch_norms() -> Iterator[Work]:
    for case in SPEED["batch_norm"]:
        for direction, ours, theirs, arrays in (
            ("forward", batch_norm, torch_batch_norm, 2),
            ("backward", batch_norm_backward, torch_batch_norm_backward, 3),
        ):
            sides = {"fastconv": partial(ours, case), "torch": partial(theirs, case)}
            row = f"batch norm {direction}"
            yield Work(f"batch_norm {direction}", times(*case.shape), (row,), sides, bytes=arrays * sizes(case.shape))


# ---- the rest ----


def relu(shape: tuple[int, ...]) -> Calls:
    x = normal(shape, F32)
    return [lambda: fc.relu(x)]


def torch_relu(shape: tuple[int, ...]) -> Calls:
    import torch

    return [partial(torch.relu, *tensors) for tensors in memory_formats(normal(shape, F32))]


def relu_backward(shape: tuple[int, ...]) -> Calls:
    dout, x = normal(shape, F32, 1), normal(shape, F32)
    return [lambda: fc.relu_backward(dout, x)]


def torch_relu_backward(shape: tuple[int, ...]) -> Calls:
    import torch

    tensors = memory_formats(normal(shape, F32, 1), normal(shape, F32))
    return [partial(torch.ops.aten.threshold_backward, *pair, 0) for pair in tensors]


def relus() -> Iterator[Work]:
    for shape in (case.shape for case in SPEED["elementwise"] if np.prod(case.shape) > 1000):
        sides = {"fastconv": partial(relu, shape), "torch": partial(torch_relu, shape)}
        yield Work("relu forward", times(*shape), ("relu",), sides, bytes=2 * sizes(shape))
        sides = {"fastconv": partial(relu_backward, shape), "torch": partial(torch_relu_backward, shape)}
        yield Work("relu backward", times(*shape), (), sides, bytes=3 * sizes(shape))


def _scores(case: ArrayCase) -> tuple[np.ndarray, np.ndarray]:
    return normal(case.shape, F32), np.random.default_rng(0).integers(0, case.shape[1], case.shape[0])


def cross_entropy(case: ArrayCase) -> Calls:
    x, t = _scores(case)

    def run():
        _, y = fc.softmax_cross_entropy(x, t)
        return fc.softmax_cross_entropy_backward(y, t)

    return [run]


def torch_cross_entropy(case: ArrayCase) -> Calls:
    import torch
    from torch.nn.functional import cross_entropy

    x, t = (torch.tensor(a) for a in _scores(case))
    x.requires_grad_()
    return [lambda: torch.autograd.grad(cross_entropy(x, t), x)]


def losses() -> Iterator[Work]:
    for case in SPEED["softmax"]:
        sides = {"fastconv": partial(cross_entropy, case), "torch": partial(torch_cross_entropy, case)}
        group = "softmax + cross entropy with gradient"
        yield Work(group, times(*case.shape), ("softmax",), sides, bytes=2 * sizes(case.shape))


PARAMETERS = {
    "SimpleConvNet": [(30, 1, 5, 5), (30,), (4320, 100), (100,), (100, 10), (10,)],
    "2 M numbers": [(2_000_000,)],
}


def adam(shapes: list[tuple[int, ...]]) -> Calls:
    p, g, m, v = ([normal(s, F32, i) * (i < 2) for s in shapes] for i in range(4))
    return [lambda: adam_update(p, g, m, v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, step=5)]


def torch_adam(shapes: list[tuple[int, ...]]) -> Calls:
    import torch

    parameters = [torch.tensor(normal(s, F32), requires_grad=True) for s in shapes]
    for i, parameter in enumerate(parameters):
        parameter.grad = torch.tensor(normal(parameter.shape, F32, i + 1))
    return [torch.optim.Adam(parameters, 1e-3, fused=True).step]


def optimisers() -> Iterator[Work]:
    for name, shapes in PARAMETERS.items():
        sides = {"fastconv": partial(adam, shapes), "torch": partial(torch_adam, shapes)}
        yield Work("Adam", name, ("adam",), sides, bytes=7 * sizes(*shapes))


def operations() -> Iterator[Work]:
    for works in (pools, affines, batch_norms, relus, losses, optimisers):
        yield from works()

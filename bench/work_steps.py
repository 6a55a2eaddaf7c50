"""Whole training steps and predictions of the book's networks: ours, PyTorch's, ONNX Runtime's and the book's NumPy."""

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import book
import numpy as np
from work import F32, Calls, Work

from fastconv import layers as our_layers
from fastconv import networks
from fastconv.optim import SGD
from fastconv.testing import normal

# The input's shape and the layers: cFN.size.padding, relu, pool, affine.out, dropout.
NETS = {
    "SimpleConvNet": ((1, 28, 28), "c30.5.0 r p a100 r a10"),
    "DeepConvNet": ((1, 28, 28), "c16.3.1 r c16.3.1 r p c32.3.1 r c32.3.2 r p c64.3.1 r c64.3.1 r p a50 r d a10 d"),
    "LeNet": ((3, 32, 32), "c6.5.0 r p c16.5.0 r p a120 r a84 r a10"),
}


def data(net: str, batch: int, dtype: Any = F32) -> tuple[np.ndarray, np.ndarray]:
    return normal((batch, *NETS[net][0]), dtype), np.random.default_rng(0).integers(0, 10, batch)


def plan(net: str) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """(kind, shape of the weights, padding) of every layer; the kind is the first letter of its word."""
    (C, H, _), text = NETS[net]
    for word in text.split():
        kind, numbers = word[0], [int(n) for n in word[1:].split(".") if n]
        if kind == "c":
            FN, size, pad = numbers
            yield kind, (FN, C, size, size), pad
            C, H = FN, H + 2 * pad - size + 1
        elif kind == "a":
            yield kind, (C * H * H, numbers[0]), 0
            C, H = numbers[0], 1
        else:
            H //= 2 if kind == "p" else 1
            yield kind, (), 0


def weights(kind: str, shape: tuple[int, ...], seed: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """W, He's, and b."""
    outputs, inputs = (shape[0], np.prod(shape[1:])) if kind == "c" else (shape[1], shape[0])
    return normal(shape, dtype, seed) * dtype(np.sqrt(2 / inputs)), np.zeros(outputs, dtype)


def book_net(net: str, dtype: Any) -> book.Network:
    row: list[Any] = []
    for seed, (kind, shape, pad) in enumerate(plan(net)):
        if kind == "c":
            row.append(book.Convolution(*weights(kind, shape, seed, dtype), 1, pad))
        elif kind == "a":
            row.append(book.Affine(*weights(kind, shape, seed, dtype)))
        else:
            row.append({"r": book.Relu, "d": book.Dropout, "p": partial(book.Pooling, 2, 2)}[kind]())
    return book.Network(row)


def our_net(net: str, dtype: Any) -> networks.Network:
    """The networks that fastconv has, and LeNet of its layers."""
    if net == "SimpleConvNet":
        return networks.SimpleConvNet(dtype=dtype)
    if net == "DeepConvNet":
        return networks.DeepConvNet(dtype=dtype)
    row: dict[str, Any] = {}
    for seed, (kind, shape, pad) in enumerate(plan(net)):
        if kind == "c":
            row[f"conv{seed}"] = our_layers.Convolution(*weights(kind, shape, seed, dtype), 1, pad)
        elif kind == "a":
            row[f"affine{seed}"] = our_layers.Affine(*weights(kind, shape, seed, dtype))
        else:
            made = {"r": our_layers.Relu, "d": our_layers.Dropout, "p": partial(our_layers.Pooling, 2, 2, 2)}
            row[f"{kind}{seed}"] = made[kind]()
    return networks.Network(row)


def torch_net(net: str) -> Any:
    from torch import nn

    row: list[Any] = []
    for kind, shape, pad in plan(net):
        if kind == "c":
            row.append(nn.Conv2d(shape[1], shape[0], shape[2], padding=pad))
        elif kind == "a":
            row += [nn.Flatten(), nn.Linear(*shape)]
        else:
            row.append({"r": nn.ReLU, "d": nn.Dropout, "p": partial(nn.MaxPool2d, 2)}[kind]())
    return nn.Sequential(*row)


# ---- training steps ----


def our_step(net: str, batch: int, dtype: Any = F32) -> Calls:
    network, optimiser = our_net(net, dtype), SGD(0.01)
    x, t = data(net, batch, dtype)
    return [lambda: optimiser.update(network.params, network.gradient(x, t))]


def book_step(net: str, batch: int, dtype: Any) -> Calls:
    network = book_net(net, dtype)
    return [partial(network.step, *data(net, batch, dtype))]


def torch_step(net: str, batch: int) -> Calls:
    """In both memory formats."""
    import torch

    return [
        _torch_step(net, batch, lambda model: model, memory)
        for memory in (torch.contiguous_format, torch.channels_last)
    ]


def compiled_torch_step(net: str, batch: int) -> Calls:
    import torch

    return [_torch_step(net, batch, torch.compile, torch.contiguous_format)]


def _torch_step(net: str, batch: int, prepare: Any, memory: Any) -> Any:
    import torch

    model = torch_net(net).to(memory_format=memory)
    x, t = (torch.tensor(a) for a in data(net, batch))
    x = x.to(memory_format=memory)
    optimiser, forward = torch.optim.SGD(model.parameters(), 0.01), prepare(model)

    def step():
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(forward(x), t).backward()
        optimiser.step()

    return step


# ---- prediction ----


def our_prediction(net: str, batch: int) -> Calls:
    network = our_net(net, F32)
    return [partial(network.compile(), data(net, batch)[0])]


def torch_prediction(net: str, batch: int) -> Calls:
    import torch

    def prediction(memory):
        model = torch_net(net).eval().to(memory_format=memory)
        x = torch.tensor(data(net, batch)[0]).to(memory_format=memory)

        def run():
            with torch.inference_mode():
                return model(x)

        return run

    return [prediction(memory) for memory in (torch.contiguous_format, torch.channels_last)]


def onnx_prediction(net: str, batch: int) -> Calls:
    import onnxruntime
    import torch

    x, _ = data(net, batch)
    file = io.BytesIO()
    torch.onnx.export(torch_net(net).eval(), torch.tensor(x), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return [partial(session.run, None, {session.get_inputs()[0].name: x})]


def steps() -> Iterator[Work]:
    versus_all = "step compile", "step book64", "step book32"
    for net, batch, row in (("SimpleConvNet", 100, "Simple"), ("DeepConvNet", 100, "Deep"), ("LeNet", 4, "LeNet")):
        builders = {
            "fastconv": our_step,
            "torch": torch_step,
            "torch.compile": compiled_torch_step,
            "book64": partial(book_step, dtype=np.float64),
            "book32": partial(book_step, dtype=F32),
        }
        sides = {side: partial(build, net, batch) for side, build in builders.items()}
        yield Work("training step", f"{net} batch {batch}", (f"step {row}", *versus_all), sides)
    both64 = {
        "fastconv": partial(our_step, "SimpleConvNet", 100, np.float64),
        "book64": partial(book_step, "SimpleConvNet", 100, np.float64),
    }
    yield Work("training step", "SimpleConvNet batch 100 float64", (), both64)

    for net in ("SimpleConvNet", "DeepConvNet"):
        for batch in (1, 100):
            builders = {"fastconv": our_prediction, "torch": torch_prediction, "onnxruntime": onnx_prediction}
            sides = {side: partial(build, net, batch) for side, build in builders.items()}
            yield Work("prediction", f"{net} batch {batch}", ("predict", "predict onnx"), sides)

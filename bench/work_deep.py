"""Training steps and compiled predictions of the networks of papers: ours, and the same graph in PyTorch."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from work import F32, Calls, Work

from fastconv import networks
from fastconv.optim import SGD
from fastconv.testing import normal

# network: batch of a training step, image size, channels, options
NETS: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "ResNet18": (4, 224, 3, {}),
    "ResNet50": (4, 224, 3, {}),
    "VGG16": (4, 224, 3, {"batch_norm": True}),
    "DenseNet121": (4, 224, 3, {}),
    "MobileNetV2": (8, 224, 3, {}),
    "GoogLeNet": (8, 224, 3, {}),
    "SqueezeNet": (8, 224, 3, {}),
    "FashionCNN": (100, 28, 1, {}),
    "VGGLike13": (32, 32, 3, {}),
}


def network(name: str) -> networks.Network:
    return getattr(networks, name)(rng=0, **NETS[name][3])


def batch(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    _, size, channels, _ = NETS[name]
    return normal((count, channels, size, size), F32), np.random.default_rng(0).integers(0, 10, count)


def our_step(name: str, count: int) -> Calls:
    net, optimiser = network(name), SGD(1e-4)
    x, t = batch(name, count)
    return [lambda: optimiser.update(net.params, net.gradient(x, t))]


def our_prediction(name: str, count: int) -> Calls:
    return [partial(network(name).compile(), batch(name, count)[0])]


def torch_step(name: str, count: int, *, compiled: bool = False) -> Calls:
    import torch
    from twin import Twin

    def step(memory: Any) -> Any:
        model = Twin(network(name)).train().to(memory_format=memory)
        forward = torch.compile(model) if compiled else model
        x, t = (torch.tensor(a) for a in batch(name, count))
        x, optimiser = x.to(memory_format=memory), torch.optim.SGD(model.parameters(), 1e-4)
        loss = torch.nn.functional
        classifies = loss.nll_loss if name == "VGGLike13" else loss.cross_entropy

        def run() -> None:
            optimiser.zero_grad()
            classifies(forward(x), t).backward()
            optimiser.step()

        return run

    return [step(memory) for memory in (torch.contiguous_format, torch.channels_last)[: 1 if compiled else 2]]


def torch_prediction(name: str, count: int) -> Calls:
    import torch
    from twin import Twin

    def prediction(memory: Any) -> Any:
        model = Twin(network(name)).eval().to(memory_format=memory)
        x = torch.tensor(batch(name, count)[0]).to(memory_format=memory)

        def run() -> Any:
            with torch.inference_mode():
                return model(x)

        return run

    return [prediction(memory) for memory in (torch.contiguous_format, torch.channels_last)]


def deep() -> Iterator[Work]:
    for name, (count, size, *_) in NETS.items():
        sides: dict[str, Any] = {
            "fastconv": partial(our_step, name, count),
            "torch": partial(torch_step, name, count),
            "torch.compile": partial(torch_step, name, count, compiled=True),
        }
        yield Work("deep training step", f"{name} batch {count} of {size}x{size}", (f"deep step {name}",), sides)
    for name in NETS:
        for count in (1, 8):
            sides = {"fastconv": partial(our_prediction, name, count), "torch": partial(torch_prediction, name, count)}
            yield Work("deep prediction", f"{name} batch {count}", ("deep prediction",), sides)

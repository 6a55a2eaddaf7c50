"""What a call costs beside its arithmetic: on tiny arrays, and after the program has slept."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from work import F32, Calls, Work, memory_formats
from work_conv import forward, shape_text, torch_forward
from work_ops import affine, relu, torch_affine, torch_relu
from work_steps import onnx_prediction, our_prediction, our_step, torch_prediction, torch_step

import fastconv as fc
from fastconv.testing import AffineCase, ConvCase, normal

PAUSE = 0.02
PAUSES = (0.001, 0.01, 0.03, 0.1)
BURST = 5  # calls


def tiny_conv() -> Calls:
    """As one types it: no bias, no options."""
    x, w = normal((1, 1, 5, 5), F32), normal((1, 1, 3, 3), F32)
    return [lambda: fc.conv2d(x, w)]


def torch_tiny_conv() -> Calls:
    from torch.nn.functional import conv2d

    return [
        partial(conv2d, *tensors) for tensors in memory_formats(normal((1, 1, 5, 5), F32), normal((1, 1, 3, 3), F32))
    ]


def calls() -> Iterator[Work]:
    sides = {"fastconv": partial(relu, (10,)), "torch": partial(torch_relu, (10,))}
    yield Work("call", "relu of 10 numbers", ("call relu",), sides)
    sides = {"fastconv": tiny_conv, "torch": torch_tiny_conv}
    yield Work("call", "conv2d of 5x5 with one 3x3", ("call conv",), sides)

    conv, tall, large = ConvCase(4, 3, 32, 32, 6, (5, 5)), AffineCase(100, 784, 256), (1_750_000,)
    for name, ours, theirs in (
        (shape_text(conv), partial(forward, conv), partial(torch_forward, conv)),
        ("affine 100x784x256", partial(affine, tall), partial(torch_affine, tall)),
        ("relu of 7 MB", partial(relu, large), partial(torch_relu, large)),
    ):
        sides = {"fastconv": ours, "hot": ours, "torch": theirs}
        yield Work("after 20 ms asleep", name, ("asleep", "asleep hot"), sides, pause=PAUSE)
    yield from bursts()
    yield from callers()


def bursts() -> Iterator[Work]:
    """Five calls after a pause, as of a server or a program that reads data: the first, and those that follow."""
    conv, tall, large = ConvCase(100, 1, 28, 28, 30, (5, 5)), AffineCase(100, 784, 256), (1_750_000,)
    net = "SimpleConvNet", 100
    for name, ours, others in (
        (
            "prediction SimpleConvNet b100",
            partial(our_prediction, *net),
            {"torch": partial(torch_prediction, *net), "onnxruntime": partial(onnx_prediction, *net)},
        ),
        ("step SimpleConvNet b100", partial(our_step, *net), {"torch": partial(torch_step, *net)}),
        (f"conv2d {shape_text(conv)}", partial(forward, conv), {"torch": partial(torch_forward, conv)}),
        ("relu of 7 MB", partial(relu, large), {"torch": partial(torch_relu, large)}),
        ("affine 100x784x256", partial(affine, tall), {"torch": partial(torch_affine, tall)}),
    ):
        sides = {"fastconv": ours, "hot": ours, **others}
        onnx = ("burst onnx",) * ("onnxruntime" in others)
        for pause in PAUSES:
            torch = ("burst torch",) * (pause >= PAUSE)
            text = f"{name}, {1e3 * pause:g} ms"
            yield Work("burst, first call", text, ("burst first", *torch, *onnx), sides, pause=pause)
            yield Work("burst, calls 2 to 5", text, ("burst next", *onnx), sides, pause=pause, following=BURST - 1)


CALLS = 16  # by all threads together


def by_threads(build: Callable[[], Calls], threads: int) -> Calls:
    """Each of the calls made CALLS times by so many Python threads at once."""

    def all_of(call):
        pool = ThreadPoolExecutor(threads)
        return lambda: [*pool.map(lambda _: call(), range(CALLS))]

    return [all_of(call) for call in build()]


def callers() -> Iterator[Work]:
    net = "DeepConvNet", 32
    builders = {"fastconv": our_prediction, "torch": torch_prediction, "onnxruntime": onnx_prediction}
    for threads in (1, 2, 8):
        sides = {side: partial(by_threads, partial(build, *net), threads) for side, build in builders.items()}
        text = f"{CALLS} predictions DeepConvNet b32 by {threads} Python thread" + "s" * (threads > 1)
        yield Work("callers at once", text, ("callers",), sides)

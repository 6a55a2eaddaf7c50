"""What a call costs beside its arithmetic: on tiny arrays, and after the program has slept."""

from collections.abc import Iterator
from functools import partial

from work import F32, Calls, Work, memory_formats
from work_conv import forward, shape_text, torch_forward
from work_ops import affine, relu, torch_affine, torch_relu

import fastconv as fc
from fastconv.testing import AffineCase, ConvCase, normal

PAUSE = 0.02


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

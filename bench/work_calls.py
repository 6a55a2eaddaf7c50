"""What a call costs beside its arithmetic: on tiny arrays, and after the program has slept."""

from collections.abc import Iterator
from functools import partial

from work import Work
from work_conv import forward, shape_text, torch_forward
from work_ops import affine, relu, torch_affine, torch_relu

from fastconv.testing import AffineCase, ConvCase

PAUSE = 0.02


def calls() -> Iterator[Work]:
    sides = {"fastconv": partial(relu, (10,)), "torch": partial(torch_relu, (10,))}
    yield Work("call", "relu of 10 numbers", ("call relu",), sides)
    tiny = ConvCase(1, 1, 5, 5, 1)
    sides = {"fastconv": partial(forward, tiny), "torch": partial(torch_forward, tiny)}
    yield Work("call", "conv2d of 5x5 with one 3x3", ("call conv",), sides)

    conv, tall, large = ConvCase(4, 3, 32, 32, 6, (5, 5)), AffineCase(100, 784, 256), (1_750_000,)
    for name, ours, theirs in (
        (shape_text(conv), partial(forward, conv), partial(torch_forward, conv)),
        ("affine 100x784x256", partial(affine, tall), partial(torch_affine, tall)),
        ("relu of 7 MB", partial(relu, large), partial(torch_relu, large)),
    ):
        sides = {"fastconv": ours, "hot": ours, "torch": theirs}
        yield Work("after 20 ms asleep", name, ("asleep", "asleep hot"), sides, pause=PAUSE)

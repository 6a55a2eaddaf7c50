"""Errors of float32 convolutions against float64, by algorithm and shape, beside PyTorch's own on the same numbers.

    python bench/accuracy.py [--markdown] [--only 3x3]

The error is the root mean square of (result - float64's result), divided by the root mean square of float64's result. The
same for the largest single error. Precision "high" may use Winograd's algorithm, "highest" never does; where a shape is
computed directly in both, the columns agree.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from work_conv import output_shape, shape_text

import fastconv as fc
from fastconv.testing import SPEED, ConvCase, normal

SIDES = ("highest", "high", "PyTorch")
RESULTS = ("forward", "dx", "dw")
SMALL = (ConvCase(100, 128, 2, 2, 128, padding=1), ConvCase(8, 512, 4, 4, 512))  # results of 2 x 2: F(2x2, 3x3)
Results = dict[str, np.ndarray]


def ours(precision: str) -> Callable[..., Results]:
    def compute(x: np.ndarray, w: np.ndarray, dout: np.ndarray, case: ConvCase) -> Results:
        fc.set_float32_conv_precision(precision)
        dx, dw, _ = fc.conv2d_backward(dout, x, w, **case.options, needs=(True, True, False))
        assert dx is not None and dw is not None
        return {"forward": fc.conv2d(x, w, **case.options), "dx": dx, "dw": dw}

    return compute


def pytorch(x: np.ndarray, w: np.ndarray, dout: np.ndarray, case: ConvCase) -> Results:
    """In the arrays' own precision."""
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    y = torch.nn.functional.conv2d(tx, tw, **case.options)
    dx, dw = torch.autograd.grad(y, (tx, tw), torch.tensor(dout))
    return {"forward": y.detach().numpy(), "dx": dx.numpy(), "dw": dw.numpy()}


COMPUTE: dict[str, Callable[..., Results]] = {"highest": ours("highest"), "high": ours("high"), "PyTorch": pytorch}


def errors(case: ConvCase) -> Iterator[dict[str, Any]]:
    """For each result, each side's (rms, largest) error relative to the rms of the exact result."""
    x, w, _ = case.arrays(np.float32)
    dout = normal(output_shape(case), np.float32, 9)
    exact = pytorch(*(a.astype(np.float64) for a in (x, w, dout)), case)
    found = {side: COMPUTE[side](x, w, dout, case) for side in SIDES}
    for name in RESULTS:
        scale = np.sqrt(np.mean(exact[name] ** 2))
        row: dict[str, Any] = {"shape": shape_text(case), "result": name}
        for side in SIDES:
            error = found[side][name] - exact[name]
            row[side] = float(np.sqrt(np.mean(error**2)) / scale), float(np.abs(error).max() / scale)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words, comma separated: the shapes whose name holds one of them")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(fc.get_num_threads())
    words = options.only.split(",")
    cells = ["shape", "result", *(f"{side} {kind}" for side in SIDES for kind in ("rms", "largest"))]
    show(cells, options.markdown)
    if options.markdown:
        print("|" + "---|" * len(cells))
    for case in (*SPEED["conv2d"], *SPEED["conv2d_batch1"], *SPEED["depthwise"], *SMALL):
        if any(word in shape_text(case) for word in words):
            for row in errors(case):
                numbers = [f"{number:.1e}" for side in SIDES for number in row[side]]
                show([row["shape"], row["result"], *numbers], options.markdown)


def show(cells: list[str], markdown: bool) -> None:
    if markdown:
        print("| " + " | ".join(cells) + " |", flush=True)
    else:
        print("  ".join(f"{cell:{32 if i == 0 else 15}}" for i, cell in enumerate(cells)).rstrip(), flush=True)


if __name__ == "__main__":
    main()

"""Layers and networks: random programs of a few lines, each result compared with a fresh copy of the network.

`python -m tests.fuzz.networks --minutes 5`. A program makes a network (or a layer) and arrays, and then trains, predicts,
compiles, saves, loads, hooks and changes arrays in place, as users do. Before each line that computes, the parameters
and running statistics are copied; what the line gives must be what a freshly made network with these numbers gives.
"""

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass, replace
from random import Random

from .outcome import difference
from .process import Died, Worker
from .step import LAYOUTS, Numbers

NETWORKS: list[tuple[str, tuple[int, ...], int, bool]] = [  # source, shape of a sample, classes, trains without chance
    ("networks.TwoLayerNet(5, 4, 3, rng=1)", (5,), 3, True),
    ("networks.TwoLayerNet(6, 8, 3, 0.5, np.float32, rng=1)", (6,), 3, True),
    ("networks.MultiLayerNet(5, [6, 4], 3, weight_decay_lambda=0.1, rng=1)", (5,), 3, True),
    ("networks.MultiLayerNet(5, [6, 4], 3, 'sigmoid', rng=1)", (5,), 3, True),
    ("networks.MultiLayerNetExtend(5, [6, 7], 3, use_batchnorm=True, rng=1)", (5,), 3, True),
    ("networks.SimpleConvNet((1, 8, 8), SMALL, 5, 3, 0.5, rng=1)", (1, 8, 8), 3, True),
    ("networks.SimpleConvNet((3, 12, 12), PADDED, 6, 4, 0.5, np.float32, rng=1)", (3, 12, 12), 4, True),
    (
        "networks.SimpleConvNet((2, 8, 8), PADDED, 6, 4, 0.5, np.float32, conv_param_2=PADDED, use_batchnorm=True, rng=1)",
        (2, 8, 8),
        4,
        True,
    ),
    ("networks.DeepConvNet((1, 8, 8), output_size=3, dtype=np.float32, rng=1)", (1, 8, 8), 3, False),
    ("networks.Network(mixed(np.float32))", (2, 8, 8), 3, True),
    ("networks.Network(mixed(np.float64))", (2, 8, 8), 3, True),
    ("networks.Network(branched(np.float32))", (2, 8, 8), 3, True),
    ("networks.Network(branched(np.float64), weight_decay_lambda=0.1)", (2, 8, 8), 3, True),
]
LAYERS: list[tuple[str, tuple[int, ...]]] = [
    ("layers.Convolution(numbers((4, 3, 3, 3), 'f4'), numbers(4, 'f4'), 1, 1)", (3, 6, 6)),
    ("layers.Convolution(numbers((4, 3, 2, 2), 'f8'), None, 2)", (3, 6, 6)),
    ("layers.TransposedConvolution(numbers((3, 2, 2, 2), 'f4'), numbers(2, 'f4'), 2)", (3, 4, 4)),
    ("layers.Affine(numbers((6, 6), 'f8'), numbers(6, 'f8'))", (6,)),
    ("layers.Affine(numbers((12, 4), 'f4'), numbers(4, 'f4'))", (3, 2, 2)),
    ("layers.BatchNormalization(numbers(6, 'f8'), numbers(6, 'f8'))", (6,)),
    ("layers.BatchNorm2d(numbers(3, 'f4'), numbers(3, 'f4'))", (3, 4, 4)),
    ("layers.Pooling(2, 2, 2)", (3, 4, 4)),
    ("layers.MinPooling(2, 2, 1)", (3, 4, 4)),
    ("layers.AveragePooling(2, 2, 2)", (3, 4, 4)),
    ("layers.GlobalAveragePooling()", (3, 4, 4)),
    ("layers.Relu()", (6,)),
    ("layers.LeakyRelu(0.1)", (3, 4, 4)),
    ("layers.Sigmoid()", (6,)),
    ("layers.Tanh()", (6,)),
    ("layers.Softmax()", (6,)),
    ("layers.LogSoftmax()", (6,)),
    ("layers.Residual([layers.Convolution(numbers((3, 3, 1, 1), 'f4'), None), layers.Tanh()])", (3, 4, 4)),
]


@dataclass(frozen=True)
class Program:
    """A network or a layer under the name `net`, arrays, and lines; those in `compares` give `seen`."""

    net: str
    arrays: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]
    exact: bool = True

    def source(self) -> str:
        made = [f"{name} = {value}" for name, value in self.arrays]
        return "\n".join([f"net = {self.net}", *made, *self.lines])


def draw(seed: int, i: int, backends: list[str | None]) -> Program:
    """Program i of a seed."""
    r = Random(f"{seed} program {i}")
    backend, threads = r.choice(backends), r.choice([1, 2, 3])
    lines = [f"fc.set_backend({backend!r})", f"fc.set_num_threads({threads})"]
    lines.append("fc.set_float32_conv_precision('high')")
    if r.random() < 0.35:
        source, shape = r.choice(LAYERS)
        arrays, classes, dtype = [], 0, "f4" if "'f4'" in source else "f8"
    else:
        source, shape, classes, trains = r.choice(NETWORKS)
        dtype = "f4" if "float32" in source else "f8"
        arrays = [(f"t{j}", f"numbers({n}, 'i8', {j}, 0, {classes})") for j, n in enumerate((4, 4, 7))]
    for j, n in enumerate((4, 4, 7)):
        layout = r.choice(LAYOUTS[:-2]) if r.random() < 0.2 else ""
        arrays.append((f"x{j}", Numbers((n, *shape), dtype, j, layout=layout).source()))
    for _ in range(r.randrange(4, 22)):
        lines.append(_layer_line(r) if not classes else _network_line(r, trains))
    return Program(source, tuple(arrays), tuple(lines), backend != "numpy")


def _layer_line(r: Random) -> str:
    j = r.randrange(3)
    return r.choice(
        [
            f"seen = both(net, x{j}, {r.randrange(3)})",
            f"seen = both(net, x{j}, {r.randrange(3)})",
            f"seen = refused(net.forward, x{j}[:, :, None, None])",
            f"x{j} *= -1",
            f"x{j}[0] = 0.5",
            "change(seen)",
            f"parameter(net, {r.randrange(4)})[...] *= 0.5",
            f"parameter(net, {r.randrange(4)})[...] += 1",
            f"both(again(net), x{j}, 1)",
        ]
    )


def _network_line(r: Random, trains: bool) -> str:
    j, k = r.randrange(3), r.randrange(8)
    computes = [
        f"seen = net.predict(x{j})",
        f"seen = predictor(x{j})",
        f"seen = net.accuracy(x{j}, t{j})",
        f"seen = refused(net.predict, x{j}[..., :-1])",
        f"seen = hooked(net, {k}, x{j})",
    ]
    if trains:
        computes += [
            f"seen = net.gradient(x{j}, t{j})",
            f"seen = net.gradient(x{j}, t{j})",
            f"seen = net.loss(x{j}, t{j})",
            f"seen = net.predict(x{j}, True)",
            f"seen = refused(net.gradient, x{j}, t{j}[:-1])",
            f"seen = both(net, x{j}, {k})",
        ]
    changes = [
        "predictor = net.compile()",
        f"parameter(net, {k})[...] *= 0.5",
        f"parameter(net, {k}).flat[0] += 1",
        f"x{j} *= -1",
        f"x{j}[0] = 0.5",
        "change(seen)",
        "step(net, seen)",
        f"freeze(net, {k}, frozen)",
        "unfreeze(net, frozen)",
        "net.save_params(path)",
        "refused(net.load_params, path)",
        "again(net).save_params(path)",
        "refused(net.load_params, broken)",
        f"fc.set_float32_conv_precision({r.choice(['high', 'highest'])!r})",
    ]
    return r.choice(computes) if r.random() < 0.6 else r.choice(changes)


def ends(programs: list[Program], expected: Worker, seen: Worker | None = None) -> tuple[str, int]:
    """What is wrong with the last of these programs, and the number of comparisons."""
    worker = seen or Worker(module="network_worker")
    worker.ask(programs)
    try:
        answers = [worker.answer() for _ in programs]
    except Died as death:
        return f"the process {death}", 0
    finally:
        if seen is None:
            worker.close()
    expected.ask([answers[-1]])
    rights = expected.answer()
    if not isinstance(answers[-1][1], list):
        return str(answers[-1]), 0
    for (line, _, _, outcome), right in zip(answers[-1][1], rights, strict=True):
        exact = programs[-1].exact and "predictor" not in line
        if wrong := difference(outcome, right, exact):
            return f"{line}: {wrong}", 0
    return "", len(rights)


def shrink(programs: list[Program], expected: Worker) -> tuple[list[Program], str]:
    """The fewest programs and lines that still end badly in a fresh process; "" if none do."""
    *before, last = programs
    found = next(
        (c for n in (0, 5, 50, len(before)) if ends(c := [*before[len(before) - n :], last], expected)[0]), None
    )
    if found is None:
        return programs, ""
    i = 0
    while i < len(found) - 1:
        fewer = found[:i] + found[i + 1 :]
        found, i = (fewer, i) if ends(fewer, expected)[0] else (found, i + 1)
    for i, program in enumerate(found):
        k = len(program.lines) - 1
        while k >= 0:
            lines = found[i].lines
            fewer = [*found[:i], replace(program, lines=lines[:k] + lines[k + 1 :]), *found[i + 1 :]]
            found = fewer if ends(fewer, expected)[0] else found
            k -= 1
    return found, ends(found, expected)[0]


def main(arguments: list[str] | None = None) -> int:
    """The number of findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.networks", description=__doc__)
    parser.add_argument("--minutes", type=float, help="one, if no number of programs is given")
    parser.add_argument("--programs", type=int, default=0, help="stop after this many, or after the minutes if given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=["any", "cython", "numba", "numpy"], default="any")
    parser.add_argument("--isa", choices=["baseline", "avx2", "avx512"])
    options = parser.parse_args(arguments)
    minutes = options.minutes or (math.inf if options.programs else 1.0)
    if options.isa:
        os.environ["FASTCONV_ISA"] = options.isa
    free: list[str | None] = [None, None, "cython"]
    backends = {"any": [*free, None, "numba", "numpy"], "cython": free}.get(options.backend, [options.backend])
    start, done, compared, wrong = time.monotonic(), 0, 0, ""
    history: list[Program] = []
    with Worker(module="network_worker") as seen, Worker("afresh", module="network_worker") as expected:
        while not wrong and time.monotonic() - start < 60 * minutes and done != (options.programs or None):
            history.append(draw(options.seed, done, backends))
            wrong, count = ends(history[-1:], expected, seen)
            done, compared = done + 1, compared + count
        if wrong:
            print(f"program {done} of seed {options.seed}: {wrong}\n{history[-1].source()}\n", flush=True)
            shortest, why = shrink(history, expected)
            print(f"# --- shrunk: {why} ---" if why else "# not repeatable alone")
            print("\n\n".join(p.source() for p in shortest if why))
    print(f"fuzz.networks: {done:,} programs, {compared:,} comparisons in {time.monotonic() - start:.0f} s, "
          f"seed {options.seed}, backend {options.backend}, {int(bool(wrong))} findings")  # fmt: skip
    return int(bool(wrong))


if __name__ == "__main__":
    from . import networks  # whose classes the workers know, unlike those of __main__

    sys.exit(networks.main())

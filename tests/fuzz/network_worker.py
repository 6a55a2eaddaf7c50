"""Runs the programs of `networks`: in the process under test line by line, elsewhere single lines on a fresh network."""

import contextlib
import functools
import os
import sys
import tempfile
import warnings
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import hooks, layers, networks, optim
from fastconv._settings import forget

from .arrays import backwards, fortran, misaligned, numbers, swapped
from .networks import Program
from .outcome import Outcome, flat, pack
from .worker import serve

SMALL = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
PADDED = {"filter_num": 8, "filter_size": 3, "pad": 1, "stride": 1}
_ATTRIBUTES = ("W", "b", "gamma", "beta", "running_mean", "running_var")
State = list[dict[str, Any]]


def mixed(dtype: Any) -> dict[str, Any]:
    """Layers that the book's networks lack."""
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 3).astype(dtype)

    return {
        "Conv1": layers.Convolution(normal(5, 2, 3, 3), normal(5), 1, 1),
        "LeakyRelu1": layers.LeakyRelu(0.1),
        "Pool1": layers.AveragePooling(2, 2, 2),
        "Conv2": layers.Convolution(normal(6, 5, 3, 3), normal(6), 1, 1),
        "BatchNorm1": layers.BatchNorm2d(normal(6) + 1, normal(6), running_mean=normal(6), running_var=normal(6) ** 2),
        "Relu1": layers.Relu(),
        "Pool2": layers.Pooling(2, 2, 2),
        "Flatten1": layers.Flatten(),
        "Affine1": layers.Affine(normal(24, 7), normal(7)),
        "Tanh1": layers.Tanh(),
        "Affine2": layers.Affine(normal(7, 3), normal(3)),
    }


def branched(dtype: Any) -> list[Any]:
    """Containers inside of containers, and one layer in two places."""
    rng = np.random.default_rng(4)

    def convolution(FN: int, C: int, size: int) -> Any:
        W, b = rng.standard_normal((FN, C, size, size)) / 3, rng.standard_normal(FN)
        return layers.Convolution(W.astype(dtype), b.astype(dtype), 1, size // 2)

    twice = convolution(4, 4, 3)
    normal = layers.BatchNorm2d(np.ones(4, dtype), np.zeros(4, dtype))
    return [
        convolution(4, 2, 3),
        layers.Residual([twice, layers.Relu(), normal, twice]),
        layers.Gelu(),
        layers.Concatenate([convolution(3, 4, 1), layers.HardSwish()], []),
        layers.Pooling(2, 2, 2),
        layers.Sequential([convolution(2, 7, 3), layers.Relu6(), layers.Flatten()]),
        layers.Affine(rng.standard_normal((32, 3)).astype(dtype), None),
    ]


def parts(net: Any) -> list[Any]:
    """The layers of a network, or of a layer itself."""
    return net.every_layer() if hasattr(net, "params") else [net]


def freeze(net: Any, k: int, frozen: list[str]) -> None:
    """Keep one layer as it is from now on."""
    names = [name.rpartition(".")[0] for name in net.named_parameters()]
    frozen.append(names[k % len(names)])
    net.freeze(frozen[-1])


def unfreeze(net: Any, frozen: list[str]) -> None:
    """Train everything again."""
    if frozen:
        net.unfreeze(*frozen)
        frozen.clear()


def state(net: Any) -> State:
    """Copies of what a network has learnt."""
    return [{name: np.array(a) for name in _ATTRIBUTES if (a := getattr(part, name, None)) is not None}
            for part in parts(net)]  # fmt: skip


def restore(net: Any, learnt: State) -> None:
    """Put numbers into a network: in place where there is an array."""
    for part, arrays in zip(parts(net), learnt, strict=True):
        for name, a in arrays.items():
            present = getattr(part, name, None)
            if present is None:
                setattr(part, name, a.copy())
            else:
                present[...] = a


def parameter(net: Any, k: int) -> Any:
    """The k-th array of parameters, an empty one where there are none."""
    if hasattr(net, "params"):
        return net.params[list(net.params)[k % len(net.params)]]
    arrays = [a for name in _ATTRIBUTES[:4] if (a := getattr(net, name, None)) is not None]
    return arrays[k % len(arrays)] if arrays else np.zeros(1)


def both(layer: Any, x: np.ndarray, seed: int) -> Any:
    """Forward and backward, with every gradient and statistic."""
    y = layer.forward(x)
    dx = layer.backward(numbers(y.shape, x.dtype.newbyteorder("="), seed))
    names = [f"d{name}" for name in _ATTRIBUTES[:4]] + list(_ATTRIBUTES[4:])
    return y, dx, *(a for name in names if (a := getattr(layer, name, None)) is not None)


def hooked(net: Any, k: int, x: np.ndarray) -> Any:
    """Predict while a hook doubles what one layer gives."""
    layer = parts(net)[k % len(parts(net))]
    with hooks.on_forward(layer, lambda layer, inputs, y: 2 * y):
        return net.predict(x)


def refused(function: Any, *args: Any) -> Any:
    """The refusal of a call that is wrong; what it gives where it is right after all."""
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def change(result: Any) -> None:
    """The user writes into what a call gave."""
    for a in flat(result):
        if isinstance(a, np.ndarray) and a.flags.writeable:
            a[...] = 7


def step(net: Any, gradients: Any) -> None:
    """A step of an optimiser, when the last result was gradients."""
    if isinstance(gradients, dict):
        optim.Momentum(0.01).update(net.params, gradients)


class Runner:
    """Runs programs in one process."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="fuzz")
        self.broken = os.path.join(self.folder, "broken.npz")
        with open(self.broken, "wb") as file:
            file.write(b"PK\x03\x04 cut off")

    def names(self, program: Program) -> dict[str, Any]:
        known = (backwards, fortran, misaligned, numbers, swapped, mixed, branched, parameter, both, hooked, refused,
                 change, step, freeze, unfreeze)  # fmt: skip
        names = {f.__name__: f for f in known}
        modules = {"np": np, "fc": fc, "networks": networks, "layers": layers, "SMALL": SMALL, "PADDED": PADDED}
        names.update(modules, broken=self.broken, path=os.path.join(self.folder, "params.npz"), seen=None, frozen=[])
        names["again"] = lambda net: self.made(program, names)
        return names

    def made(self, program: Program, names: dict[str, Any]) -> Any:
        return eval(program.net, names)

    def run(self, program: Program) -> tuple[Program, list[tuple[str, State, dict[str, Any], Outcome]]]:
        """The program, and each line that computes with what was there before and what came of it."""
        names, compared = self.names(program), []
        names["net"] = self.made(program, names)
        for name, value in program.arrays:
            names[name] = eval(value, names)
        names["net"].save_params(names["path"]) if hasattr(names["net"], "params") else None
        settings: dict[str, Any] = {}
        for line in program.lines:
            if line.startswith("fc.set"):
                settings[line.split("(")[0]] = line
            if "predictor(" in line and "predictor" not in names:
                names["predictor"] = names["net"].compile()
            if not line.startswith("seen = "):
                exec(line, names)
                continue
            learnt = state(names["net"])
            arrays = {key: np.array(value) for key, value in names.items() if key[0] in "xt" and key[1:].isdigit()}
            frozen = list(names["frozen"])
            outcome = outcome_of(line, names)
            for key, a in arrays.items():
                if a.tobytes() != names[key].tobytes():
                    outcome.faults += (f"{key} was changed",)
            outcome.written = tuple(pack(a) for part in state(names["net"]) for a in part.values())
            arrays["settings"] = list(settings.values())
            arrays["frozen"] = frozen
            compared.append((line, learnt, arrays, outcome))
        return program, compared

    def afresh(self, ran: tuple[Program, Any]) -> list[Outcome]:
        """The same lines, each on a network made for it alone."""
        program, compared = ran
        outcomes = []
        for line, learnt, arrays, _ in compared:
            names = self.names(program)
            for setting in arrays.pop("settings"):
                exec(setting, names)
            names.update(arrays, net=self.made(program, names))
            restore(names["net"], learnt)
            if names["frozen"]:
                names["net"].freeze(*names["frozen"])
            names["predictor"] = names["net"].predict if hasattr(names["net"], "params") else None
            forget()
            outcome = outcome_of(line, names)
            outcome.written = tuple(pack(a) for part in state(names["net"]) for a in part.values())
            outcomes.append(outcome)
        return outcomes


def outcome_of(line: str, names: dict[str, Any]) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(line, names)
    except Exception as error:
        return Outcome(f"{type(error).__name__}: {error}")
    return Outcome("", tuple(pack(part) for part in flat(names["seen"])))


def main() -> None:
    runner = Runner()
    with contextlib.suppress(KeyboardInterrupt):
        serve(functools.partial(runner.afresh) if "afresh" in sys.argv else runner.run)

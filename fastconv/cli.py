"""The program ``fastconv``: train a network, predict with a model, show what this installation or a model has, time it.

Everything a user can get wrong ends with one line on standard error and the exit code 2.
"""

import argparse
import importlib.metadata
import math
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import fastconv

from . import _bench, _ceiling, datasets, networks, plots
from ._commands import describe, predict, timing
from ._commands.arguments import add_threads, count, explained, rate, seed, size
from ._commands.models import onnx_file
from ._extras import require
from ._settings import BACKENDS
from .distributed import DataParallel
from .distributed._job import Job
from .trainer import Trainer

_DATASETS: dict[str, Callable[..., datasets.Split]] = {
    "digits": datasets.load_digits,
    "mnist": datasets.load_mnist,
    "fashion": datasets.load_fashion_mnist,
    "cifar10": datasets.load_cifar10,
}
_NETWORKS: dict[str, Callable[..., networks.Network]] = {
    "simple": lambda input_dim, **options: networks.SimpleConvNet(input_dim, weight_init_std="he", **options),
    "deep": networks.DeepConvNet,
    "mlp": lambda input_dim, **options: networks.MultiLayerNet(math.prod(input_dim), [100], 10, **options),
}
_LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "rmsprop": 0.001,
    "adadelta": 1.0,
    "adam": 0.002,
}
_TIMED_SECONDS = 1.0  # for the time of a step, on each of the two sides
_STEPS_TOGETHER = 25
_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; by default the process's own.

    Returns
    -------
    int
        The exit code: 0, or 130 after Ctrl-C. A user's error raises SystemExit(2).
    """
    options = _parser().parse_args(arguments)
    options.job = None
    try:
        return options.run(options)
    except KeyboardInterrupt:
        if options.job is not None:
            options.job.interrupted()
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastconv", description="Compiled CNN kernels behind NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="{train,predict,info,bench}", required=True)

    train = commands.add_parser("train", help="train a network and save it")
    add = train.add_argument
    add("--dataset", choices=_DATASETS, default="digits", help="default: %(default)s, which are bundled")
    add("--data", metavar="DIR", help="folder with the data set's files; without it they are downloaded")
    add("--net", choices=_NETWORKS, default="simple", help="SimpleConvNet (default), DeepConvNet, perceptron")
    add("--epochs", type=count, metavar="N", default=15, help="default: %(default)s")
    add("--batch-size", type=count, metavar="N", default=50, help="default: %(default)s")
    add("--optimizer", choices=_LEARNING_RATES, default="adam", help="default: %(default)s")
    add("--lr", type=rate, help="learning rate at the start; default: one that suits the optimiser")
    add("--schedule", choices=("linear", "constant"), default="linear", help="linear (default): down to 0")
    _add_engine_options(train)
    add("--backend", choices=BACKENDS, help="default: the fastest for each problem")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add("--seed", type=seed, metavar="N", default=0, help="of weights and batches; default: %(default)s")
    add("--out", type=Path, metavar="DIR", default=Path("fastconv-run"), help="default: %(default)s")
    add("--distributed", action="store_true", help="all processes that mpiexec has started train together")
    train.set_defaults(run=_train, parser=train)

    predict.add_to(commands)

    info = commands.add_parser("info", help="show versions, backends and optional packages; or what a MODEL holds")
    _add_model(info, "an ONNX file: show its operators, parameters and arithmetic instead")
    info.add_argument("--batch", type=count, metavar="N", help="samples to count the arithmetic for; default: 1")
    info.add_argument("--nodes", action="store_true", help="show every node of the MODEL")
    info.add_argument(
        "--ceiling", action="store_true", help="measure this machine's arithmetic and memory, in a second"
    )
    info.add_argument("--distributed", action="store_true", help="also node and threads of each process of mpiexec")
    info.set_defaults(run=_info, parser=info)

    bench = commands.add_parser("bench", help="time against the NumPy reference and PyTorch; or a MODEL")
    _add_model(bench, "an ONNX file: time it against ONNX Runtime, where that is installed, instead")
    bench.add_argument("--batch", type=count, metavar="N", nargs="+", default=[], help="samples at once; default: 1")
    _add_engine_options(bench)
    bench.add_argument(
        "--seconds", type=rate, metavar="S", default=0.5, help="for a side's turn at a row; default: %(default)s"
    )
    bench.set_defaults(run=_run_bench, parser=bench)
    return parser


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    add_threads(parser)


def _add_model(parser: argparse.ArgumentParser, help: str) -> None:
    """A model that may be named, and the sizes that it may leave open."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help=help)
    parser.add_argument("--size", type=size, metavar="H,W", help="of a MODEL's images, where it leaves that open")


def _job(options: argparse.Namespace) -> Job | None:
    """The processes of mpiexec, where they are asked for."""
    if options.distributed:
        with explained(options.parser):
            options.job = Job(options.parser)
    return options.job


def _info(options: argparse.Namespace) -> int:
    if options.model is not None:
        with explained(options.parser):
            describe.show(onnx_file(options.model), options.batch, options.size, options.nodes, print)
        return 0
    job = _job(options)
    processes = [] if job is None else job.processes()
    if job is not None and not job.leads:
        return 0
    fastconv.show_config()
    for rank, text in enumerate(processes):
        print(f"{f'process {rank}':24} {text}")
    if options.ceiling:
        with explained(options.parser):
            ceiling = _ceiling.measure()
        print(f"{'multiply-adds':24} {ceiling.flops / 1e9:.0f} GFLOP/s in float32")
        for size in (1 << 20, 1 << 28):
            print(f"{f'memory, {size >> 20} MiB':24} {ceiling.bandwidth(size) / 1e9:.0f} GB/s")
    for extra, packages in _extras().items():
        print(f"{'extra ' + extra:24} {', '.join(f'{name} {_version(name)}' for name in packages)}")
    return 0


def _extras() -> dict[str, list[str]]:
    """The packages of each extra, from the installed metadata."""
    extras: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("fastconv") or ():
        found = re.match(r"""([\w.-]+)[^;]*;\s*extra\s*==\s*["']([\w-]+)""", requirement)
        if found and found[1] != "fastconv":
            extras.setdefault(found[2], []).append(found[1])
    return extras


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(missing)"


def _run_bench(options: argparse.Namespace) -> int:
    threads, show = options.threads or fastconv.get_num_threads(), partial(print, flush=True)
    with explained(options.parser):
        if options.model is None:
            _bench.run(options.dtype, threads, options.seconds, show)
        else:
            path = onnx_file(options.model)
            timing.show(path, options.batch, options.size, threads, options.seconds, show)
    return 0


def _train(options: argparse.Namespace) -> int:
    job = _job(options)
    leads = job is None or job.leads
    say = print if leads else _say_nothing
    with explained(options.parser) if job is None else job.explained():
        require("tqdm", "demo", "the progress bar")
        require("matplotlib", "demo", "the learning curve")
        if options.threads:
            fastconv.set_num_threads(options.threads)
        if options.backend:
            fastconv.set_backend(options.backend)
        if job is None:
            (x, t), (x_test, t_test) = _load(options, say)
    if job is not None:
        (x, t), (x_test, t_test) = job.in_turn(lambda: _load(options, say))
    with explained(options.parser) if job is None else job.explained():
        network = _network(options, x).to(options.device)
        if leads:
            _make_folder(options.out)
    trainer = Trainer(
        network, x, t, x_test, t_test,
        epochs=options.epochs,
        mini_batch_size=options.batch_size,
        optimizer=options.optimizer,
        optimizer_param={"lr": _learning_rate(options)},
        evaluate_sample_num_per_epoch=1000,
        verbose=False,
        progress=True,
        seed=options.seed,
        shuffle=True,
        callbacks=[_fall] if options.schedule == "linear" else [],
        device=options.device,
        distributed=options.distributed,
    )  # fmt: skip
    if options.threads:  # whatever the share of this process is
        fastconv.set_num_threads(options.threads)
    say(
        f"{type(network).__name__} on {options.dataset}: {len(x):,} images to train, {len(x_test):,} to test; "
        f"{options.dtype}, batches of {options.batch_size}, {options.optimizer}"
        + ("" if job is None else f"; {job.size} process{'es' * (job.size != 1)}")
    )
    try:
        trainer.train()
        code = 0
        say(f"test accuracy   {trainer.final_test_acc:.2%}")
    except KeyboardInterrupt as error:
        if job is not None and not job.agreed(error):
            raise
        code = _INTERRUPTED
        say(f"interrupted after step {trainer.current_iter} of {trainer.max_iter}")
    with explained(options.parser) if job is None else job.explained():
        if leads:
            _save(trainer, options.out / f"{options.net}-{options.dataset}")
    if not code and job is not None:
        seconds = _seconds_per_step_together(options, x, t)
        say(f"time per step   {1e3 * seconds:.2f} ms on {job.size} processes")
    elif not code:
        print(f"time per step   {_compare_steps(options, x, t)}")
    return code


def _say_nothing(text: str) -> None:
    """What `print` is to the processes that do not lead."""


def _load(options: argparse.Namespace, say: Callable[[str], None]) -> datasets.Split:
    """The data set in the options' dtype; what the loader warns of is said as a note."""
    where = {} if options.data is None else {"data": options.data}
    if where and options.dataset == "digits":
        raise ValueError("--data: the digits are bundled; name another --dataset to read files")
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        parts = _DATASETS[options.dataset](flatten=options.net == "mlp", **where)
    for note in notes:
        say(f"note: {note.message}")
    train, test = ((x.astype(options.dtype, copy=False), t) for x, t in parts)
    return train, test


def _network(options: argparse.Namespace, x: Any) -> networks.Network:
    return _NETWORKS[options.net](x.shape[1:], dtype=np.dtype(options.dtype), rng=options.seed)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out: cannot make the folder {path}: {error.strerror}") from error


def _learning_rate(options: argparse.Namespace) -> float:
    return options.lr or _LEARNING_RATES[options.optimizer]


def _fall(trainer: Trainer, event: str) -> None:
    """After each step, the learning rate of the next: from its first value evenly down towards 0."""
    if event == "step" and trainer.current_iter < trainer.max_iter:
        left = trainer.max_iter - trainer.current_iter
        trainer.optimizer.lr *= left / (left + 1)


def _save(trainer: Trainer, path: Path) -> None:
    """Write the parameters and a picture of the training, and say where."""
    parameters, curve = path.with_suffix(".npz"), path.with_suffix(".png")
    trainer.network.save_params(parameters)
    print(f"parameters      {parameters}")
    plots.learning_curve(trainer, curve)
    print(f"learning curve  {curve}")


def _compare_steps(options: argparse.Namespace, x: Any, t: Any) -> str:
    """The time of a training step, beside that of the same network on the NumPy reference."""
    ours = _seconds_per_step(options, x, t)
    if options.backend == "numpy":
        return f"{1e3 * ours:.2f} ms"
    with fastconv.backend("numpy"):
        reference = _seconds_per_step(options, x, t)
    return f"{1e3 * ours:.2f} ms, NumPy reference {1e3 * reference:.2f} ms: {reference / ours:.1f} times as long"


def _seconds_per_step(options: argparse.Namespace, x: Any, t: Any) -> float:
    """The median of the steps of a new network."""
    step = _step_of(options, _network(options, x), x[: options.batch_size], t[: options.batch_size])
    taken: list[float] = []
    end = time.perf_counter() + _TIMED_SECONDS
    while len(taken) < 5 or time.perf_counter() < end:
        taken.append(step())
    return statistics.median(taken)


def _seconds_per_step_together(options: argparse.Namespace, x: Any, t: Any) -> float:
    """The same of all processes, which take the same number of steps."""
    parallel = DataParallel(_network(options, x))
    mine = parallel.shard(min(options.batch_size, len(x)))
    step = _step_of(options, parallel, x[mine], t[mine])
    return statistics.median([step() for _ in range(_STEPS_TOGETHER)])


def _step_of(options: argparse.Namespace, network: Any, x: Any, t: Any) -> Callable[[], float]:
    """A function that takes a step and gives its seconds."""
    optimizer = Trainer.optimizers[options.optimizer](lr=_learning_rate(options))  # type: ignore[call-arg]

    def step() -> float:
        start = time.perf_counter()
        optimizer.update(network.params, network.gradient(x, t))
        return time.perf_counter() - start

    return step

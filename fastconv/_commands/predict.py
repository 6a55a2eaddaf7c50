"""``fastconv predict``: what a model makes of pictures and arrays."""

import argparse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastconv

from .._extras import require
from .._whole_files import replacing
from . import arguments, inputs, models
from .models import Model

Array = npt.NDArray[Any]
Show = Callable[[str], None]
Batch = tuple[list[str], list[Array]]

_SAMPLES = 8  # at once, where the model leaves the number open


def add_to(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser("predict", help="show what a model makes of pictures and arrays")
    add = parser.add_argument
    add("model", metavar="MODEL", help=models.HELP_SAVED)
    add("inputs", metavar="INPUT", nargs="+", type=Path, help="a picture; or .npy, .npz: samples, taken as they are")
    add("--labels", type=Path, metavar="FILE", help="names of the classes, one a line")
    add("--top", type=arguments.count, metavar="N", default=5, help="highest scores to show; default: %(default)s")
    add("--mean", type=arguments.numbers, default=[0.0], help="subtracted from pictures in 0..1: 0.485,0.456,0.406")
    add("--std", type=arguments.scales, default=[1.0], help="pictures are divided by it: 0.229,0.224,0.225")
    add("--size", type=arguments.size, metavar="H,W", help="resize pictures; default: as the model says")
    add("--batch-size", type=arguments.count, metavar="N", help=f"samples at once; default: {_SAMPLES}, or the model's")
    add("--out", type=Path, metavar="FILE", help="write all scores: .npy the first output, .npz every one by name")
    arguments.add_threads(parser)
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    with arguments.explained(options.parser):
        if options.threads:
            fastconv.set_num_threads(options.threads)
        _check_out(options.out)
        labels = None if options.labels is None else _labels(options.labels)
        model = models.opened(options.model)
        results: list[tuple[Array, ...]] = []
        for outputs in _predictions(model, options, labels):
            if options.out is not None:
                results.append(outputs)
        if options.out is not None:
            _write(options.out, [value.name for value in model.outputs], results)
    return 0


def _check_out(path: Path | None) -> None:
    if path is not None and path.suffix not in (".npy", ".npz"):
        raise ValueError(f"--out: expected a name ending in .npy or .npz, got {str(path)!r}")
    if path is not None and not path.absolute().parent.is_dir():
        raise ValueError(f"--out: there is no folder {path.parent}")


def _labels(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--labels: {path} is no text ({error})") from error


def _predictions(model: Model, options: argparse.Namespace, labels: list[str] | None) -> Iterator[tuple[Array, ...]]:
    """The outputs of one batch after the other; what they are is shown on the way."""
    if len(model.inputs) == 1:
        pictures = inputs.Pictures(options.size, options.mean, options.std)
        found = inputs.sources(options.inputs, model.inputs[0], pictures)
        total = sum(source.count for source in found)
        size = _batch_size(model, options.batch_size)
        calls = (_called(model, size, *batch) for batch in _batches(found, size))
    else:
        total = len(options.inputs)
        calls = _named_calls(model, options.inputs)
    with _bar(total) as (show, advance):
        for names, outputs in calls:
            _show(show, names, outputs[0], labels, options.top)
            advance(len(names))
            yield outputs


def _batch_size(model: Model, wanted: int | None) -> int:
    """Samples at once: negative where every call must have exactly so many."""
    shape = model.inputs[0].shape
    fixed = shape[0] if shape and isinstance(shape[0], int) else None
    if fixed is None:
        return wanted or _SAMPLES
    if wanted not in (None, fixed):
        raise ValueError(f"--batch-size: this model takes {fixed} at once, got {wanted}")
    return -fixed


def _batches(found: list[inputs.Source], size: int) -> Iterator[Batch]:
    """Samples of one shape and dtype together."""
    names: list[str] = []
    rows: list[Array] = []
    for source in found:
        for name, x in source.samples():
            if rows and (len(rows) == abs(size) or (x.shape, x.dtype) != (rows[0].shape, rows[0].dtype)):
                yield names, rows
                names, rows = [], []
            names.append(name)
            rows.append(x)
    if rows:
        yield names, rows


def _called(model: Model, size: int, names: list[str], rows: list[Array]) -> tuple[list[str], tuple[Array, ...]]:
    """A call; a model of a fixed size gets the last sample again and again, and what it makes of that is dropped."""
    missing = -size - len(rows) if size < 0 else 0
    outputs = _as_tuple(model(np.stack([*rows, *rows[-1:] * missing])))
    count = len(rows) + missing
    return names, tuple(y[: len(rows)] if y.ndim and len(y) == count else y for y in outputs)


def _named_calls(model: Model, paths: list[Path]) -> Iterator[tuple[list[str], tuple[Array, ...]]]:
    """A call for each file, which has every input by its name."""
    wanted = [value.name for value in model.inputs]
    for path in paths:
        if path.suffix != ".npz":
            raise ValueError(
                f"{path}: the model has inputs {', '.join(wanted)}; expected an .npz file with all of them"
            )
    for path in paths:
        arrays = inputs.archive(path)
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise ValueError(f"{path}: has no array {missing[0]!r}, an input of the model")
        yield [str(path)], _as_tuple(model(*(arrays[name] for name in wanted)))


def _as_tuple(outputs: Any) -> tuple[Array, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@contextmanager
def _bar(total: int) -> Iterator[tuple[Show, Callable[[int], Any]]]:
    """Where lines go, and who is told how many samples are done: a bar over several, where tqdm is installed."""
    if total == 1 or find_spec("tqdm") is None:
        yield print, lambda n: None
        return
    with require("tqdm", "demo", "a progress bar").tqdm(total=total, unit="img") as bar:
        yield bar.write, bar.update


def _show(show: Show, names: list[str], y: Array, labels: list[str] | None, top: int) -> None:
    if y.ndim == 0 or len(y) != len(names):
        show(f"{names[0]}: {_summary(y)}")
        return
    rows = y.reshape(len(y), -1)
    is_scores = y.ndim > 1 and rows.shape[1] == y.shape[1]
    if labels is not None and (not is_scores or rows.shape[1] != len(labels)):
        raise ValueError(f"--labels: {len(labels)} names, and the model gives {_summary(y[0])} for a sample")
    for name, row, given in zip(names, rows, y, strict=True):
        if not is_scores:
            show(f"{name}: {_summary(given)}")
            continue
        best = np.argsort(-row.astype(np.float64), kind="stable")[:top]
        width = len(str(len(row) - 1))
        lines = (f"  {row[i]:11.5g}  {i:{width}}  {labels[i] if labels else ''}".rstrip() for i in best)
        show("\n".join([name, *lines]))


def _summary(y: Array) -> str:
    if y.ndim == 0:
        return f"{y:g}"
    text = f"{y.dtype} of shape {y.shape}"
    return f"{text}, from {y.min():g} to {y.max():g}" if y.size and y.dtype.kind in "fiu" else text


def _write(path: Path, names: list[str], results: list[tuple[Array, ...]]) -> None:
    count = len(names) if path.suffix == ".npz" else 1
    try:
        arrays = [np.concatenate([np.atleast_1d(outputs[i]) for outputs in results]) for i in range(count)]
    except ValueError as error:
        raise ValueError(f"--out: results of several shapes do not make one array ({error})") from error
    with replacing(path) as unfinished, open(unfinished, "wb") as file:
        if path.suffix == ".npy":
            np.save(file, arrays[0], allow_pickle=False)
            return
        with zipfile.ZipFile(file, "w") as members:  # np.savez does not take every name that an output may have
            for name, a in zip(names, arrays, strict=True):
                with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, a, allow_pickle=False)

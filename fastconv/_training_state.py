"""The state of a training in a checkpoint: what `Trainer.save_checkpoint` writes and `resume` takes over."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _checkpoint
from ._device import to_host

_COURSE = (
    "current_iter", "current_epoch", "finished_epochs", "train_acc_list", "test_acc_list", "test_loss_list",
    "val_loss_list", "val_acc_list", "metric_lists", "owes_accuracies",
)  # fmt: skip


def save(trainer: Any, path: _checkpoint.PathLike) -> None:
    """Write everything that the rest of a training depends on."""
    for name in ("optimizer", "schedule"):
        part = getattr(trainer, name)
        if part is not None and not hasattr(part, "state_dict"):
            raise TypeError(f"{name}: expected one with state_dict() for a checkpoint, got {type(part).__name__}")
    best = trainer.best
    tree = {
        "settings": _settings(trainer),
        "network": _arrays_of(trainer.network),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": _schedule_state(trainer),
        "course": {name: getattr(trainer, name) for name in _COURSE},
        "losses": np.array([float(loss) for loss in trainer.train_loss_list]),
        "best": None if best is None else [best.value, best.epoch, best.worse],
        "drawing": trainer.drawing_state(),
        "random": _checkpoint.states_of(_checkpoint.generators(trainer.network)),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 (the book's source of random numbers)
    }
    _checkpoint.write(path, tree)


def resume(trainer: Any, path: _checkpoint.PathLike) -> None:
    """Take over what `save` wrote, or raise ValueError and change nothing."""
    tree = trainer.team.together(lambda: _checkpoint.read(path))
    try:
        _check(trainer, tree)
        _load(trainer, tree)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"path: {path} does not fit this training: {error}") from error
    for name, value in tree["course"].items():
        setattr(trainer, name, value)
    trainer.train_loss_list = tree["losses"].tolist()
    if trainer.best is not None:
        trainer.best.value, trainer.best.epoch, trainer.best.worse = tree["best"]
    _checkpoint.set_states(trainer.network, tree["random"])
    np.random.set_state(tree["numpy"])  # noqa: NPY002
    trainer.team.resumed(trainer.network)
    trainer.draw_again(tree["drawing"])


def _settings(trainer: Any) -> dict[str, Any]:
    """What has to be the same for a training to go on."""
    return {
        "samples": trainer.train_size,
        "batch": trainer.batch_size,
        "shuffle": bool(trainer.shuffle),
        "validation": trainer.best is not None,
        "metrics": list(trainer.metric_lists),
        "schedule": type(trainer.schedule).__name__,
    }


def _schedule_state(trainer: Any) -> Any:
    return None if trainer.schedule is None else trainer.schedule.state_dict()


def _check(trainer: Any, tree: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another training, before anything is changed."""
    if tree["settings"] != _settings(trainer):
        raise ValueError(f"expected {_settings(trainer)}, got {tree['settings']}")
    if tree["course"].keys() != set(_COURSE):
        raise ValueError(f"expected {list(_COURSE)}, got {list(tree['course'])}")
    _checkpoint.check_states(trainer.network, tree["random"])
    _checkpoint.check_states(trainer.drawing(), tree["drawing"]["random"])


def _load(trainer: Any, tree: Mapping[str, Any]) -> None:
    """The parts that check what they are given: all of them, or none."""
    optimizer, schedule = trainer.optimizer.state_dict(), _schedule_state(trainer)
    try:
        trainer.optimizer.load_state_dict(tree["optimizer"])
        if schedule is not None:
            trainer.schedule.load_state_dict(tree["schedule"])
        _give_arrays(trainer.network, tree["network"])
    except Exception:
        trainer.optimizer.load_state_dict(optimizer)
        if schedule is not None:
            trainer.schedule.load_state_dict(schedule)
        raise


def _arrays_of(network: Any) -> dict[str, Any]:
    """The parameters, with what else the network saves."""
    if not hasattr(network, "save_params"):
        return {key: np.array(to_host(a)) for key, a in network.params.items()}
    with tempfile.TemporaryDirectory() as folder:
        network.save_params(Path(folder) / "params.npz")
        with np.load(Path(folder) / "params.npz", allow_pickle=False) as file:
            return dict(file)


def _give_arrays(network: Any, arrays: Mapping[str, Any]) -> None:
    if hasattr(network, "load_params"):
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "params.npz", allow_pickle=False, **arrays)
            network.load_params(Path(folder) / "params.npz")
        return
    shapes = {key: np.shape(a) for key, a in arrays.items()}
    wanted = {key: np.shape(p) for key, p in network.params.items()}
    if shapes != wanted:
        raise ValueError(f"expected parameters of the shapes {wanted}, got {shapes}")
    for key, p in network.params.items():
        p[...] = arrays[key]

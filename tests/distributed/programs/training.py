"""Trainings by `Trainer(..., distributed=True)`: the first argument says which; results are JSON lines."""

import hashlib
import json
import os
import signal
import sys

import numpy as np
from mpi4py import MPI

from fastconv import optim
from fastconv.datasets import transforms
from fastconv.distributed import DataParallel
from fastconv.layers import Affine, BatchNorm2d, Convolution, Pooling, Relu
from fastconv.networks import MultiLayerNetExtend, Network
from fastconv.trainer import Trainer

RANK = MPI.COMM_WORLD.rank
rng = np.random.default_rng(5)
CENTRES = rng.standard_normal((4, 20))


def samples(n):
    t = rng.integers(0, 4, n)
    return CENTRES[t] + 0.7 * rng.standard_normal((n, 20)), t


X, T = samples(90)
X_TEST, T_TEST = samples(31)
VALIDATION = samples(23)


def perceptron():
    return MultiLayerNetExtend(20, [12, 8], 4, weight_init_std="he", rng=0)


def show(**found):
    if RANK == 0:
        print(json.dumps(found), flush=True)


def bits(net):
    arrays = {**net.params, **net.named_statistics()}
    text = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    return MPI.COMM_WORLD.allgather(text)


def course(**options):
    """A training's lists and parameters."""
    np.random.seed(RANK)  # noqa: NPY002 (a seed that differs does no harm)
    net = options.pop("net", None) or perceptron()
    trainer = Trainer(
        net, X, T, X_TEST, T_TEST,
        **{
            "epochs": 3, "mini_batch_size": 18, "optimizer": optim.Momentum(0.05), "verbose": True, "seed": 3,
            "shuffle": True, "validation": VALIDATION, "metrics": ["confusion_matrix"],
            "schedule": optim.schedules.Plateau(patience=0), **options,
        },
    )  # fmt: skip
    return trainer


def told(trainer):
    net = trainer.network
    return {
        "parameters": {key: p.tolist() for key, p in net.params.items()},
        "lists": [trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc_list, trainer.val_loss_list,
                  trainer.val_acc_list],
        "matrices": np.array(trainer.metric_lists["confusion_matrix"]).tolist(),
        "final": trainer.final_test_acc,
        "best": trainer.best.epoch,
        "steps": trainer.current_iter,
        "same": len(set(bits(net))) == 1,
    }  # fmt: skip


def plain(distributed):
    trainer = course(distributed=distributed == "True")
    trainer.train()
    show(**told(trainer))


def drawn_anew():
    """Without a seed: the first process's batches."""
    trainer = course(distributed=True, seed=None, shuffle=False, recompute_loss=True)
    trainer.train()
    show(same=len(set(bits(trainer.network))) == 1)


def stopped():
    """One process alone wants to end."""

    def stop(trainer, event):
        if MPI.COMM_WORLD.size - 1 == RANK and event == "step" and trainer.current_iter == 4:
            trainer.stop()

    trainer = course(distributed=True, callbacks=[stop])
    trainer.train()
    show(steps=MPI.COMM_WORLD.allgather(trainer.current_iter))


def files(folder):
    """One set of files: how often each was written."""
    writes = []
    replace = os.replace

    def counted(source, target):
        writes.append(os.path.basename(target))
        replace(source, target)

    os.replace = counted
    trainer = course(distributed=True, checkpoint=f"{folder}/training.npz", save_best=f"{folder}/best.npz")
    trainer.train()
    everybody = MPI.COMM_WORLD.allgather(writes)
    show(writes=everybody)


def epochs(folder, first, last, distributed="True"):
    """Go on from a checkpoint that an earlier job left after `first` epochs."""
    trainer = course(distributed=distributed == "True", epochs=int(last), checkpoint=f"{folder}/training.npz")
    if int(first):
        trainer.resume(f"{folder}/training.npz")
    trainer.train()
    show(**told(trainer))


def killed_save(folder):
    """The second checkpoint is cut off."""
    finished = []
    sync = os.fsync

    def cut(file):
        finished.append(file)
        if len(finished) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    os.fsync = cut
    course(distributed=True, checkpoint=f"{folder}/training.npz").train()


def missing_checkpoint(folder):
    try:
        course(distributed=True).resume(f"{folder}/none.npz")
    except FileNotFoundError:
        show(raised=MPI.COMM_WORLD.allgather(True))


def wrong():
    """All processes make the same mistake."""
    DataParallel("a network")


class Pictures:
    """A data set that counts what is read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 40

    def __getitem__(self, i):
        self.read.append(i)
        return np.random.default_rng(i).standard_normal((1, 10, 10)), i % 4


def lazy(size):
    """Random transforms, of a data set that is read by its parts."""
    r = np.random.default_rng(0)
    net = Network([
        Convolution(0.3 * r.standard_normal((3, 1, 3, 3)), np.zeros(3)), BatchNorm2d(3, dtype=np.float64), Relu(),
        Pooling(2, 2, 2), Affine(0.2 * r.standard_normal((27, 4)), np.zeros(4)),
    ])  # fmt: skip
    pictures = Pictures()
    change = transforms.Compose([transforms.RandomCrop(8), transforms.RandomHorizontalFlip()])
    trainer = Trainer(
        DataParallel(net, sync_batch_norm=True), pictures, None, epochs=2, mini_batch_size=int(size),
        optimizer=optim.SGD(0.05), transform=change, seed=1, shuffle=True, verbose=False, distributed=True,
        evaluate_sample_num_per_epoch=1,
    )  # fmt: skip
    trainer.train()
    read = MPI.COMM_WORLD.allgather(len(pictures.read))
    show(parameters={key: p.tolist() for key, p in net.params.items()}, read=read, steps=trainer.current_iter)


def ends(how, folder):
    """Process 1 ends in the middle, or all are to be interrupted."""

    def end(trainer, event):
        if event != "step" or trainer.current_iter != 4:
            return
        if RANK == 1 and how == "raises":
            raise ArithmeticError("the batch is rotten")
        if RANK == 1 and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if RANK == 0:
            open(f"{folder}/began", "w").close()

    epochs = 3 if how != "interrupted" else 1_000_000
    trainer = course(distributed=True, callbacks=[end], epochs=epochs, verbose=False, validation=None, metrics=(),
                     schedule=None, checkpoint=f"{folder}/training.npz" if how == "killed" else None)  # fmt: skip
    try:
        trainer.train()
    except KeyboardInterrupt:
        same = len(set(bits(trainer.network))) == 1
        show(steps=MPI.COMM_WORLD.allgather(trainer.current_iter), same=same)
        raise


globals()[sys.argv[1]](*sys.argv[2:])

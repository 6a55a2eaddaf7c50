"""Checkpoints: a training that is resumed goes on bit for bit; files that do not fit change nothing."""

# ruff: noqa: NPY002 (the book's layers draw from NumPy's global generator)

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastconv import _checkpoint, optim
from fastconv.datasets import transforms as T
from fastconv.layers import Dropout
from fastconv.networks import DeepConvNet, MultiLayerNetExtend, SimpleConvNet, TwoLayerNet
from fastconv.optim.schedules import Cosine, Plateau
from fastconv.trainer import Trainer

made = np.random.default_rng(0)
X, LABELS = made.random((60, 1, 10, 10)).astype(np.float32), np.arange(60) % 3
HELD = X[:20, :, 1:9, 1:9].copy(), LABELS[:20]


def perceptron():
    """Dropout by NumPy's global generator, and running statistics."""
    return MultiLayerNetExtend(64, [10], 3, use_dropout=True, dropout_ration=0.3, use_batchnorm=True, rng=None)


def seeded():
    """Dropout by a generator that the layers share."""
    return MultiLayerNetExtend(64, [10, 10], 3, use_dropout=True, dropout_ration=0.3, rng=5)


def convnet():
    conv = {"filter_num": 4, "filter_size": 3, "pad": 1, "stride": 1}
    return SimpleConvNet((1, 8, 8), conv, 8, 3, dtype=np.float32, rng=0)


FLAT = X[:, 0, 1:9, 1:9].reshape(60, 64).astype(float), LABELS
FLAT_HELD = FLAT[0][:20], LABELS[:20]


def augment():
    """One transform draws from the trainer's generator, one from its own."""
    return T.Compose([T.RandomCrop(8), T.RandomHorizontalFlip(rng=4)])


KINDS = {
    "global generator": lambda: Trainer(perceptron(), *FLAT, validation=FLAT_HELD, optimizer="Adam", **COMMON),
    "seeds": lambda: Trainer(seeded(), *FLAT, seed=2, shuffle=True, optimizer=optim.SGD(0.1, momentum=0.9),
                             schedule=Cosine(5), validation=FLAT_HELD, metrics=["confusion_matrix"], **COMMON),
    "plateau": lambda: Trainer(seeded(), *FLAT, FLAT_HELD[0], FLAT_HELD[1], seed=np.random.Generator(np.random.MT19937(3)),
                               validation=FLAT_HELD, schedule=Plateau(patience=0, threshold=0.5), **COMMON),
    "transforms": lambda: Trainer(convnet(), X, LABELS, seed=2, shuffle=True, transform=augment(), validation=HELD,
                                  optimizer=optim.Adam({"W1": 0.01, "*": 0.001}), **COMMON),
    "transforms, no threads": lambda: Trainer(convnet(), X, LABELS, transform=T.RandomCrop(8), prefetch=0, **COMMON),
}  # fmt: skip
COMMON = {"epochs": 5, "mini_batch_size": 8, "verbose": False}


def course(t):
    lists = t.train_loss_list, t.train_acc_list, t.test_acc_list, t.val_loss_list, t.val_acc_list
    matrices = [a.tolist() for a in t.metric_lists.get("confusion_matrix", [])]
    return lists, matrices, t.current_iter, t.current_epoch, t.finished_epochs, t.optimizer.lr, t.final_test_acc


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("at", [1, 11, 16, 30])
def test_going_on_bit_for_bit(tmp_path, name, at):
    make, path = KINDS[name], tmp_path / "training.npz"
    np.random.seed(7)
    whole = make()
    whole.train()

    def save(t, event):
        if event == "step" and t.current_iter == at:
            t.save_checkpoint(path)
            t.stop()

    np.random.seed(7)
    first = make()
    first.callbacks.append(save)
    first.train()
    assert first.current_iter == at
    np.random.seed(99)
    second = make()
    np.random.random(5)
    second.resume(path)
    assert second.current_iter == at and second.train_loss_list == whole.train_loss_list[:at]
    second.train()
    assert course(second) == course(whole)
    if whole.best is not None:
        assert vars(second.best).keys() == vars(whole.best).keys() and second.best.epoch == whole.best.epoch
    for key, p in whole.network.params.items():
        assert_array_equal(second.network.params[key], p, err_msg=key)
    state, expected = second.optimizer.state_dict()["state"], whole.optimizer.state_dict()["state"]
    for kind, arrays in expected.items():
        for key, a in arrays.items():
            assert_array_equal(state[kind][key], a)
    assert not [file for file in os.listdir(tmp_path) if file != "training.npz"]


def test_a_checkpoint_behind_every_epoch(tmp_path):
    path = tmp_path / "training.npz"
    t = KINDS["seeds"]()
    t.checkpoint = path
    t.callbacks.append(lambda t, event: t.stop() if t.current_iter == 18 else None)
    t.train()
    other = KINDS["seeds"]()
    other.resume(path)
    assert other.finished_epochs == 2 and other.current_iter == 15 and len(other.val_loss_list) == 2


def test_more_epochs_than_before(tmp_path):
    path = tmp_path / "training.npz"
    t, long = Trainer(seeded(), *FLAT, seed=0, **COMMON), Trainer(seeded(), *FLAT, seed=0, **{**COMMON, "epochs": 8})
    t.train()
    t.save_checkpoint(path)
    longer = Trainer(seeded(), *FLAT, seed=0, **{**COMMON, "epochs": 8})
    longer.resume(path)
    longer.train()
    long.train()
    assert longer.train_loss_list == long.train_loss_list and longer.max_iter == 60


class Own:
    """A network of the user's own, which saves nothing by itself."""

    def __init__(self, size=2):
        self.params = {"w": np.ones(size)}

    def gradient(self, x, t):
        return {"w": self.params["w"] * np.mean(x)}

    def loss(self, x, t):
        return float(np.sum(self.params["w"]) * np.mean(x))


def test_a_network_of_ones_own(tmp_path):
    def make(size=2):
        return Trainer(Own(size), FLAT[0], LABELS, seed=0, **COMMON)

    whole, first, second = make(), make(), make()
    whole.train()
    for _ in range(10):
        first.train_step()
    first.save_checkpoint(tmp_path / "a.npz")
    second.resume(tmp_path / "a.npz")
    second.train()
    assert second.train_loss_list == whole.train_loss_list
    with pytest.raises(ValueError, match="shapes"):
        make(3).resume(tmp_path / "a.npz")


# --- what does not fit ------------------------------------------------------------------------------------------------


def snapshot(t):
    arrays = {key: p.copy() for key, p in t.network.params.items()}
    return arrays, t.optimizer.state_dict(), course(t), repr(np.random.get_state()), repr(t.drawing_state())


def same(a, b):
    return repr(a) == repr(b)


def base(**options):
    return Trainer(TwoLayerNet(64, 10, 3, rng=0), *FLAT, **{**COMMON, "seed": 0, "optimizer": "Adam", **options})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: base(mini_batch_size=9), "'batch': 9"),
        (lambda: base(shuffle=True), "'shuffle': True"),
        (lambda: base(validation=FLAT_HELD), "'validation': True"),
        (lambda: base(schedule=Cosine(3)), "Cosine"),
        (lambda: base(optimizer="SGD"), "expected that of SGD, got that of Adam"),
        (lambda: base(seed=np.random.Generator(np.random.MT19937(1))), "generator"),
        (lambda: base(seed=None), "generator"),
        (lambda: Trainer(TwoLayerNet(64, 11, 3), *FLAT, **COMMON, seed=0, optimizer="Adam"), "shape"),
        (lambda: Trainer(seeded(), *FLAT, **COMMON, seed=0, optimizer="Adam"), "generator"),
        (
            lambda: Trainer(TwoLayerNet(64, 10, 3), FLAT[0][1:], LABELS[1:], **COMMON, seed=0, optimizer="Adam"),
            "'samples': 59",
        ),
    ],
)
def test_a_checkpoint_of_another_training_changes_nothing(tmp_path, other, message):
    t, path = base(), tmp_path / "a.npz"
    for _ in range(5):
        t.train_step()
    t.save_checkpoint(path)
    second = other()
    for _ in range(2):
        second.train_step()
    before = snapshot(second)
    with pytest.raises(ValueError, match=message) as caught:
        second.resume(path)
    assert "a.npz" in str(caught.value)
    assert same(snapshot(second), before)


def test_damaged_files_change_nothing(tmp_path):
    t, path = base(), tmp_path / "a.npz"
    t.train_step()
    t.save_checkpoint(path)
    content = path.read_bytes()
    before = snapshot(t)
    for share in (0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"a\.npz is no whole checkpoint"):
            t.resume(path)
    t.network.save_params(path)
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        t.resume(path)
    _checkpoint.write(path, {"other": 1})
    with pytest.raises(ValueError, match="does not fit this training"):
        t.resume(path)
    with pytest.raises(FileNotFoundError):
        t.resume(tmp_path / "none.npz")
    assert same(snapshot(t), before)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    t, path = base(), tmp_path / "a.npz"
    t.save_checkpoint(path)
    content = path.read_bytes()
    t.train_step()

    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        t.save_checkpoint(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["a.npz"]


def test_an_optimiser_without_a_state(tmp_path):
    class Plain:
        def update(self, params, grads):
            pass

    t = base(optimizer=Plain())
    with pytest.raises(TypeError, match=r"optimizer: expected one with state_dict\(\)"):
        t.save_checkpoint(tmp_path / "a.npz")
    t = base(schedule=lambda epoch: None)
    with pytest.raises(TypeError, match=r"schedule: expected one with state_dict\(\)"):
        t.save_checkpoint(tmp_path / "a.npz")
    assert not os.listdir(tmp_path)


# --- the file and the generators --------------------------------------------------------------------------------------


def test_trees(tmp_path):
    tree = {
        "numbers": [1, 2.5, -0.0, float("inf"), 2**100, True, None, "ä", np.float64(0.1), np.int64(3)],
        "arrays": {"a": np.arange(6.0).reshape(2, 3), "b/c": [np.zeros(0, np.float16), np.array(7, np.int8)]},
    }
    _checkpoint.write(tmp_path / "a.npz", tree)
    back = _checkpoint.read(tmp_path / "a.npz")
    assert back["numbers"] == [1, 2.5, -0.0, float("inf"), 2**100, True, None, "ä", 0.1, 3]
    assert_array_equal(back["arrays"]["a"], tree["arrays"]["a"])
    for a, b in zip(back["arrays"]["b/c"], tree["arrays"]["b/c"], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    for wrong in ({"a": object()}, {1: 2}, {"a": {"array number": 3}}):
        with pytest.raises(TypeError, match="a checkpoint holds"):
            _checkpoint.write(tmp_path / "b.npz", wrong)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_generators_are_found_wherever_they_are_and_once():
    net = DeepConvNet((1, 16, 16), hidden_size=5, rng=3)
    drops = [layer for layer in net.every_layer() if isinstance(layer, Dropout)]
    found = _checkpoint.generators(net)
    assert len(drops) == 2 and len(found) == 1 and found[0][1] is drops[0].rng is drops[1].rng
    states = _checkpoint.states_of(found)
    expected = drops[0].rng.random(4)
    _checkpoint.check_states(net, states)
    _checkpoint.set_states(net, states)
    assert_array_equal(drops[1].rng.random(4), expected)


def test_a_generator_that_a_first_step_makes():
    """As a dropout layer on a device makes one."""
    used, fresh = Dropout(0.5), Dropout(0.5)
    used._own_rng = np.random.default_rng(5)
    states = _checkpoint.states_of(_checkpoint.generators(used))
    _checkpoint.check_states(fresh, states)
    _checkpoint.set_states(fresh, states)
    assert fresh._own_rng.random() == np.random.default_rng(5).random()

"""The trainer: the book's course, and what it adds."""

# ruff: noqa: NPY002 (the book's programs seed NumPy's global generator)

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import optim
from fastconv.networks import MultiLayerNetExtend, TwoLayerNet
from fastconv.trainer import BookTrainer, Trainer

rng = np.random.default_rng(10)
CENTRES = 2 * rng.standard_normal((3, 6))


def samples(n):
    """Three clouds of points."""
    t = rng.integers(0, 3, n)
    return CENTRES[t] + 0.5 * rng.standard_normal((n, 6)), t


X, T = samples(200)
X_TEST, T_TEST = samples(60)
DATA = X, T, X_TEST, T_TEST


def trainer(kind=Trainer, **options):
    net = TwoLayerNet(6, 8, 3, 0.1, rng=0)
    return kind(net, *DATA, **{"epochs": 3, "mini_batch_size": 20, "verbose": False, **options})


def book_course(net, optimizer, epochs, batch_size):
    """The book's loop, written out."""
    losses, train, test = [], [], []
    per_epoch = len(X) / batch_size
    for i in range(int(epochs * per_epoch)):
        batch = np.random.choice(len(X), batch_size)
        optimizer.update(net.params, net.gradient(X[batch], T[batch]))
        losses.append(net.loss(X[batch], T[batch]))
        if i % per_epoch == 0:
            train.append(net.accuracy(X, T))
            test.append(net.accuracy(X_TEST, T_TEST))
    return losses, train, test


@pytest.mark.parametrize(("name", "kind"), [("SGD", optim.SGD), ("Momentum", optim.Momentum), ("Adam", optim.BookAdam)])
def test_the_books_course_to_the_last_digit(name, kind):
    np.random.seed(5)
    losses, train, test = book_course(TwoLayerNet(6, 8, 3, 0.1, rng=0), kind(lr=0.01), 3, 20)
    np.random.seed(5)
    t = trainer(BookTrainer, optimizer=name, optimizer_param={"lr": 0.01})
    t.train()
    assert t.train_loss_list == losses
    assert t.train_acc_list == train
    assert t.test_acc_list == test
    assert (t.current_epoch, t.current_iter, t.max_iter) == (3, 30, 30)


def test_the_loss_of_the_gradients_own_forward_pass():
    """Without a second forward pass the loss is the one before the update; the updates are the same."""
    before, after = trainer(), trainer(recompute_loss=True)
    for t in (before, after):
        np.random.seed(5)
        t.train()
    assert before.test_acc_list == after.test_acc_list
    net = TwoLayerNet(6, 8, 3, 0.1, rng=0)
    np.random.seed(5)
    batch = np.random.choice(200, 20)
    assert before.train_loss_list[0] == net.loss(X[batch], T[batch])
    net.params = optimized(net, batch)
    assert after.train_loss_list[0] == net.loss(X[batch], T[batch])


def optimized(net, batch):
    optim.SGD().update(net.params, net.gradient(X[batch], T[batch]))
    return net.params


def test_it_learns():
    t = trainer(optimizer="Adam", optimizer_param={"lr": 0.02}, epochs=10, shuffle=True, seed=1)
    t.train()
    assert t.final_test_acc > 0.95
    assert t.train_loss_list[-1] < 0.3 * t.train_loss_list[0]
    assert len(t.train_acc_list) == len(t.test_acc_list) == 10


@pytest.mark.parametrize("shuffle", [False, True])
def test_seeds(shuffle):
    courses = []
    for seed in (1, np.random.default_rng(1), 2):
        t = trainer(seed=seed, shuffle=shuffle)
        t.train()
        courses.append(t.train_loss_list)
    assert courses[0] == courses[1] != courses[2]


class Recorder:
    """A network that remembers its batches; of the user's own making, without `last_loss`."""

    def __init__(self):
        self.params = {"w": np.zeros(1)}
        self.batches = []

    def gradient(self, x, t):
        assert_array_equal(x, t)
        self.batches.append(list(t))
        return {"w": np.ones(1)}

    def loss(self, x, t):
        return -self.params["w"][0]

    def accuracy(self, x, t):
        return len(x)


def record(n, **options):
    net, x = Recorder(), np.arange(n)
    t = Trainer(net, x, x, x, x, verbose=False, **options)
    t.train()
    return t, net.batches


def test_shuffled_epochs_see_every_sample_once():
    _, batches = record(20, epochs=3, mini_batch_size=5, shuffle=True, seed=0)
    epochs = np.array(batches).reshape(3, 20)
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert list(epochs[0]) != list(epochs[1]) != list(range(20))


def test_epochs_that_batches_do_not_divide():
    """Batches run on into the next epoch, so that every sample is seen equally often, and every epoch is measured."""
    t, batches = record(10, epochs=4, mini_batch_size=4, shuffle=True, seed=0)
    assert {len(batch) for batch in batches} == {4}
    seen = np.concatenate(batches)
    assert [sorted(seen[i : i + 10]) for i in range(0, 40, 10)] == [list(range(10))] * 4
    assert t.current_epoch == len(t.test_acc_list) == 4


def test_a_network_without_last_loss_is_asked_for_it():
    t, _ = record(10, epochs=1, mini_batch_size=5, optimizer_param={"lr": 0.5})
    assert_allclose(t.train_loss_list, [0.5, 1.0])


def test_batches_larger_than_the_data():
    t, batches = record(3, epochs=2, mini_batch_size=5, shuffle=True)
    assert [len(batch) for batch in batches] == [5, 5]
    assert t.iter_per_epoch == 1


def test_accuracies_of_a_part():
    t, _ = record(10, epochs=2, mini_batch_size=5, evaluate_sample_num_per_epoch=4)
    assert t.train_acc_list == t.test_acc_list == [4, 4]
    assert t.final_test_acc == 10


def test_callbacks():
    events = []
    t = trainer(epochs=2, callbacks=[lambda t, event: events.append((event, t.current_iter))])
    t.train()
    assert [e for e in events if e[0] != "step"] == [("epoch", 0), ("epoch", 10), ("end", 20)]
    assert [i for event, i in events if event == "step"] == list(range(1, 21))


def stop(at):
    def callback(trainer, event):
        if event == "step" and trainer.current_iter == at and not trainer.__dict__.get("stopped"):
            trainer.stopped = True
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("progress", [False, True])
def test_ctrl_c_leaves_a_trainer_that_can_go_on(progress, capsys):
    whole, t = trainer(shuffle=True, seed=3), trainer(shuffle=True, seed=3, callbacks=[stop(12)], progress=progress)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        t.train()
    assert t.current_iter == len(t.train_loss_list) == 12
    assert t.final_test_acc is None
    t.train()
    assert t.train_loss_list == whole.train_loss_list
    assert t.test_acc_list == whole.test_acc_list
    assert t.final_test_acc == whole.final_test_acc
    assert_array_equal(t.network.params["W1"], whole.network.params["W1"])


def test_it_prints_what_the_book_prints(capsys):
    t = trainer(epochs=1, verbose=True)
    t.train()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"train loss:{t.train_loss_list[0]}"
    assert lines[1] == f"=== epoch:1, train acc:{t.train_acc_list[0]}, test acc:{t.test_acc_list[0]} ==="
    assert len([line for line in lines if line.startswith("train loss:")]) == 10
    assert lines[-1] == f"test acc:{t.final_test_acc}"


def test_it_prints_nothing_else(capsys):
    trainer(epochs=1).train()
    assert capsys.readouterr() == ("", "")


def test_the_progress_bar(capsys):
    trainer(progress=True).train()
    out, bar = capsys.readouterr()
    assert out == ""
    assert "epoch 3/3" in bar and "600/600" in bar and "img/s" in bar and "loss=" in bar and "test_acc=" in bar


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    t = trainer(progress=True)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastconv\[demo\]'"):
        t.train()


@pytest.mark.parametrize("name", ["sgd", "Momentum", "NESTEROV", "AdaGrad", "RMSprop", "AdaDelta", "Adam"])
def test_optimizers_by_name(name):
    t = trainer(optimizer=name, optimizer_param={"lr": 0.123})
    assert type(t.optimizer).__name__.lower() == name.lower()
    assert t.optimizer.lr == 0.123


def test_an_unknown_optimizer():
    with pytest.raises(ValueError, match="optimizer: expected one of sgd, momentum"):
        trainer(optimizer="lion")


def test_the_listed_loss_has_the_weight_decay():
    net = MultiLayerNetExtend(6, [8], 3, weight_decay_lambda=1.0, rng=0)
    decay = 0.5 * sum(np.sum(net.params[key] ** 2) for key in ("W1", "W2"))
    t = Trainer(net, *DATA, epochs=1, mini_batch_size=200, verbose=False)
    t.train()
    assert t.train_loss_list[0] > decay

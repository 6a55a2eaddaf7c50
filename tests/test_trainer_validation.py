"""What the trainer does beyond the book: validation, schedules, early end, data sets, regression."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastconv import layers, metrics, optim
from fastconv.datasets import batches
from fastconv.datasets import transforms as T
from fastconv.networks import MultiLayerNetExtend, Network, SimpleConvNet, TwoLayerNet
from fastconv.optim.schedules import Cosine, Plateau, Step
from fastconv.trainer import BookTrainer, Trainer

rng = np.random.default_rng(10)
CENTRES = 2 * rng.standard_normal((3, 6))


def samples(n):
    """Three clouds of points."""
    t = rng.integers(0, 3, n)
    return CENTRES[t] + 0.5 * rng.standard_normal((n, 6)), t


X, T_TRAIN = samples(200)
HELD = samples(70)


def net():
    return TwoLayerNet(6, 8, 3, 0.1, rng=0)


def trainer(network=None, kind=Trainer, **options):
    options = {"epochs": 4, "mini_batch_size": 20, "verbose": False, "validation": HELD, "seed": 1, **options}
    return kind(network or net(), X, T_TRAIN, **options)


def test_validation_at_the_end_of_each_epoch():
    t = trainer(metrics=["per_class_accuracy", "confusion_matrix"])
    seen = []
    t.callbacks.append(lambda t, event: seen.append((event, t.current_iter)) if event == "validation" else None)
    other, accuracies, losses = trainer(validation=None), [], []

    def measure(t, event):
        if event == "step" and t.current_iter % 10 == 0:
            accuracies.append(t.network.accuracy(*HELD))
            losses.append(t.network.loss(*HELD))

    other.callbacks.append(measure)
    t.train()
    other.train()
    assert t.train_loss_list == other.train_loss_list  # measuring disturbs nothing
    assert seen == [("validation", 10 * i) for i in (1, 2, 3, 4)]
    assert t.val_acc_list == pytest.approx(accuracies)
    assert t.val_loss_list == pytest.approx(losses)
    assert t.finished_epochs == 4 and other.val_acc_list == other.val_loss_list == []
    last = t.network.predict(HELD[0])
    assert_array_equal(t.metric_lists["confusion_matrix"][-1], metrics.confusion_matrix(last, HELD[1]))
    assert_array_equal(t.metric_lists["per_class_accuracy"][-1], metrics.per_class_accuracy(last, HELD[1]))
    assert t.final_test_acc is None and t.test_acc_list == [] and len(t.train_acc_list) == 4


def test_epochs_that_batches_do_not_divide():
    t = trainer(mini_batch_size=30, epochs=3)
    ends = []
    t.callbacks.append(lambda t, event: ends.append(t.current_iter) if event == "validation" else None)
    t.train()
    assert t.max_iter == 20 and ends == [7, 14, 20]
    assert len(t.val_loss_list) == 3


def test_validation_is_prediction():
    """Dropout is off and running statistics stay, though this network's loss trains by default."""
    network = MultiLayerNetExtend(6, [8], 3, use_dropout=True, dropout_ration=0.5, use_batchnorm=True, rng=0)
    t = trainer(network, epochs=1)
    t.train()
    losses = [network.loss(HELD[0][i : i + 20], HELD[1][i : i + 20], train_flg=False) for i in (0, 20, 40, 60)]
    assert t.val_loss_list == [pytest.approx(np.average(losses, weights=[20, 20, 20, 10]))]


def test_optimiser_objects():
    optimizer = optim.Adam({"W1": 0.02, "*": 0.01})
    t = trainer(optimizer=optimizer)
    t.train()
    assert t.optimizer is optimizer and optimizer.iter == 40
    same, by_hand = net(), optim.Adam({"W1": 0.02, "*": 0.01})
    choice = np.random.default_rng(1)
    for _ in range(40):
        places = choice.choice(200, 20)
        by_hand.update(same.params, same.gradient(X[places], T_TRAIN[places]))
    for key, p in same.params.items():
        assert_array_equal(t.network.params[key], p)


def test_schedules():
    rates = []

    def note(t, event):
        if event == "step":
            rates.append(t.optimizer.lr)

    trainer(optimizer=optim.SGD(0.4), schedule=Step(2, gamma=0.5), callbacks=[note]).train()
    assert rates == [0.4] * 20 + [0.2] * 20
    rates.clear()
    trainer(schedule=Cosine(4), optimizer_param={"lr": 1.0}, callbacks=[note], validation=None).train()
    assert rates[::10] == pytest.approx([1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2])
    epochs = []
    trainer(schedule=epochs.append).train()
    assert epochs == [0, 1, 2, 3]


@pytest.mark.parametrize(("mode", "name"), [("min", "val_loss_list"), ("max", "val_acc_list")])
def test_a_plateau_gets_the_metric(mode, name):
    schedule, seen = Plateau(mode), []
    call = Plateau.__call__
    t = trainer(schedule=schedule, epochs=3)
    schedule.__class__ = type("Watched", (Plateau,), {"__call__": lambda self, m: (seen.append(m), call(self, m))[1]})
    t.train()
    assert seen == getattr(t, name)


def test_the_best_is_saved(tmp_path):
    """A rate that makes the loss rise again: the file holds the parameters of the least."""
    path, kept = tmp_path / "best.npz", []

    def note(t, event):
        if event == "validation":
            kept.append({key: p.copy() for key, p in t.network.params.items()})

    def rates(epoch):
        t.optimizer.lr = 0.5 if epoch < 3 else 1e4

    t = trainer(epochs=6, schedule=rates, save_best=path, callbacks=[note])
    t.train()
    best = int(np.argmin(t.val_loss_list))
    assert 0 < best < 5 and t.best.epoch == best and t.best.value == t.val_loss_list[best]
    saved = net()
    saved.load_params(path)
    for key, p in kept[best].items():
        assert_array_equal(saved.params[key], p)


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_early_end(monitor):
    t = trainer(epochs=50, optimizer_param={"lr": 0.0}, patience=3, monitor=monitor)
    t.train()
    assert t.stopped and t.finished_epochs == 4 and t.current_iter == 40  # the first is the best of equals
    t.train()
    assert t.finished_epochs == 5


def test_a_loss_that_is_no_number_is_never_best():
    t = trainer(epochs=50, optimizer_param={"lr": 1e200}, patience=2)
    with np.errstate(all="ignore"):
        t.train()
    assert t.finished_epochs <= 4 and np.isnan(t.val_loss_list[-1])
    assert t.best.epoch is None or np.isfinite(t.best.value)


def test_stop():
    t = trainer(callbacks=[lambda t, event: t.stop() if t.current_iter == 13 and event == "step" else None])
    t.train()
    assert t.current_iter == 13 and t.stopped and len(t.val_loss_list) == 1
    t.train()
    assert t.current_iter == 40 and not t.stopped and len(t.val_loss_list) == 4


def test_an_interrupted_validation_is_made_up_for():
    class Interrupted(TwoLayerNet):
        calls = 0

        def accuracy(self, x, t, batch_size=100):
            self.calls += len(x) == 70
            if len(x) == 70 and self.calls == 4:
                raise KeyboardInterrupt
            return super().accuracy(x, t, batch_size)

    t, whole = trainer(Interrupted(6, 8, 3, 0.1, rng=0)), trainer()
    with pytest.raises(KeyboardInterrupt):
        t.train()
    assert t.current_iter == 40
    t.train()
    whole.train()
    assert t.val_loss_list == whole.val_loss_list and t.val_acc_list == whole.val_acc_list


# --- regression -------------------------------------------------------------------------------------------------------


class Regression(Network):
    def __init__(self):
        made = np.random.default_rng(0)
        super().__init__({"affine": layers.Affine(0.1 * made.standard_normal((6, 2)), np.zeros(2))})
        self.last_layer = layers.IdentityWithLoss("mean")


TARGETS = X @ np.arange(12.0).reshape(6, 2) / 10


@pytest.mark.parametrize("test", [False, True])
def test_a_regression_reports_its_loss(test, capsys):
    data = (X, TARGETS, X[:50], TARGETS[:50]) if test else (X, TARGETS)
    t = Trainer(Regression(), *data, epochs=3, mini_batch_size=20, validation=(X[:50], TARGETS[:50]), seed=0,
                optimizer_param={"lr": 0.05})  # fmt: skip
    t.train()
    assert t.train_acc_list == t.test_acc_list == t.val_acc_list == [] and t.final_test_acc is None
    assert len(t.val_loss_list) == 3 and t.val_loss_list[-1] < 0.5 * t.val_loss_list[0]
    out = capsys.readouterr().out
    assert "acc" not in out.lower() and f"val loss:{t.val_loss_list[-1]}" in out
    if test:
        assert len(t.test_loss_list) == 3
        assert (
            t.final_test_loss
            == pytest.approx(t.val_loss_list[-1])
            == pytest.approx(t.network.loss(X[:50], TARGETS[:50]))
        )
        assert f"test loss:{t.final_test_loss}" in out


def test_a_loss_of_ones_own_has_no_accuracy():
    class Absolute:
        def forward(self, x, t):
            self.sign = np.sign(x - t)
            return float(np.abs(x - t).mean())

        def backward(self, dout=1):
            return self.sign / self.sign.size

    network = Regression()
    network.last_layer = Absolute()
    t = Trainer(network, X, TARGETS, X, TARGETS, 1, 20, verbose=False)
    t.train()
    assert t.train_acc_list == [] and t.final_test_loss > 0


def test_a_network_without_accuracy():
    class Bare:
        def __init__(self):
            self.params = {"w": np.zeros(1)}

        def gradient(self, x, t):
            return {"w": np.ones(1)}

        def loss(self, x, t):
            return float(np.mean(x))

    x = np.arange(10.0)
    t = Trainer(Bare(), x, x, x, x, 1, 5, verbose=False, validation=(x, x))
    t.train()
    assert t.val_loss_list == t.test_loss_list == [pytest.approx(4.5)]


# --- data sets and transforms -----------------------------------------------------------------------------------------

IMAGES = rng.random((40, 1, 10, 10)).astype(np.float32)
KINDS = np.arange(40) % 3


class Pictures:
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return IMAGES[i], int(KINDS[i])


def convnet():
    conv = {"filter_num": 4, "filter_size": 3, "pad": 1, "stride": 1}
    return SimpleConvNet((1, 8, 8), conv, 8, 3, dtype=np.float32, rng=0)


CROP = T.Compose([T.RandomCrop(8), T.Normalize(0.5, 0.25)])
MIDDLE = T.Compose([T.CenterCrop(8), T.Normalize(0.5, 0.25)])


@pytest.mark.parametrize("kind", ["arrays", "data set"])
def test_the_same_course_for_any_number_of_batches_ahead(kind):
    class Held(Pictures):
        def __getitem__(self, i):
            return MIDDLE(IMAGES[i]), int(KINDS[i])

    courses = []
    for prefetch in (0, 1, 4):
        flipped = T.Compose([*CROP.transforms, T.RandomHorizontalFlip(rng=5)])
        data = (IMAGES, KINDS) if kind == "arrays" else (Pictures(), None)
        t = Trainer(convnet(), *data, epochs=2, mini_batch_size=8, seed=3, shuffle=True, transform=flipped,
                    validation=Held(), prefetch=prefetch, verbose=False)  # fmt: skip
        t.train()
        courses.append((t.train_loss_list, t.val_loss_list, t.train_acc_list))
    assert courses[0] == courses[1] == courses[2]
    assert len(courses[0][0]) == 10 and len(courses[0][1]) == 2


def test_every_image_of_an_epoch_is_seen_once_and_cut_anew():
    seen = []

    class Recorder:
        def __init__(self):
            self.params = {"w": np.zeros(1)}

        def gradient(self, x, t):
            seen.append((x, t))
            return {"w": np.ones(1)}

        def loss(self, x, t):
            return 0.0

    Trainer(Recorder(), IMAGES, np.arange(40), epochs=2, mini_batch_size=8, seed=0, shuffle=True, verbose=False,
            transform=T.RandomCrop(8)).train()  # fmt: skip
    assert sorted(np.concatenate([t for _, t in seen[:5]])) == list(range(40))
    cut = {label: x.tobytes() for batch, labels in seen[:5] for x, label in zip(batch, labels, strict=True)}
    again = {label: x.tobytes() for batch, labels in seen[5:] for x, label in zip(batch, labels, strict=True)}
    assert sum(cut[label] != again[label] for label in cut) > 20


def test_an_error_of_a_data_set_reaches_the_caller_and_the_training_can_go_on():
    class Fails(Pictures):
        broken = True

        def __getitem__(self, i):
            if i == 17 and self.broken:
                raise OSError("17 is damaged")
            return super().__getitem__(i)

    options = {"epochs": 2, "mini_batch_size": 8, "seed": 3, "shuffle": True, "transform": CROP, "verbose": False}
    data = Fails()
    t, whole = Trainer(convnet(), data, None, **options), Trainer(convnet(), Pictures(), None, **options)
    with pytest.raises(OSError, match="17"):
        t.train()
    data.broken = False
    t.train()
    whole.train()
    assert t.train_loss_list == whole.train_loss_list


def test_interrupted_accuracies_are_made_up_for():
    class Interrupted(TwoLayerNet):
        calls = 0

        def accuracy(self, x, t, batch_size=100):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().accuracy(x, t, batch_size)

    def make(network):
        return Trainer(network, X, T_TRAIN, *HELD, 4, 20, seed=1, verbose=False)

    t, whole = make(Interrupted(6, 8, 3, 0.1, rng=0)), make(net())
    with pytest.raises(KeyboardInterrupt):
        t.train()
    assert t.current_iter == len(t.train_loss_list) == 11 and len(t.train_acc_list) == len(t.test_acc_list) == 1
    t.train()
    whole.train()
    assert t.train_loss_list == whole.train_loss_list
    assert t.train_acc_list == whole.train_acc_list and t.test_acc_list == whole.test_acc_list


def test_a_data_set_without_targets():
    t = Trainer(convnet(), list(IMAGES[..., :8, :8]), None, epochs=1, mini_batch_size=8, verbose=False)
    with pytest.raises(ValueError, match="pairs"):
        t.train()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": optim.SGD}, TypeError, "optimizer: expected a name, or an object"),
        ({"optimizer": 3}, TypeError, "optimizer: expected a name, or an object"),
        ({"optimizer": "lion"}, ValueError, "optimizer: expected one of sgd"),
        ({"optimizer": optim.SGD(), "optimizer_param": {"lr": 1}}, ValueError, "optimizer_param"),
        ({"validation": None, "metrics": ["accuracy"]}, ValueError, "metrics: needs validation"),
        ({"validation": None, "save_best": "a.npz"}, ValueError, "save_best: needs validation"),
        ({"validation": None, "patience": 2}, ValueError, "patience: needs validation"),
        ({"validation": None, "schedule": Plateau()}, ValueError, "schedule: needs validation"),
        ({"validation": (X[:0], T_TRAIN[:0])}, ValueError, "validation: expected at least one"),
        ({"validation": X}, ValueError, "validation"),
        ({"validation": (X, T_TRAIN[1:])}, ValueError, "expected 200 targets"),
        ({"metrics": ["f1"]}, ValueError, "metrics: expected one of accuracy"),
        ({"metrics": [3]}, TypeError, "metrics: expected callables"),
        ({"patience": 0}, ValueError, "patience"),
        ({"monitor": "f1"}, ValueError, "monitor: expected 'loss' or 'accuracy'"),
        ({"save_best": "best.txt"}, ValueError, "save_best: expected a name ending in"),
        (
            {"save_best": "/no/such/folder/best.npz"},
            ValueError,
            "save_best: expected a name .* in a folder that exists",
        ),
        ({"transform": 3}, TypeError, "transform: expected a callable"),
        ({"prefetch": -1}, ValueError, "prefetch"),
        ({"distributed": "yes"}, TypeError, "distributed: expected True or False"),
        ({"distributed": True, "device": "cuda"}, ValueError, "distributed: .* on the CPU"),
    ],
)
def test_refused(options, error, message):
    with pytest.raises(error, match=message):
        trainer(**options)


def test_no_accuracy_to_monitor():
    with pytest.raises(ValueError, match="monitor"):
        Trainer(Regression(), X, TARGETS, validation=(X, TARGETS), monitor="accuracy")


def test_the_books_trainer_takes_it_too():
    t = trainer(kind=BookTrainer, optimizer="Adam")
    t.train()
    assert isinstance(t.optimizer, optim.BookAdam) and len(t.val_acc_list) == 4


def test_it_prints_the_validation(capsys):
    t = trainer(verbose=True, epochs=1)
    t.train()
    assert f"=== epoch:1, val loss:{t.val_loss_list[0]}, val acc:{t.val_acc_list[0]} ===" in capsys.readouterr().out


def test_batches_and_trainer_agree_on_what_a_sample_is():
    x, t = next(batches(Pictures(), None, 40, shuffle=False))
    assert_array_equal(x, IMAGES)
    assert_array_equal(t, KINDS)

"""Schedules of the learning rate, against PyTorch's."""

import numpy as np
import pytest
import torch

from fastconv import optim
from fastconv.optim.schedules import Cosine, Plateau, Schedule, Step

RATES = {"fc": 0.3, "*": 0.05}


def theirs(make):
    params = [torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(params, RATES.values(), strict=True)])
    return optimizer, make(optimizer)


def rates_of(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("ours", "make"),
    [
        (Step(7), lambda o: torch.optim.lr_scheduler.StepLR(o, 7)),
        (Step(1, gamma=0.9), lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.9)),
        (Cosine(50), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50)),
        (Cosine(20, eta_min=0.01), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.01)),
    ],
    ids=lambda value: None if callable(value) and not isinstance(value, (Step, Cosine)) else repr(value),
)
def test_epochs_against_torch(ours, make):
    optimizer = optim.SGD(RATES)
    ours.attach(optimizer)
    torch_optimizer, scheduler = theirs(make)
    for epoch in range(50):
        ours(epoch)
        assert list(optimizer.lr) == list(RATES)
        assert list(optimizer.lr.values()) == pytest.approx(rates_of(torch_optimizer), rel=1e-10, abs=1e-15)
        torch_optimizer.step()
        scheduler.step()


METRICS = np.random.default_rng(0).random(60) + np.exp(-np.arange(60) / 10)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2},
        {"patience": 1, "factor": 0.5, "min_lr": 0.06, "mode": "max"},
        {"patience": 0, "cooldown": 3, "threshold": 0.1, "threshold_mode": "abs"},
        {"patience": 0, "mode": "max", "threshold": 0.1, "threshold_mode": "abs", "eps": 0.01},
    ],
    ids=str,
)
def test_plateaus_against_torch(options):
    optimizer = optim.SGD(RATES)
    ours = Plateau(**options).attach(optimizer)
    torch_optimizer, scheduler = theirs(lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, **options))
    seen = set()
    for metric in [*METRICS, float("nan"), *METRICS]:
        ours(metric)
        scheduler.step(metric)
        assert list(optimizer.lr.values()) == pytest.approx(rates_of(torch_optimizer), rel=1e-12)
        seen.add(tuple(optimizer.lr.values()))
    assert len(seen) > 1


def test_one_rate():
    optimizer = optim.Adam(0.5)
    schedule = Step(2, gamma=0.5).attach(optimizer)
    rates = []
    for epoch in (0, 1, 2, 2, 5, 1):
        schedule(epoch)
        rates.append(optimizer.lr)
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125, 0.5]


def test_saved_and_loaded():
    whole, first = optim.SGD(1.0), optim.SGD(1.0)
    one, two = Plateau(patience=1).attach(whole), Plateau(patience=1).attach(first)
    for metric in METRICS[:20]:
        one(metric)
        two(metric)
    second = optim.SGD(first.lr)
    three = Plateau(patience=1).attach(second)
    three.load_state_dict(two.state_dict())
    for metric in METRICS[20:]:
        one(metric)
        three(metric)
        assert second.lr == whole.lr
    optimizer = optim.SGD(0.4)
    later = Cosine(10).attach(optimizer)
    later.load_state_dict(Cosine(10).attach(optim.SGD(1.0)).state_dict())
    later(5)
    assert optimizer.lr == pytest.approx(0.5)


def test_a_schedule_of_ones_own():
    class Warm(Schedule):
        def rate(self, first, epoch):
            return first * min(1, (epoch + 1) / 5)

    optimizer = optim.SGD(1.0)
    schedule = Warm().attach(optimizer)
    schedule(1)
    assert optimizer.lr == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Step(0), ValueError, "step_size"),
        (lambda: Step(2.5), TypeError, "step_size"),
        (lambda: Step(2, gamma=-1), ValueError, "gamma"),
        (lambda: Cosine(0), ValueError, "T_max"),
        (lambda: Plateau("low"), ValueError, "mode: expected 'min' or 'max'"),
        (lambda: Plateau(threshold_mode="x"), ValueError, "threshold_mode"),
        (lambda: Plateau(factor=1), ValueError, "factor"),
        (lambda: Plateau(patience=-1), ValueError, "patience"),
        (lambda: Step(2)(1), RuntimeError, "attach"),
        (lambda: Plateau()(1.0), RuntimeError, "attach"),
        (lambda: Step(2).attach(3), TypeError, "optimizer: expected one with an attribute lr, got int"),
        (lambda: Step(2).attach(optim.SGD())(-1), ValueError, "epoch"),
        (lambda: Step(2).attach(optim.SGD())(0.5), TypeError, "epoch"),
        (
            lambda: Step(2).load_state_dict(Cosine(2).state_dict()),
            ValueError,
            "expected that of Step, got that of Cosine",
        ),
        (lambda: Step(2).load_state_dict({}), ValueError, "state"),
        (lambda: Schedule().attach(optim.SGD())(0), NotImplementedError, "rate"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""Optimisers: 50 steps against PyTorch where it has the same formula, else against the formula written out."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import optim

pytestmark = pytest.mark.system("F15")

SHAPES = {"W1": (4, 3, 3, 3), "b1": (4,), "W2": (37, 5), "b2": (5,)}
STEPS = 50


def start(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {key: rng.standard_normal(shape).astype(dtype) for key, shape in SHAPES.items()}


def gradients(params, step):
    """Different in every step, and a function of where the parameters are."""
    return {key: np.sin(3 * p + step) + 0.1 * p for key, p in params.items()}


def run(optimizer, dtype=np.float64):
    params = start(dtype)
    arrays = dict(params)
    for step in range(STEPS):
        optimizer.update(params, gradients(params, step))
    assert all(params[key] is a for key, a in arrays.items())  # changed in place
    return params


def run_by_formula(step_of, **kept):
    """`step_of(p, g, state, t)` changes one array; `kept` names its state, zeros at first."""
    params = start()
    states = {key: {name: np.zeros_like(p) for name in kept} for key, p in params.items()}
    for step in range(STEPS):
        grads = gradients(params, step)
        for key, p in params.items():
            step_of(p, grads[key], states[key], step + 1)
    return params


def assert_same(params, expected, rtol=1e-10):
    for key, p in expected.items():
        assert_allclose(params[key], p, rtol=rtol, atol=rtol, err_msg=key)


TORCH = {
    "SGD": (optim.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "SGD, decay": (optim.SGD(0.05, weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.1)),
    "Momentum": (optim.Momentum(0.05, 0.8), lambda p: torch.optim.SGD(p, 0.05, momentum=0.8)),
    "Momentum, decay": (
        optim.Momentum(0.05, 0.8, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, weight_decay=0.1),
    ),
    "AdaGrad": (optim.AdaGrad(0.05), lambda p: torch.optim.Adagrad(p, 0.05, eps=1e-7)),
    "AdaGrad, decay": (
        optim.AdaGrad(0.05, weight_decay=0.1),
        lambda p: torch.optim.Adagrad(p, 0.05, eps=1e-7, weight_decay=0.1),
    ),
    "RMSprop": (optim.RMSprop(0.01, 0.95), lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.95, eps=1e-7)),
    "RMSprop, decay": (
        optim.RMSprop(0.01, 0.95, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.95, eps=1e-7, weight_decay=0.1),
    ),
    "AdaDelta": (optim.AdaDelta(), lambda p: torch.optim.Adadelta(p)),
    "AdaDelta, decay": (
        optim.AdaDelta(0.5, 0.8, 1e-5, weight_decay=0.1),
        lambda p: torch.optim.Adadelta(p, 0.5, rho=0.8, eps=1e-5, weight_decay=0.1),
    ),
    "Adam": (optim.Adam(), lambda p: torch.optim.Adam(p)),
    "Adam, decay": (
        optim.Adam(0.02, 0.8, 0.99, 1e-6, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.02, (0.8, 0.99), 1e-6, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_against_torch(name):
    ours, make = TORCH[name]
    params = {key: torch.tensor(p, requires_grad=True) for key, p in start().items()}
    theirs = make(list(params.values()))
    for step in range(STEPS):
        for p in params.values():
            p.grad = torch.sin(3 * p.detach() + step) + 0.1 * p.detach()
        theirs.step()
    assert_same(run(ours), {key: p.detach().numpy() for key, p in params.items()})


def nesterov(p, g, state, t):
    p += 0.8 * 0.8 * state["v"] - 1.8 * 0.05 * g
    state["v"] = 0.8 * state["v"] - 0.05 * g


def book_adam(p, g, state, t):
    state["m"] += 0.1 * (g - state["m"])
    state["v"] += 0.001 * (g**2 - state["v"])
    p -= 0.02 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * state["m"] / (np.sqrt(state["v"]) + 1e-7)


def test_nesterov():
    assert_same(run(optim.Nesterov(0.05, 0.8)), run_by_formula(nesterov, v=0))


def test_nesterov_with_decay():
    with_decay = run_by_formula(lambda p, g, state, t: nesterov(p, g + 0.1 * p, state, t), v=0)
    assert_same(run(optim.Nesterov(0.05, 0.8, weight_decay=0.1)), with_decay)


def test_the_books_adam():
    assert_same(run(optim.BookAdam(0.02)), run_by_formula(book_adam, m=0, v=0))


def test_the_books_adam_differs_where_gradients_are_tiny():
    def one_step(optimizer):
        params = {"p": np.zeros(1)}
        optimizer.update(params, {"p": np.array([1e-8])})
        return params["p"][0]

    m, v = 0.1e-8, 0.001e-16
    assert one_step(optim.BookAdam(0.02)) == pytest.approx(-0.02 * 0.001**0.5 / 0.1 * m / (v**0.5 + 1e-7))
    assert one_step(optim.Adam(0.02)) == pytest.approx(-0.02 * 1e-8 / (1e-8 + 1e-8))


ALL = [optim.SGD, optim.Momentum, optim.Nesterov, optim.AdaGrad, optim.RMSprop, optim.AdaDelta, optim.Adam,
       optim.BookAdam]  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_float32_follows_float64(kind):
    single, double = run(kind(), np.float32), run(kind())
    for key, p in double.items():
        assert single[key].dtype == np.float32
        assert_allclose(single[key], p, atol=2e-3)


@pytest.mark.parametrize("kind", ALL)
def test_mixed_dtypes_and_orders(kind):
    """Parameters of both dtypes, gradients of the other one, one parameter a view."""
    whole = np.zeros((4, 6))
    params = {"a": np.ones(3, np.float32), "b": np.ones(3), "c": whole[::2, ::3], "d": np.ones((2, 3), order="F")}
    same = {"a": np.ones(3), "b": np.ones(3), "c": np.zeros((2, 2)), "d": np.ones((2, 3))}
    one, other = kind(), kind()
    for _ in range(3):
        one.update(params, {"a": np.ones(3), "b": np.ones(3, np.float32), "c": np.ones((2, 2)), "d": np.ones((2, 3))})
        other.update(same, {key: np.ones_like(p) for key, p in same.items()})
    for key, p in same.items():
        assert_allclose(params[key], p, rtol=1e-6)
    assert_allclose(whole[::2, ::3], same["c"], rtol=1e-12)
    assert np.count_nonzero(whole) == 4


def test_state_is_the_books():
    params, grads = {"p": np.array([1.0, 2.0])}, {"p": np.array([0.5, -1.0])}
    momentum, adagrad, rmsprop, adam = optim.Momentum(0.1), optim.AdaGrad(), optim.RMSprop(), optim.Adam()
    assert momentum.v is None and adagrad.h is None and adam.m is None and adam.v is None and adam.iter == 0
    for optimizer in (momentum, adagrad, rmsprop, adam):
        optimizer.update(params, grads)
    assert_allclose(momentum.v["p"], -0.1 * grads["p"])
    assert_allclose(adagrad.h["p"], grads["p"] ** 2)
    assert_allclose(rmsprop.h["p"], 0.01 * grads["p"] ** 2)
    assert_allclose(adam.m["p"], 0.1 * grads["p"])
    assert_allclose(adam.v["p"], 0.001 * grads["p"] ** 2)
    assert adam.iter == 1
    assert_array_equal(grads["p"], [0.5, -1.0])


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (optim.SGD, {"lr": 0.01}),
        (optim.Momentum, {"lr": 0.01, "momentum": 0.9}),
        (optim.Nesterov, {"lr": 0.01, "momentum": 0.9}),
        (optim.AdaGrad, {"lr": 0.01}),
        (optim.RMSprop, {"lr": 0.01, "decay_rate": 0.99}),
        (optim.Adam, {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    ],
)
def test_defaults(kind, defaults):
    assert {name: getattr(kind(), name) for name in defaults} == defaults
    assert kind().weight_decay == 0


def test_the_learning_rate_may_change():
    params = {"p": np.zeros(1)}
    optimizer = optim.SGD(1.0)
    for lr in (1.0, 0.1):
        optimizer.lr = lr
        optimizer.update(params, {"p": np.ones(1)})
    assert params["p"][0] == pytest.approx(-1.1)


@pytest.mark.parametrize("kind", ALL)
def test_a_parameter_without_a_gradient_stays_as_it_is(kind):
    """As a frozen one; if no gradient is a parameter's, something is wrong."""
    params, optimizer = {"a": np.ones(1), "b": np.ones(1)}, kind()
    optimizer.update(params, {"a": np.ones(1)})
    assert params["a"] != 1 and params["b"] == 1
    assert all(list(state) == ["a"] for state in optimizer.states())
    optimizer.update(params, {})
    with pytest.raises(KeyError, match=r"expected gradients of .*'a', 'b'.* got those of .*'c'"):
        optimizer.update(params, {"c": np.ones(1)})

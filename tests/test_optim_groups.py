"""Rates by prefix, state by parameter, saved state, numbers for parameters: against PyTorch's parameter groups."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import optim

pytestmark = pytest.mark.system("F15")

SHAPES = {
    "conv1.W": (4, 3, 3, 3), "layer1.0.conv1.W": (5, 2), "layer1.0.conv1.b": (5,), "layer1.1.W": (3, 2),
    "layer10.W": (7,), "fc.W": (37, 5), "fc.b": (5,),
}  # fmt: skip
RATES = {"layer1": 0.02, "layer1.0": 0.005, "fc.b": 0.04, "*": 0.01}
RATE_OF = {
    "conv1.W": 0.01, "layer1.0.conv1.W": 0.005, "layer1.0.conv1.b": 0.005, "layer1.1.W": 0.02,
    "layer10.W": 0.01, "fc.W": 0.01, "fc.b": 0.04,
}  # fmt: skip

PAIRS = {
    "SGD": (lambda lr: optim.SGD(lr), torch.optim.SGD, {}),
    "SGD, decay": (lambda lr: optim.SGD(lr, weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
    "SGD, momentum": (lambda lr: optim.SGD(lr, momentum=0.8), torch.optim.SGD, {"momentum": 0.8}),
    "SGD, Nesterov": (
        lambda lr: optim.SGD(lr, 0.1, momentum=0.8, nesterov=True),
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "Momentum": (lambda lr: optim.Momentum(lr, 0.8), torch.optim.SGD, {"momentum": 0.8}),
    "Nesterov": (lambda lr: optim.Nesterov(lr, 0.8), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "AdaGrad": (lambda lr: optim.AdaGrad(lr), torch.optim.Adagrad, {"eps": 1e-7}),
    "RMSprop": (lambda lr: optim.RMSprop(lr, alpha=0.95), torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-7}),
    "AdaDelta": (lambda lr: optim.AdaDelta(lr), torch.optim.Adadelta, {}),
    "Adam": (
        lambda lr: optim.Adam(lr, betas=(0.8, 0.99), weight_decay=0.1),
        torch.optim.Adam,
        {"betas": (0.8, 0.99), "weight_decay": 0.1},
    ),
}


def start(names=SHAPES):
    rng = np.random.default_rng(0)
    arrays = {key: rng.standard_normal(shape) for key, shape in SHAPES.items()}
    return {key: arrays[key] for key in names}


def slope(p, step):
    return np.sin(3 * p + step) + 0.1 * p


def torch_course(kind, options, rates, steps, present=lambda key, step: True, factor=lambda step: 1.0):
    """PyTorch's steps with a group for each parameter; a parameter that is not present has no gradient."""
    params = {key: torch.tensor(p, requires_grad=True) for key, p in start().items()}
    optimizer = kind([{"params": [p], "lr": rates[key]} for key, p in params.items()], **{"lr": 1.0, **options})
    for step in range(steps):
        for group, key in zip(optimizer.param_groups, params, strict=True):
            group["lr"] = rates[key] * factor(step)
        for key, p in params.items():
            d = p.detach()
            p.grad = torch.sin(3 * d + step) + 0.1 * d if present(key, step) else None
        optimizer.step()
    return {key: p.detach().numpy() for key, p in params.items()}


def assert_same(params, expected):
    for key, p in expected.items():
        assert_allclose(params[key], p, rtol=1e-10, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", PAIRS)
def test_rates_by_prefix_over_50_steps(name):
    make, kind, options = PAIRS[name]
    params, optimizer = start(), make(RATES)
    arrays = dict(params)
    for step in range(50):
        optimizer.update(params, {key: slope(p, step) for key, p in params.items()})
    assert all(params[key] is a for key, a in arrays.items())
    assert_same(params, torch_course(kind, options, RATE_OF, 50))


# The book's momentum has the rate inside of its velocity: there a new rate counts for new gradients alone.
CHANGING = [name for name in PAIRS if name not in ("Momentum", "Nesterov")]


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("grouped", [False, True])
def test_rates_that_change_and_rest(name, grouped):
    """A rate of 0 at first, later and between: PyTorch's state goes on then."""
    make, kind, options = PAIRS[name]
    factors = [0.0, 0.0, 1.0, 1.0, 0.3, 0.3, 0.0, 2.0, 2.0, 0.1]
    rates = RATE_OF if grouped else dict.fromkeys(SHAPES, 0.01)
    params, optimizer = start(), make(RATES if grouped else 0.01)
    for step in range(50):
        f = factors[step % 10]
        optimizer.lr = {prefix: rate * f for prefix, rate in RATES.items()} if grouped else 0.01 * f
        optimizer.update(params, {key: slope(p, step) for key, p in params.items()})
    assert_same(params, torch_course(kind, options, rates, 50, factor=lambda step: factors[step % 10]))


@pytest.mark.parametrize("leave_out", ["key", "None"])
@pytest.mark.parametrize("name", PAIRS)
def test_parameters_that_come_later_and_go_away(name, leave_out):
    make, kind, options = PAIRS[name]

    def present(key, step):
        return {"fc.W": step >= 7, "fc.b": step % 3 == 0, "conv1.W": step < 20}.get(key, True)

    params, optimizer = start(), make(0.01)
    for step in range(50):
        grads = {key: slope(p, step) if present(key, step) else None for key, p in params.items()}
        if leave_out == "None":
            optimizer.update(params, grads)
        else:
            now = {key: p for key, p in params.items() if present(key, step)}
            optimizer.update(now, grads)
    assert_same(params, torch_course(kind, options, dict.fromkeys(SHAPES, 0.01), 50, present))


@pytest.mark.parametrize("name", PAIRS)
def test_an_array_under_two_names_changes_once_by_the_sum(name):
    make = PAIRS[name][0]
    shared, alone = {"a": np.ones(3), "b": np.ones(2)}, {"a": np.ones(3), "b": np.ones(2)}
    shared["tied"] = shared["a"]
    one, other = make(0.01), make(0.01)
    for step in range(5):
        half = 0.5 * slope(alone["a"], step)
        before = half.copy()
        other.update(alone, {"a": 2 * half, "b": slope(alone["b"], step)})
        one.update(shared, {"a": half, "tied": half.copy(), "b": slope(shared["b"], step)})
        assert_array_equal(half, before)
    assert shared["tied"] is shared["a"]
    assert_allclose(shared["a"], alone["a"], rtol=1e-14)
    assert all("tied" not in state for state in one.states())


def test_one_gradient_under_two_names_counts_once():
    a, g = np.ones(3), np.ones(3)
    optim.SGD(0.5).update({"a": a, "b": a}, {"a": g, "b": g})
    assert_array_equal(a, np.full(3, 0.5))


@pytest.mark.system("F20")
@pytest.mark.parametrize("name", PAIRS)
def test_parameters_that_are_numbers(name):
    """The book's way through x**2/20 + y**2 in numbers, beside the same in arrays."""
    make = PAIRS[name][0]
    numbers, arrays = {"x": -7.0, "y": 2}, {"x": np.array([-7.0]), "y": np.array([2.0])}
    ours, same = make(0.1), make(0.1)
    for _ in range(30):
        ours.update(numbers, {"x": numbers["x"] / 10.0, "y": 2.0 * numbers["y"]})
        same.update(arrays, {"x": arrays["x"] / 10.0, "y": 2.0 * arrays["y"]})
    assert type(numbers["x"]) is type(numbers["y"]) is float
    assert [numbers["x"], numbers["y"]] == pytest.approx([arrays["x"][0], arrays["y"][0]], rel=1e-12)


def test_numbers_of_numpy_and_arrays_without_dimensions():
    params = {"a": np.float32(1), "b": np.array(1.0), "c": np.ones(1)}
    b = params["b"]
    optim.SGD(0.25).update(params, {"a": np.array([2.0]), "b": np.array(2.0), "c": np.array([2.0])})
    assert params["a"] == 0.5 and type(params["a"]) is np.float32
    assert params["b"] is b and b == 0.5 and params["c"][0] == 0.5


# --- the state, saved and loaded --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("rates", [0.02, RATES], ids=["one rate", "rates"])
def test_a_saved_state_goes_on_bit_for_bit(name, rates):
    make = PAIRS[name][0]

    def go(params, optimizer, steps):
        for step in steps:
            keys = [key for key in params if step >= 4 or key != "fc.W"]  # one comes later
            optimizer.lr = {"*": 0.01, "layer1": 0.1 / (1 + step)} if step > 12 else rates
            optimizer.update({key: params[key] for key in keys}, {key: slope(params[key], step) for key in keys})

    whole, params = start(), start()
    go(whole, make(rates), range(20))
    first = make(rates)
    go(params, first, range(8))
    state = first.state_dict()
    kept = json.dumps(state, default=lambda a: a.tolist())
    go(start(), first, range(3))  # what was saved is a copy
    assert json.dumps(state, default=lambda a: a.tolist()) == kept
    second = make(0.5)
    second.load_state_dict(state)
    go(params, second, range(8, 20))
    assert json.dumps(state, default=lambda a: a.tolist()) == kept
    for key, p in whole.items():
        assert_array_equal(params[key], p, err_msg=key)


def used(optimizer):
    params = {"a": np.ones(3), "b": np.ones(2)}
    optimizer.update(params, {key: p + 1 for key, p in params.items()})
    return optimizer


def without(key):
    return lambda state: state.pop(key)


def put(*path):
    *path, value = path

    def change(state):
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("iter"), "expected the keys .* got"),
        (put("optimizer", "SGD"), "expected that of Adam, got that of SGD"),
        (put("lr", -1.0), "lr"),
        (put("lr", {}), "at least one prefix"),
        (put("iter", -1), "iter"),
        (put("iter", 1.5), "iter"),
        (put("numbers", {}), "numbers"),
        (put("numbers", "eps", float("nan")), "eps"),
        (put("marks", "a", "much"), "marks"),
        (put("state", {}), r"expected \['m', 'v'\], got \[\]"),
        (put("state", "v", {}), "'v' has other names or shapes than 'm'"),
        (put("state", "v", "a", np.ones(4)), "'v' has other names or shapes"),
        (put("state", "m", "a", np.array(["x"])), "expected floats"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil, message):
    optimizer = used(optim.Adam(0.1))
    before = json.dumps(optimizer.state_dict(), default=lambda a: a.tolist())
    state = used(optim.Adam(0.2, eps=1e-3)).state_dict()
    spoil(state)
    with pytest.raises((ValueError, TypeError), match=message):
        optimizer.load_state_dict(state)
    assert json.dumps(optimizer.state_dict(), default=lambda a: a.tolist()) == before


def test_states_of_other_optimisers():
    with pytest.raises(ValueError, match=r"expected that of SGD\(momentum, nesterov\), got that of SGD\(momentum\)"):
        optim.SGD(momentum=0.9, nesterov=True).load_state_dict(optim.SGD(momentum=0.9).state_dict())
    with pytest.raises(ValueError, match="expected that of BookAdam, got that of Adam"):
        optim.BookAdam().load_state_dict(optim.Adam().state_dict())
    with pytest.raises(TypeError, match="expected a dict"):
        optim.SGD().load_state_dict([])


def test_a_state_of_other_shapes_is_met_in_the_first_update():
    optimizer = used(optim.Adam(0.1))
    params = {"a": np.ones(4), "b": np.ones(2)}
    with pytest.raises(ValueError, match=r"params\['a'\]: has shape \(4,\), the state that is kept for it \(3,\)"):
        optimizer.update(params, params)
    assert optimizer.iter == 1
    optimizer.forget("a")
    optimizer.update(params, {key: np.ones_like(p) for key, p in params.items()})
    fresh, new = {"a": np.ones(4)}, optim.Adam(0.1)
    new.update(fresh, {"a": np.ones(4)})
    assert_array_equal(params["a"], fresh["a"])


def test_forgetting_everything():
    optimizer = used(optim.Adam(0.1))
    optimizer.forget()
    one, other = {"a": np.ones(3)}, {"a": np.ones(3)}
    optimizer.update(one, {"a": np.ones(3)})
    optim.Adam(0.1).update(other, {"a": np.ones(3)})
    assert_array_equal(one["a"], other["a"])
    assert optimizer.iter == 1


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD([{}]), TypeError, r"lr: expected a number, or a dict of numbers by prefix, got \[\{\}\]"),
        (lambda: optim.SGD("fast"), TypeError, "lr: expected a number"),
        (lambda: optim.SGD(None), TypeError, "lr: expected a number"),
        (lambda: optim.SGD(True), TypeError, "lr: expected a number"),
        (lambda: optim.SGD(-0.1), ValueError, "lr: expected a number from 0"),
        (lambda: optim.SGD(float("nan")), ValueError, "lr: expected a number"),
        (lambda: optim.SGD(float("inf")), ValueError, "lr: expected a finite number"),
        (lambda: optim.SGD({}), ValueError, "lr: expected at least one prefix"),
        (lambda: optim.SGD({"fc": "fast"}), TypeError, r"lr\['fc'\]: expected a number"),
        (lambda: optim.SGD({3: 0.1}), ValueError, "lr: expected dotted prefixes"),
        (lambda: optim.SGD({"layer1.": 0.1}), ValueError, "lr: expected dotted prefixes"),
        (lambda: optim.SGD(weight_decay=-1), ValueError, "weight_decay"),
        (lambda: optim.SGD(momentum=-1), ValueError, "momentum"),
        (lambda: optim.SGD(nesterov=True), ValueError, "nesterov: expected a momentum above 0"),
        (lambda: optim.Momentum(momentum="much"), TypeError, "momentum"),
        (lambda: optim.RMSprop(decay_rate=2), ValueError, "decay_rate"),
        (lambda: optim.RMSprop(alpha=-1), ValueError, "alpha"),
        (lambda: optim.AdaGrad(eps=-1), ValueError, "eps"),
        (lambda: optim.AdaDelta(rho=1.5), ValueError, "rho"),
        (lambda: optim.Adam(beta1=1.0), ValueError, "beta1"),
        (lambda: optim.Adam(betas=0.9), ValueError, "betas: expected two numbers"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), ValueError, "beta2"),
        (lambda: setattr(optim.SGD(), "lr", [0.1]), TypeError, "lr: expected a number"),
    ],
)
def test_refused_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


FROZEN = np.ones(2)
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    ("lr", "params", "grads", "error", "message"),
    [
        (0.1, {"b": np.ones(2)}, {"b": np.ones(3)}, ValueError, r"grads\['b'\]: expected shape \(2,\)"),
        (0.1, {"b": np.ones(2)}, {"b": 1.0}, TypeError, r"grads\['b'\]: expected a float array, got float"),
        (
            0.1,
            {"b": np.ones(2, int)},
            {"b": np.ones(2)},
            TypeError,
            r"params\['b'\]: expected a float array, got int64",
        ),
        (0.1, {"b": [1.0, 2.0]}, {"b": np.ones(2)}, TypeError, r"params\['b'\]: expected a float array, got list"),
        (0.1, {"b": FROZEN}, {"b": np.ones(2)}, ValueError, r"params\['b'\]: expected a writeable array"),
        (0.1, {"b": 1.0}, {"b": np.ones(2)}, ValueError, r"grads\['b'\]: expected a number"),
        ({"a": 0.1}, {"b": np.ones(2)}, {"b": np.ones(2)}, ValueError, "lr: expected a rate for 'b'"),
        ({"*": 0.1, "c": 0.2}, {"b": np.ones(2)}, {"b": np.ones(2)}, ValueError, "lr: no parameter is under 'c'"),
        ({"*": 0.1, "a": 0.2}, {"b": np.ones(2)}, {"b": np.ones(3)}, ValueError, r"grads\['b'\]"),
    ],
)
@pytest.mark.parametrize("kind", [optim.SGD, optim.Momentum, optim.Adam])
def test_an_update_that_is_refused_changes_nothing(kind, lr, params, grads, error, message):
    optimizer = kind(lr)
    a = np.ones(3)
    with pytest.raises(error, match=message):
        optimizer.update({"a": a, **params}, {"a": np.ones(3), **grads})
    assert_array_equal(a, np.ones(3))
    assert optimizer.iter == 0 and optimizer.state_dict()["state"] == {name: {} for name in optimizer._states}


def test_two_gradients_of_one_array_that_do_not_fit():
    a = np.ones(3)
    with pytest.raises(ValueError, match=r"grads\['b'\]: expected shape \(3,\)"):
        optim.SGD().update({"a": a, "b": a}, {"a": np.ones(3), "b": np.ones(1)})


def test_numbers_need_a_dict_that_can_change():
    from types import MappingProxyType

    with pytest.raises(TypeError, match="params: expected a dict to replace the number 'x' in"):
        optim.SGD().update(MappingProxyType({"x": 1.0}), {"x": 1.0})


def test_a_prefix_that_was_somebodys_may_go_away():
    params = start()
    optimizer = optim.SGD({"fc": 0.1, "*": 0.01})
    optimizer.update(params, params)
    del params["fc.W"], params["fc.b"]
    optimizer.update(params, params)
    optimizer.lr["conv1"] = 0.3  # the dict may be changed
    before = params["conv1.W"].copy()
    optimizer.update(params, {key: np.ones_like(p) for key, p in params.items()})
    assert_allclose(params["conv1.W"], before - 0.3)


NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a1"]), min_size=1, max_size=3).map(".".join)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.floats(0, 1), min_size=1, max_size=5), st.sets(NAMES, min_size=1, max_size=5))
def test_the_longest_prefix_wins(rates, names):
    params = {name: np.zeros(1) for name in {*names, *rates}}
    optim.SGD({**rates, "*": 7.0}).update(params, {name: -np.ones(1) for name in params})
    for name, p in params.items():
        parts = name.split(".")
        under = [".".join(parts[:i]) for i in range(len(parts), 0, -1)]
        assert p[0] == next((rates[prefix] for prefix in under if prefix in rates), 7.0), name


def test_repr():
    assert repr(optim.Momentum(0.1)) == "Momentum(lr=0.1, momentum=0.9)"

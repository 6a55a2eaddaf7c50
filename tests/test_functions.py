"""The book's functions: known values, the formulas, numbers and lists and arrays."""

import numpy as np
import plain
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import functions as f
from fastconv import layers

rng = np.random.default_rng(8)


@pytest.mark.system("F1")
@pytest.mark.parametrize(
    ("gate", "table"), [(f.AND, [0, 0, 0, 1]), (f.NAND, [1, 1, 1, 0]), (f.OR, [0, 1, 1, 1]), (f.XOR, [0, 1, 1, 0])]
)
def test_perceptron_gates(gate, table):
    inputs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [gate(*pair) for pair in inputs] == table
    assert_array_equal(gate(*np.array(inputs).T), table)


def test_perceptron_with_weights():
    assert f.perceptron([1, 1], w=(0.5, 0.5), b=-0.7) == 1
    assert_array_equal(f.perceptron([[1, 0], [1, 1]], (0.5, 0.5), -0.7), [0, 1])


ELEMENTWISE = {
    "identity_function": (lambda x: x, f.identity_grad),
    "sigmoid": (torch.sigmoid, f.sigmoid_grad),
    "tanh": (torch.tanh, f.tanh_grad),
    "relu": (torch.relu, f.relu_grad),
    "leaky_relu": (torch.nn.functional.leaky_relu, f.leaky_relu_grad),
}


@pytest.mark.system("F2")
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4)])
def test_elementwise_functions_and_their_derivatives(name, shape):
    same, derivative = ELEMENTWISE[name]
    x = np.asarray(rng.standard_normal(shape))
    tensor = torch.tensor(x, requires_grad=True)
    y = same(tensor)
    y.sum().backward()
    assert_allclose(getattr(f, name)(x), y.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert_allclose(derivative(x), tensor.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu"])
def test_numbers_lists_and_integers(name):
    function, grad = getattr(f, name), getattr(f, f"{name}_grad")
    for g in (function, grad):
        assert np.ndim(g(2)) == 0
        assert isinstance(g(2.0), float)
        assert_allclose(g([1, -2]), g(np.array([1.0, -2.0])))


@pytest.mark.system("F2")
def test_step_function():
    y = f.step_function(np.array([-1.0, 0.0, 2.0]))
    assert_array_equal(y, [0, 0, 1])
    assert y.dtype == int
    assert_array_equal(f.step_function([-1, 3]), [0, 1])


def test_relu_grad_at_zero_is_the_books():
    assert_array_equal(f.relu_grad(np.array([-1.0, 0.0, 1.0])), [0, 1, 1])
    assert f.relu_grad(np.float32(-1)).dtype == np.float32


@pytest.mark.system("F2")
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1010, 1000, 990], [9.99954600e-01, 4.53978686e-05, 2.06106005e-09]),
        ([0.4, 2.0, 0.001, 0.32], [0.13250053, 0.65627943, 0.08890663, 0.12231341]),
        ([[0.3, 2.9, 4.0]], [[0.01821127, 0.24519181, 0.73659691]]),
    ],
)
def test_softmax_known_values(x, y):
    assert_allclose(f.softmax(np.array(x)), y, rtol=1e-6)
    assert_allclose(f.log_softmax(np.array(x)), np.log(f.softmax(np.array(x))), rtol=1e-9)


def test_softmax_axes():
    x = rng.standard_normal((2, 3, 4))
    assert_allclose(f.softmax(x), torch.tensor(x).softmax(-1).numpy(), rtol=1e-12)
    assert_allclose(f.log_softmax(x, axis=1), torch.tensor(x).log_softmax(1).numpy(), rtol=1e-12)


@pytest.mark.system("F2")
@pytest.mark.parametrize(("function", "grad"), [("softmax", f.softmax_grad), ("log_softmax", f.log_softmax_grad)])
def test_jacobians(function, grad):
    x = rng.standard_normal((2, 5))
    same = getattr(torch, function)
    expected = [torch.autograd.functional.jacobian(lambda row: same(row, 0), torch.tensor(row)).numpy() for row in x]
    assert_allclose(grad(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.system("F3")
def test_three_layers_forward():
    weights = [
        ([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]], [0.1, 0.2, 0.3]),
        ([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]], [0.1, 0.2]),
        ([[0.1, 0.3], [0.2, 0.4]], [0.1, 0.2]),
    ]
    z = np.array([1, 0.5])
    for i, (W, b) in enumerate(weights):
        a = layers.Affine(np.array(W), np.array(b)).forward(z)
        z = f.identity_function(a) if i == 2 else f.sigmoid(a)
    assert_allclose(z, [0.31682708, 0.69627909], rtol=1e-7)


Y4, T4 = np.array([0.001, 0.9, 0.001, 0.098]), np.array([0, 0, 0, 1])
Y10 = np.array([0.1, 0.05, 0.6, 0, 0.05, 0.1, 0, 0.1, 0, 0])
T10 = np.eye(10)[2]


@pytest.mark.system("F4")
def test_losses_known_values():
    assert f.mean_squared_error(Y4, T4) == pytest.approx(0.811803)
    assert f.sum_squared_error(Y4, T4) == pytest.approx(0.811803)
    assert f.cross_entropy_error(Y4, T4) == pytest.approx(2.3227867799)
    assert f.negative_log_likelihood(Y4, T4, base=2) == pytest.approx(3.3510744405)
    assert f.mean_squared_error(Y10, T10) == pytest.approx(0.0975)
    assert f.cross_entropy_error(Y10, T10) == pytest.approx(0.510825457099)


@pytest.mark.system("F4")
def test_squared_errors():
    y, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    squares = ((y - t) ** 2).sum()
    assert f.mean_squared_error(y, t) == pytest.approx(squares / 2)
    assert f.mean_squared_error(y, t, "mean") == pytest.approx(squares / 12)
    assert f.mean_squared_error(y, t, "sum") == pytest.approx(squares)
    assert f.sum_squared_error([1, 2], [0, 0]) == 2.5


@pytest.mark.system("F4")
def test_cross_entropy_error_takes_labels_one_hot_and_single_samples():
    y, t = f.softmax(rng.standard_normal((6, 4))), rng.integers(0, 4, 6)
    expected = -np.mean(np.log(y[np.arange(6), t] + 1e-7))
    assert f.cross_entropy_error(y, t) == pytest.approx(expected, rel=1e-12)
    assert f.cross_entropy_error(y, np.eye(4)[t]) == pytest.approx(expected, rel=1e-12)
    single = [f.cross_entropy_error(row, np.eye(4)[label]) for row, label in zip(y, t, strict=True)]
    assert np.mean(single) == pytest.approx(expected, rel=1e-12)
    assert f.cross_entropy_error(y[0], t[0]) == pytest.approx(single[0], rel=1e-12)


@pytest.mark.system("F4")
def test_negative_log_likelihood_on_log_softmax():
    x, t = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    expected = torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(t)).item()
    assert f.nll_loss(f.log_softmax(x), t) == pytest.approx(expected, rel=1e-12)
    assert f.negative_log_likelihood(f.softmax(x), t) == pytest.approx(expected, rel=1e-12)


def test_softmax_loss():
    x, t = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    assert f.softmax_loss(x, t) == pytest.approx(plain.softmax_with_loss(x, t)[0], rel=1e-12)


@pytest.mark.system("F10")
@pytest.mark.parametrize("size", [4, 5, 28, 29])
@pytest.mark.parametrize(("filter_size", "stride", "pad"), [(3, 1, 0), (3, 2, 1), (5, 3, 2), (2, 2, 0)])
def test_conv_output_size(size, filter_size, stride, pad):
    expected = torch.nn.functional.conv1d(
        torch.zeros(1, 1, size), torch.zeros(1, 1, filter_size), stride=stride, padding=pad
    ).shape[2]
    assert f.conv_output_size(size, filter_size, stride, pad) == expected
    assert (
        f.conv_output_size(size, filter_size, stride, f.conv_padding(size, expected, filter_size, stride)) == expected
    )


@pytest.mark.system("F10")
def test_conv_padding():
    assert f.conv_padding(4, 4, 3, stride=1) == 1
    assert f.conv_padding(6, 6, 3) == 1
    with pytest.raises(ValueError, match="no padding gives 4"):
        f.conv_padding(4, 4, 2)
    with pytest.raises(ValueError, match="no padding gives 2"):
        f.conv_padding(9, 2, 3)


def test_smooth_curve():
    line = np.arange(50.0)
    smooth = f.smooth_curve(line)
    assert smooth.shape == line.shape
    assert_allclose(smooth[10:40], line[10:40])  # a symmetric window leaves a line alone
    assert_allclose(f.smooth_curve(np.full(30, 2.5)), 2.5)
    noise = rng.standard_normal(500)
    assert f.smooth_curve(list(noise)).std() < 0.5 * noise.std()


@pytest.mark.parametrize("shape", [(20, 3), (20, 1, 2, 2)])
def test_shuffle_dataset(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    t = np.arange(20)
    before = x.copy()
    a, b = f.shuffle_dataset(x, t, rng=1)
    assert sorted(b) == list(range(20)) and list(b) != list(range(20))
    assert_array_equal(a, x[b])
    assert_array_equal(x, before)
    assert_array_equal(f.shuffle_dataset(x, t, rng=1)[1], b)


def test_shuffle_dataset_follows_numpys_seed():
    np.random.seed(3)  # noqa: NPY002 (as the book's programs do)
    order = np.random.permutation(20)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    assert_array_equal(f.shuffle_dataset(np.zeros((20, 1)), np.arange(20))[1], order)


GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0], "XOR": [0, 1, 1, 0]}
INPUTS = np.array([[-1, 0, 0], [-1, 0, 1], [-1, 1, 0], [-1, 1, 1]])


@pytest.mark.system("F21")
def test_the_perceptron_rule_by_hand():
    """(1, 0) is wrong in the first three loops. All numbers are sums of powers of two, so that nothing is rounded."""
    start = np.array([0.25, 0.5, 0.125])
    w, errors = f.perceptron_rule(INPUTS, GATES["AND"], start, lr=0.0625)
    assert_array_equal(w, start + 3 * 0.0625 * np.array([1, -1, 0]))
    assert errors == [1, 1, 1, 0]
    assert_array_equal(start, [0.25, 0.5, 0.125])
    w, errors = f.perceptron_rule(INPUTS, GATES["AND"], start, lr=0.0625, loops=2)
    assert_array_equal(w, [0.375, 0.375, 0.125])
    assert errors == [1, 1]


@pytest.mark.system("F21")
@pytest.mark.parametrize("gate", ["AND", "OR", "NAND"])
@pytest.mark.parametrize("start", [(0.3, 0.4, 0.1), (0, 0, 0), (-1, 2, 0.5)])
def test_the_perceptron_rule_learns_what_a_line_separates(gate, start):
    w, errors = f.perceptron_rule(INPUTS, GATES[gate], start)
    assert errors[-1] == 0 and all(errors[:-1])
    assert_array_equal(INPUTS @ w >= 0, GATES[gate])


def test_the_perceptron_rule_never_learns_xor():
    _, errors = f.perceptron_rule(INPUTS, GATES["XOR"], [0.3, 0.4, 0.1], loops=50)
    assert len(errors) == 50 and all(errors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((INPUTS, [0, 0, 0, 1], [0.1, 0.2]), "w: expected a weight for each input"),
        ((INPUTS[0], [1], [0.1]), "w: expected a weight for each input"),
        ((INPUTS, [0, 0, 1], [0, 0, 0]), "t: expected 4 targets of 0 and 1"),
        ((INPUTS, [0, 0, 0, 2], [0, 0, 0]), "t: expected 4 targets of 0 and 1"),
        ((INPUTS, [0, 0, 0, 1], [0, 0, 0], -1), "lr"),
        ((INPUTS, [0, 0, 0, 1], [0, 0, 0], 0.1, 0), "loops"),
    ],
)
def test_the_perceptron_rule_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        f.perceptron_rule(*arguments)

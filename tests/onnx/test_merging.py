"""Merged nodes compute what the nodes compute one by one: known rows, rows that must stay apart, random graphs."""

import random as chances

import numpy as np
import pytest
from small_models import model, random

import fastconv
import fastconv.onnx

SHAPE = ("N", 6, 9, 9)
VECTORS = {
    "ga": random(6, seed=1),
    "be": random(6, seed=2),
    "me": random(6, seed=3),
    "va": random(6, seed=4) ** 2 + 0.1,
}
CONSTANTS = {
    "w": random(6, 6, 3, 3) / 5, "b": random(6), "one": random(6, 6, 1, 1) / 3, "deep": random(6, 1, 3, 3) / 3,
    "c": random(6, 1, 1), "k": np.float32(0.7), "m": random(486, 5) / 20, "v": random(5), "t": random(5, 486) / 20,
    "three": np.float32(3), "six": np.float32(6), "zero": np.float32(0), "sixth": np.float32(1 / 6), "half": np.float32(0.5),
    "root": np.float32(2**0.5), "unit": np.float32(1), "f": random(5, seed=9), "pads": np.array([0, 0, 1, 2, 0, 0, 1, 0]), **VECTORS,
}  # fmt: skip
CONV = ("Conv", "x w b", "h", {"pads": [1, 1, 1, 1]})
NORM = "ga be me va"


def both(nodes, output="y", inputs=("x",), opset=17, shape=None, constants=CONSTANTS):
    """The model with its nodes merged, and one by one, after comparing them on batches of one and of three."""
    used = {name for _, given, _, _ in nodes for name in given.split()}
    made = model(
        nodes, dict.fromkeys(inputs, SHAPE), {output: shape}, {k: v for k, v in constants.items() if k in used}, opset
    )  # fmt: skip
    merged, alone = fastconv.onnx.load(made), fastconv.onnx.load(made, fuse=False)
    for n in (1, 3, 1):
        given = [random(n, 6, 9, 9, seed=i) for i in range(len(inputs))]
        copies = [x.copy() for x in given]
        right = alone(*given)
        np.testing.assert_allclose(merged(*given), right, rtol=1e-4, atol=1e-5 * max(1, np.abs(right).max()))
        for x, copy in zip(given, copies, strict=True):
            np.testing.assert_array_equal(x, copy)
    return merged


def count(merged):
    return len(merged._program.ops)


ONE = {
    "normalisation": [CONV, ("BatchNormalization", f"h {NORM}", "y", {})],
    "normalisation, relu": [CONV, ("BatchNormalization", f"h {NORM}", "i", {}), ("Relu", "i", "y", {})],
    "scale and shift": [CONV, ("Mul", "h c", "i", {}), ("Add", "c i", "y", {})],
    "scalars": [CONV, ("Div", "h k", "i", {}), ("Sub", "i k", "j", {}), ("LeakyRelu", "j", "y", {"alpha": 0.3})],
    "no bias": [("Conv", "x w", "h", {}), ("BatchNormalization", f"h {NORM}", "i", {}), ("Tanh", "i", "y", {})],
    "depthwise": [("Conv", "x deep", "h", {"group": 6}), ("Clip", "h zero six", "y", {})],
    "pointwise": [("Conv", "x one b", "h", {}), ("HardSwish", "h", "y", {})],
    "same": [("Conv", "x w", "h", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}), ("Relu", "h", "y", {})],
    "framed": [("Pad", "x pads", "p", {}), ("Conv", "p w b", "h", {"strides": [2, 2]}), ("Sigmoid", "h", "y", {})],
    "residual": [CONV, ("Add", "x h", "i", {}), ("Relu", "i", "y", {})],
    "residual of a norm": [CONV, ("BatchNormalization", f"h {NORM}", "i", {}), ("Add", "i x", "j", {}), ("Clip", "j zero six", "y", {})],
    "silu": [("Sigmoid", "x", "s", {}), ("Mul", "s x", "y", {})],
    "hard_swish by hard_sigmoid": [("HardSigmoid", "x", "s", {"alpha": 1 / 6}), ("Mul", "x s", "y", {})],
    "hard_swish, divided last": [("Add", "x three", "a", {}), ("Clip", "a zero six", "s", {}), ("Mul", "x s", "p", {}), ("Div", "p six", "y", {})],
    "hard_swish, divided first": [("Add", "three x", "a", {}), ("Clip", "a zero six", "s", {}), ("Mul", "s sixth", "q", {}), ("Mul", "q x", "y", {})],
    "gelu": [("Div", "x root", "a", {}), ("Erf", "a", "e", {}), ("Add", "e unit", "f1", {}), ("Mul", "x f1", "g", {}), ("Mul", "g half", "y", {})],
    "gelu, halved first": [("Div", "x root", "a", {}), ("Erf", "a", "e", {}), ("Add", "e unit", "f1", {}), ("Mul", "x half", "g", {}), ("Mul", "g f1", "y", {})],
    "identities": [("Identity", "x", "i", {}), ("Dropout", "i", "d mask", {}), ("Relu", "d", "y", {})],
    "two norms": [("BatchNormalization", f"x {NORM}", "i", {}), ("Mul", "i c", "j", {}), ("Add", "j c", "k1", {}), ("Relu", "k1", "y", {})],
    "sum": [("Add", "x x2", "i", {}), ("Relu", "i", "y", {})],
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_becomes_one(name):
    inputs = ("x", "x2") if name == "sum" else ("x",)
    assert count(both(ONE[name], inputs=inputs)) == 1


APART = {
    "read twice": ([CONV, ("Relu", "h", "r", {}), ("Mul", "h r", "y", {})], 3),
    "an activation between": ([CONV, ("Relu", "h", "r", {}), ("BatchNormalization", f"r {NORM}", "y", {})], 2),
    "a residual that is the result": ([CONV, ("Add", "h h", "y", {})], 2),
    "a sum between": ([CONV, ("Add", "h x", "s", {}), ("BatchNormalization", f"s {NORM}", "y", {})], 2),
    "two residuals": ([CONV, ("Add", "h x", "s", {}), ("Add", "s x", "y", {})], 2),
    "other bounds": ([CONV, ("Clip", "h zero three", "y", {})], 2),
    "other slopes": ([("HardSigmoid", "x", "s", {}), ("Mul", "x s", "y", {})], 2),
    "a gate of something else": ([("Sigmoid", "x2", "s", {}), ("Mul", "s x", "y", {})], 2),
}


@pytest.mark.parametrize("name", APART)
def test_stays_apart(name):
    nodes, number = APART[name]
    inputs = ("x", "x2") if any("x2" in given.split() for _, given, _, _ in nodes) else ("x",)
    assert count(both(nodes, inputs=inputs)) == number


def test_an_output_stays_a_value():
    made = model(
        [CONV, ("Relu", "h", "y", {})], {"x": SHAPE}, {"y": SHAPE, "h": SHAPE}, {k: CONSTANTS[k] for k in "wb"}
    )
    y, h = fastconv.onnx.load(made)(random(2, 6, 9, 9))
    assert h.min() < 0
    np.testing.assert_array_equal(y, np.maximum(h, 0))


def test_matrices():
    flat = ("Flatten", "x", "r", {})
    for nodes, number in (
        ([flat, ("Gemm", "r m v", "h", {}), ("Relu", "h", "y", {})], 2),
        ([flat, ("Gemm", "r t v", "h", {"transB": 1, "alpha": 0.5, "beta": 2.0}), ("Sigmoid", "h", "y", {})], 2),
        ([flat, ("Gemm", "r t k", "y", {"transB": 1})], 2),
        ([flat, ("MatMul", "r m", "h", {}), ("Add", "h v", "i", {}), ("Tanh", "i", "y", {})], 4),
    ):
        merged = both(nodes, shape=["N", 5])
        assert count(merged) <= number


def test_a_residual_that_is_spread():
    constants = {**CONSTANTS, "wide": random(6, 6, 1, 1)}
    nodes = [("GlobalAveragePool", "x", "g", {}), CONV, ("Add", "h g", "i", {}), ("Relu", "i", "y", {})]
    both(nodes, constants=constants)


def test_concatenations_in_place():
    nodes = [
        ("Conv", "x w b", "a", {"pads": [1, 1, 1, 1]}),
        ("Conv", "x one", "d", {}),
        ("Relu", "d", "e", {}),
        ("Concat", "a e", "f1", {"axis": 1}),
        ("AveragePool", "x", "g", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Concat", "a e g x", "h", {"axis": 1}),  # begins with another one; x comes from outside
        ("Concat", "e e", "i", {"axis": -3}),  # twice the same, which lies elsewhere already
        ("Concat", "h i f1", "y", {"axis": 1}),
    ]
    merged = both(nodes)
    plans = [str([type(run).__name__ for run, *_ in plan._run]) for plan in merged._plans.values()]
    assert "_Into" in plans[0] and "_Joined" in plans[0]  # of one image
    x = random(1, 6, 9, 9)
    first = merged(x)
    kept = first.copy()
    merged(-x)
    np.testing.assert_array_equal(first, kept)  # a result is nobody else's memory


def test_results_are_the_callers():
    constants = {"to": np.array([0, -1])}
    made = model(
        [("Reshape", "x to", "y", {}), ("Identity", "y", "z", {})],
        {"x": SHAPE},
        {"y": ["N", 486], "z": ["N", 486]},
        constants,
    )
    net, x = fastconv.onnx.load(made), random(2, 6, 9, 9)
    for _ in range(2):
        y, z = net(x)
        y += 1
        assert not np.may_share_memory(y, x) and not np.may_share_memory(y, z)
        np.testing.assert_array_equal(z, x.reshape(2, -1))
    made = model([("Identity", "c", "y", {})], {"x": SHAPE}, {"y": [6, 1, 1]}, {"c": CONSTANTS["c"]})
    net = fastconv.onnx.load(made)
    net(x)[...] = 0
    np.testing.assert_array_equal(net(x), CONSTANTS["c"])


def test_outputs_that_lie_in_one_concatenation():
    nodes = [
        ("Relu", "x", "r", {}),
        ("Conv", "r one", "a", {}),
        ("Neg", "x", "n", {}),
        ("Concat", "a n", "c", {"axis": 1}),
        ("Reshape", "a to", "y", {}),
        ("Flatten", "c", "z", {}),
        ("Tanh", "c", "t", {}),
    ]
    made = model(nodes, {"x": SHAPE}, dict.fromkeys("yzt"), {"to": np.array([0, -1]), "one": CONSTANTS["one"]})
    net, x = fastconv.onnx.load(made), random(1, 6, 9, 9)
    right = [a.copy() for a in fastconv.onnx.load(made, fuse=False)(x)]
    for _ in range(3):
        y, z, t = net(x)
        for a, b in zip((y, z, t), right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        y[...] = 0
        np.testing.assert_allclose(z, right[1], rtol=1e-5, atol=1e-6)


def test_sizes_that_depend_on_numbers():
    nodes = [
        ("NonZero", "x", "i", {}),
        ("Shape", "i", "s", {}),
        ("Transpose", "i", "t", {}),
        ("GatherND", "x t", "y", {}),
    ]
    made = fastconv.onnx.load(model(nodes, {"x": ["N", "M"]}, {"y": ["K"]}))
    for seed in range(3):
        x = random(3, 4, seed=seed) * (random(3, 4, seed=seed + 9) > 0)
        np.testing.assert_array_equal(made(x), x[x != 0])


def test_plans_are_few_and_for_the_settings():
    net = both(ONE["residual"])
    for n in range(1, 30):
        net(random(n, 6, 9, 9))
    assert len(net._plans) <= 8
    x = random(2, 6, 9, 9)
    y = net(x)
    with fastconv.backend("numpy"):
        np.testing.assert_allclose(net(x), y, rtol=1e-4, atol=1e-5)


UNARY = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Identity", "LeakyRelu", "Softplus", "Abs")


def drawn(rng):
    """A graph of random nodes over images of one size."""
    values, nodes = ["x", "x2"], []
    for i in range(rng.randrange(3, 14)):
        a, b = rng.choice(values[-4:]), rng.choice(values)
        name = f"t{i}"
        nodes.append(
            rng.choice((
                ("Conv", f"{a} w b", name, {"pads": [1, 1, 1, 1]}),
                ("Conv", f"{a} one", name, {}),
                ("Conv", f"{a} deep b", name, {"group": 6, "pads": [1, 1, 1, 1]}),
                ("BatchNormalization", f"{a} {NORM}", name, {}),
                ("Mul", f"{a} c", name, {}),
                ("Add", f"{a} {b}", name, {}),
                ("Add", f"k {a}", name, {}),
                ("Mul", f"{a} {b}", name, {}),
                ("Clip", f"{a} zero six", name, {}),
                ("MaxPool", a, name, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
                ("AveragePool", a, name, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
                ("GlobalAveragePool", a, name, {}),
                *((op, a, name, {}) for op in UNARY),
            ))
        )  # fmt: skip
        values.append(name)
        if nodes[-1][0] == "GlobalAveragePool":
            nodes.append(("Mul", f"{name} {rng.choice(('x', 'x2'))}", f"{name}g", {}))
            values[-1] = f"{name}g"
    ends = rng.sample(values[2:], min(3, len(values) - 2))
    nodes.append(("Concat", " ".join([values[-1], *ends]), "y", {"axis": 1}))
    return nodes


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed):
    both(drawn(chances.Random(seed)), inputs=("x", "x2"))

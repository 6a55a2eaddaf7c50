"""What calls exist: for every public operation a function that draws right arguments, from few shapes.

The shapes are few so that a call like an earlier one comes soon, and chosen so that arguments of one call often have
equal shapes and could be one array. Each function returns the arguments by name, in the order of the signature.
"""

from random import Random
from typing import Any

from .step import Code, Numbers

OPTIONAL = "fuzz: not given"
Arguments = dict[str, Any]

# N, C, H, W, FN, FH, FW, stride, padding, dilation, groups
CONVOLUTIONS: list[tuple[Any, ...]] = [
    (2, 3, 3, 3, 2, 3, 3, 1, 0, 1, 1),  # x and w have one shape
    (4, 2, 4, 4, 4, 2, 2, 2, 0, 1, 1),
    (2, 3, 6, 7, 4, 3, 3, 1, 1, 1, 1),
    (1, 4, 5, 8, 6, 2, 3, (1, 2), (0, 1), 1, 2),
    (2, 8, 8, 8, 8, 3, 3, 1, 1, 1, 1),
    (1, 16, 12, 12, 16, 3, 3, 1, 1, 1, 1),
    (2, 17, 9, 9, 19, 3, 3, 2, 1, 1, 1),
    (2, 6, 7, 7, 5, 1, 1, 1, 0, 1, 1),
    (1, 5, 9, 9, 5, 3, 3, 1, 1, 1, 5),
    (1, 3, 16, 16, 8, 5, 5, 1, 2, 1, 1),
    (1, 2, 9, 9, 3, 3, 3, 1, ((1, 2), (0, 3)), 2, 1),
    (0, 3, 6, 6, 4, 3, 3, 1, 0, 1, 1),
]
POOLS: list[tuple[Any, ...]] = [  # shape, kernel, stride, padding, dilation
    ((2, 3, 4, 4), 2, None, 0, 1),
    ((2, 3, 4, 4), 2, 2, 0, 1),
    ((1, 2, 7, 9), 3, 2, 1, 1),
    ((2, 4, 8, 8), (2, 3), (1, 2), (1, 0), 1),
    ((1, 9, 6, 6), 2, 1, 0, 2),
    ((0, 2, 4, 4), 2, 2, 0, 1),
]
MATRICES = [(4, 4, 4), (1, 6, 6), (2, 8, 8), (5, 7, 3), (33, 17, 9), (0, 4, 4), (1, 1, 1)]  # N, in, out
LAYOUTS = ["rows", "rows", "rows_nhwc", "columns", "columns_n_last", "unfold"]
SHAPES = [(4, 4), (2, 3, 4, 4), (5, 7), (8,), (33,), (), (0, 3), (1, 6), (2, 2, 2, 2, 2)]
VECTORS = [(3,), (4, 4), (2, 3), (17,), (0,)]


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def pads(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(value, int):
        return (value, value), (value, value)
    h, w = value
    return (pair(h), pair(w))


def _size(n: int, k: int, s: int, before: int, after: int, d: int) -> int:
    return (n + before + after - d * (k - 1) - 1) // s + 1


def _windows(H: int, W: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, int]:
    k, s, p, d = pair(kernel), pair(stride), pads(padding), pair(dilation)
    return _size(H, k[0], s[0], *p[0], d[0]), _size(W, k[1], s[1], *p[1], d[1])


def _maybe(r: Random, value: Any, chance: float = 0.6) -> Any:
    return value if r.random() < chance else OPTIONAL


def conv2d(r: Random) -> Arguments:
    N, C, H, W, FN, FH, FW, stride, padding, dilation, groups = r.choice(CONVOLUTIONS)
    OH, OW = _windows(H, W, (FH, FW), stride, padding, dilation)
    return {
        "x": Numbers((N, C, H, W)),
        "w": Numbers((FN, C // groups, FH, FW)),
        "b": _maybe(r, r.choice([None, Numbers((FN,))])),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "activation": _maybe(r, r.choice([None, "relu"]), 0.3),
        "out": _maybe(r, r.choice([None, Numbers((N, FN, OH, OW))]), 0.3),
    }


def conv2d_backward(r: Random) -> Arguments:
    N, C, H, W, FN, FH, FW, stride, padding, dilation, groups = r.choice(CONVOLUTIONS)
    OH, OW = _windows(H, W, (FH, FW), stride, padding, dilation)
    return {
        "dout": Numbers((N, FN, OH, OW)),
        "x": Numbers((N, C, H, W)),
        "w": Numbers((FN, C // groups, FH, FW)),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "needs": _maybe(r, tuple(r.random() < 0.7 for _ in range(3)), 0.4),
    }


def _transposed(r: Random) -> tuple[Arguments, tuple[int, ...]]:
    N, C, H, W, FN, FH, FW, stride, _, dilation, groups = r.choice(CONVOLUTIONS)
    s, d = pair(stride), pair(dilation)
    extra = 1 if r.random() < 0.2 and min(s) > 1 else 0
    OH, OW = (H - 1) * s[0] + d[0] * (FH - 1) + 1 + extra, (W - 1) * s[1] + d[1] * (FW - 1) + 1 + extra
    x, w = Numbers((N, C, H, W)), Numbers((C, 1 if FN % groups else FN // groups, FH, FW))
    options = {"stride": stride, "padding": 0, "output_padding": extra, "groups": groups, "dilation": dilation}
    return {"x": x, "w": w, **options}, (N, w.shape[1] * groups, OH, OW)


def conv_transpose2d(r: Random) -> Arguments:
    arguments, y = _transposed(r)
    x, w = arguments.pop("x"), arguments.pop("w")
    return {"x": x, "w": w, "b": _maybe(r, r.choice([None, Numbers(y[1:2])])), **arguments}


def conv_transpose2d_backward(r: Random) -> Arguments:
    arguments, y = _transposed(r)
    needs = tuple(r.random() < 0.7 for _ in range(3))
    return {"dout": Numbers(y), **arguments, "needs": _maybe(r, needs, 0.4)}


def im2col(r: Random) -> Arguments:
    N, C, H, W, _, FH, FW, stride, padding, _, _ = r.choice(CONVOLUTIONS)
    layout = r.choice(LAYOUTS)
    shape = (N, H, W, C) if layout == "rows_nhwc" else (N, C, H, W)
    window = {"filter_h": FH, "filter_w": FW, "stride": stride, "pad": padding}
    return {"input_data": Numbers(shape), **window, "layout": _maybe(r, layout, 0.5 if layout == "rows" else 1)}


def col2im(r: Random) -> Arguments:
    N, C, H, W, _, FH, FW, stride, padding, _, _ = r.choice(CONVOLUTIONS)
    OH, OW = _windows(H, W, (FH, FW), stride, padding, 1)
    layout = r.choice(LAYOUTS)
    taps, windows = C * FH * FW, OH * OW
    shapes = {"columns": (taps, N * windows), "columns_n_last": (taps, N * windows), "unfold": (N, taps, windows)}
    return {
        "col": Numbers(shapes.get(layout, (N * windows, taps))),
        "input_shape": (N, H, W, C) if layout == "rows_nhwc" else (N, C, H, W),
        "filter_h": FH,
        "filter_w": FW,
        "stride": stride,
        "pad": padding,
        "layout": _maybe(r, layout, 0.5 if layout == "rows" else 1),
    }


def _pool(r: Random) -> tuple[tuple[int, ...], tuple[int, ...], Arguments]:
    shape, kernel, stride, padding, dilation = r.choice(POOLS)
    y = (*shape[:2], *_windows(*shape[2:], kernel, kernel if stride is None else stride, padding, dilation))
    return shape, y, {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def max_pool2d(r: Random) -> Arguments:
    shape, _, options = _pool(r)
    return {"x": Numbers(shape), **options, "ceil_mode": _maybe(r, r.random() < 0.5, 0.4)}


def padded_with_a_value(r: Random) -> Arguments:
    """max_pool2d alone takes it."""
    return {**max_pool2d(r), "pad_value": _maybe(r, r.choice([None, 0.0, -2.5]), 0.4)}


def max_pool2d_backward(r: Random) -> Arguments:
    shape, y, options = _pool(r)
    indices = Numbers(y, "i8", low=0, high=shape[2] * shape[3])
    return {"dout": Numbers(y), "indices": indices, "input_shape": shape, **options}


def avg_pool2d(r: Random) -> Arguments:
    shape, _, options = _pool(r)
    options.pop("dilation")
    return {
        "x": Numbers(shape),
        **options,
        "ceil_mode": _maybe(r, r.random() < 0.5, 0.4),
        "count_include_pad": _maybe(r, r.random() < 0.5, 0.4),
        "divisor_override": _maybe(r, r.choice([None, 3]), 0.3),
    }


def avg_pool2d_backward(r: Random) -> Arguments:
    shape, kernel, stride, padding, _ = r.choice(POOLS)
    y = (*shape[:2], *_windows(*shape[2:], kernel, kernel if stride is None else stride, padding, 1))
    return {
        "dout": Numbers(y),
        "input_shape": shape,
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": OPTIONAL,
        "count_include_pad": _maybe(r, r.random() < 0.5, 0.4),
    }


def adaptive_avg_pool2d(r: Random) -> Arguments:
    return {"x": Numbers(r.choice(POOLS)[0]), "output_size": r.choice([1, 2, (3, 2)])}


def adaptive_avg_pool2d_backward(r: Random) -> Arguments:
    shape = r.choice(POOLS)[0]
    return {"dout": Numbers((*shape[:2], *r.choice([(1, 1), (2, 2), (3, 2)]))), "input_shape": shape}


def global_avg_pool2d(r: Random) -> Arguments:
    return {"x": Numbers(r.choice(POOLS)[0])}


def global_avg_pool2d_backward(r: Random) -> Arguments:
    shape = r.choice(POOLS)[0]
    return {"dout": Numbers((*shape[:2], 1, 1)), "input_shape": shape}


def stochastic_pool2d(r: Random) -> Arguments:
    shape, _, options = _pool(r)
    options.pop("dilation")
    training = r.random() < 0.7
    return {"x": Numbers(shape), **options, "training": training, "rng": seed_of(r)}


def stochastic_pool2d_backward(r: Random) -> Arguments:
    shape, kernel, stride, padding, _ = r.choice(POOLS)
    y = (*shape[:2], *_windows(*shape[2:], kernel, kernel if stride is None else stride, padding, 1))
    indices = Numbers(y, "i8", low=0, high=shape[2] * shape[3])
    return {
        "dout": Numbers(y),
        "indices": indices,
        "input_shape": shape,
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
    }


def seed_of(r: Random) -> Any:
    return r.choice([0, 5, Code("np.random.default_rng(3)")])


def affine(r: Random) -> Arguments:
    N, K, M = r.choice(MATRICES)
    return {
        "x": Numbers(r.choice([(N, K), (N, K), (K,)])),
        "W": Numbers((K, M)),
        "b": _maybe(r, r.choice([None, Numbers((M,))])),
        "activation": _maybe(r, r.choice([None, "relu"]), 0.3),
    }


def affine_backward(r: Random) -> Arguments:
    N, K, M = r.choice(MATRICES)
    needs = tuple(r.random() < 0.7 for _ in range(3))
    return {"dout": Numbers((N, M)), "x": Numbers((N, K)), "W": Numbers((K, M)), "needs": _maybe(r, needs, 0.4)}


def linear(r: Random) -> Arguments:
    N, K, M = r.choice(MATRICES)
    x = r.choice([(N, K), (2, N, K), (K,)])
    return {"x": Numbers(x), "weight": Numbers((M, K)), "bias": _maybe(r, r.choice([None, Numbers((M,))]))}


def linear_backward(r: Random) -> Arguments:
    N, K, M = r.choice(MATRICES)
    lead = r.choice([(N,), (2, N)])
    needs = tuple(r.random() < 0.7 for _ in range(3))
    return {
        "dout": Numbers((*lead, M)),
        "x": Numbers((*lead, K)),
        "weight": Numbers((M, K)),
        "needs": _maybe(r, needs, 0.4),
    }


def batch_norm(r: Random) -> Arguments:
    shape = r.choice([(4, 4), (4, 2), (2, 3, 4, 4), (5, 17), (3, 8, 5, 5), (0, 4)])
    C = shape[1:2]
    keeps = r.random() < 0.8
    return {
        "x": Numbers(shape),
        "gamma": r.choice([None, Numbers(C), Numbers(C)]),
        "beta": r.choice([None, Numbers(C), Numbers(C)]),
        "running_mean": Numbers(C) if keeps else None,
        "running_var": Numbers(C, low=0.5, high=2) if keeps else None,
        "training": r.random() < 0.6 or not keeps,
        "momentum": _maybe(r, r.choice([0.1, 0.9, 0.0, 1]), 0.4),
        "eps": _maybe(r, r.choice([1e-5, 1e-3]), 0.4),
    }


def batch_norm_and_backward(r: Random) -> Arguments:
    arguments = batch_norm(r)
    return {"dout": Numbers(arguments["x"].shape), **arguments}


def local_response_norm(r: Random) -> Arguments:
    shape = r.choice([(2, 3, 4, 4), (4, 17), (3, 8, 5, 5), (0, 4, 2, 2)])
    rates = {"alpha": _maybe(r, 1e-2), "beta": _maybe(r, 0.5), "k": _maybe(r, 2.0)}
    return {"x": Numbers(shape), "size": r.choice([1, 2, 5, 20]), **rates}


def local_response_norm_backward(r: Random) -> Arguments:
    arguments = local_response_norm(r)
    return {"dout": Numbers(arguments["x"].shape), **arguments}


def layer_norm(r: Random) -> Arguments:
    shape = r.choice([(4, 4), (2, 3, 4, 4), (5, 17)])
    kept = shape[-r.choice([1, 2]) :] if len(shape) > 2 else shape[-1:]
    weight, bias = (r.choice([None, Numbers(kept)]) for _ in range(2))
    return {"x": Numbers(shape), "normalized_shape": kept, "weight": weight, "bias": bias, "eps": _maybe(r, 1e-3)}


def group_norm(r: Random) -> Arguments:
    C, groups = r.choice([(4, 2), (6, 3), (3, 1), (8, 8)])
    weight, bias = (r.choice([None, Numbers((C,))]) for _ in range(2))
    return {"x": Numbers((2, C, 3, 3)), "num_groups": groups, "weight": weight, "bias": bias, "eps": _maybe(r, 1e-3)}


def instance_norm(r: Random) -> Arguments:
    weight, bias = (r.choice([None, Numbers((3,))]) for _ in range(2))
    return {"x": Numbers((2, 3, 4, 4)), "weight": weight, "bias": bias, "eps": _maybe(r, 1e-3)}


def elementwise(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    return {"x": Numbers(shape), "out": _maybe(r, Numbers(shape), 0.25)}


def leaky_relu(r: Random) -> Arguments:
    x, out = elementwise(r).values()
    return {"x": x, "negative_slope": _maybe(r, r.choice([0.01, 0.5, 0, -1.5])), "out": out}


def gelu(r: Random) -> Arguments:
    x, out = elementwise(r).values()
    return {"x": x, "approximate": _maybe(r, r.choice(["none", "tanh"])), "out": out}


def gradient_from_x(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    return {"dout": Numbers(shape), "x": Numbers(shape)}


def leaky_relu_backward(r: Random) -> Arguments:
    return {**gradient_from_x(r), "negative_slope": _maybe(r, r.choice([0.01, 0.5]))}


def gelu_backward(r: Random) -> Arguments:
    return {**gradient_from_x(r), "approximate": _maybe(r, r.choice(["none", "tanh"]))}


def gradient_from_y(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    return {"dout": Numbers(shape), "y": Numbers(shape)}


def _axis(r: Random, shape: tuple[int, ...]) -> Any:
    return _maybe(r, r.randrange(-len(shape), len(shape)) if shape else -1)


def softmax(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    return {"x": Numbers(shape), "axis": _axis(r, shape)}


def softmax_backward(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    return {"dout": Numbers(shape), "y": Numbers(shape), "axis": _axis(r, shape)}


def _targets(r: Random, N: int, C: int) -> Numbers:
    return r.choice([Numbers((N,), "i8", low=0, high=C), Numbers((N, C), low=0, high=1)])


def softmax_cross_entropy(r: Random) -> Arguments:
    N, C = r.choice([(4, 4), (2, 3), (5, 17), (1, 1)])
    return {"x": Numbers((N, C)), "t": _targets(r, N, C), "offset": _maybe(r, r.choice([0.0, 1e-7]), 0.3)}


def softmax_cross_entropy_backward(r: Random) -> Arguments:
    N, C = r.choice([(4, 4), (2, 3), (5, 17), (1, 1)])
    return {"y": Numbers((N, C)), "t": _targets(r, N, C)}


def nll_loss(r: Random) -> Arguments:
    N, C = r.choice([(4, 4), (2, 3), (5, 17)])
    return {"log_y": Numbers((N, C)), "t": Numbers((N,), "i8", low=0, high=C)}


def mean_squared_error(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    reduction = r.choice(["half_sum", "mean", "sum"])
    return {"y": Numbers(shape), "t": Numbers(shape), "reduction": _maybe(r, reduction)}


def dropout(r: Random) -> Arguments:
    ratio, inverted = r.choice([0.5, 0.1, 0, 1]), r.random() < 0.5
    return {"x": Numbers(r.choice(SHAPES)), "ratio": ratio, "rng": seed_of(r), "inverted": _maybe(r, inverted)}


def dropout2d(r: Random) -> Arguments:
    return {**dropout(r), "x": Numbers(r.choice([(2, 3, 4, 4), (1, 17, 2, 2), (3, 4, 4)]))}


def dropout_backward(r: Random) -> Arguments:
    shape = r.choice(SHAPES)
    ratio, inverted = r.choice([0.5, 0.1, 0]), r.random() < 0.5
    return {"dout": Numbers(shape), "mask": Numbers(shape, mask=True), "ratio": ratio, "inverted": _maybe(r, inverted)}


def dropout2d_backward(r: Random) -> Arguments:
    shape = r.choice([(2, 3, 4, 4), (1, 17, 2, 2)])
    mask = Numbers((*shape[:2], 1, 1), mask=True)
    return {"dout": Numbers(shape), "mask": mask, "ratio": 0.5, "inverted": _maybe(r, r.random() < 0.5)}


def _update(state: int, **rates: Any) -> Any:
    names = ["params", "grads", "state_1", "state_2"][: 2 + state]

    def draw(r: Random) -> Arguments:
        shapes = [r.choice(VECTORS) for _ in range(r.choice([1, 1, 2, 3]))]
        low = {"params": -2.0, "grads": -2.0, "state_1": 0.5, "state_2": 0.5}
        lists = {name: [Numbers(shape, low=low[name]) for shape in shapes] for name in names}
        decay = _maybe(r, 0.1, 0.3)
        return {**lists, **{name: r.choice(values) for name, values in rates.items()}, "weight_decay": decay}

    return draw


CALLS: dict[str, Any] = {
    "conv2d": conv2d,
    "conv2d_backward": conv2d_backward,
    "conv_transpose2d": conv_transpose2d,
    "conv_transpose2d_backward": conv_transpose2d_backward,
    "im2col": im2col,
    "col2im": col2im,
    "max_pool2d": padded_with_a_value,
    "max_pool2d_backward": max_pool2d_backward,
    "min_pool2d": max_pool2d,
    "min_pool2d_backward": max_pool2d_backward,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_backward": avg_pool2d_backward,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "adaptive_avg_pool2d_backward": adaptive_avg_pool2d_backward,
    "global_avg_pool2d": global_avg_pool2d,
    "global_avg_pool2d_backward": global_avg_pool2d_backward,
    "stochastic_pool2d": stochastic_pool2d,
    "stochastic_pool2d_backward": stochastic_pool2d_backward,
    "affine": affine,
    "affine_backward": affine_backward,
    "linear": linear,
    "linear_backward": linear_backward,
    "batch_norm": batch_norm,
    "batch_norm_and_backward": batch_norm_and_backward,
    "relu": elementwise,
    "sigmoid": elementwise,
    "tanh": elementwise,
    "leaky_relu": leaky_relu,
    "local_response_norm": local_response_norm,
    "local_response_norm_backward": local_response_norm_backward,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "relu6": elementwise,
    "hard_sigmoid": elementwise,
    "hard_swish": elementwise,
    "silu": elementwise,
    "gelu": gelu,
    "relu_backward": gradient_from_x,
    "relu6_backward": gradient_from_x,
    "hard_sigmoid_backward": gradient_from_x,
    "hard_swish_backward": gradient_from_x,
    "silu_backward": gradient_from_x,
    "gelu_backward": gelu_backward,
    "leaky_relu_backward": leaky_relu_backward,
    "sigmoid_backward": gradient_from_y,
    "tanh_backward": gradient_from_y,
    "softmax": softmax,
    "softmax_backward": softmax_backward,
    "log_softmax": softmax,
    "log_softmax_backward": softmax_backward,
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_cross_entropy_backward": softmax_cross_entropy_backward,
    "nll_loss": nll_loss,
    "nll_loss_backward": nll_loss,
    "mean_squared_error": mean_squared_error,
    "mean_squared_error_backward": mean_squared_error,
    "dropout": dropout,
    "dropout_backward": dropout_backward,
    "dropout2d": dropout2d,
    "dropout2d_backward": dropout2d_backward,
    "sgd_update": _update(0, lr=[0.1, 1]),
    "momentum_update": _update(1, lr=[0.1], momentum=[0.9, 0.5]),
    "nesterov_update": _update(1, lr=[0.1], momentum=[0.9, 0.5]),
    "adagrad_update": _update(1, lr=[0.1], eps=[1e-7, 1e-3]),
    "rmsprop_update": _update(1, lr=[0.1], decay=[0.9], eps=[1e-7]),
    "adadelta_update": _update(2, lr=[1.0], rho=[0.9], eps=[1e-6]),
    "adam_update": _update(2, lr=[0.01], beta1=[0.9], beta2=[0.999], eps=[1e-8], step=[1, 7]),
}
WRITTEN = {  # what a call may change, besides `out`
    "batch_norm": ("running_mean", "running_var"),
    "batch_norm_and_backward": ("running_mean", "running_var"),
    **{name: ("params", "state_1", "state_2") for name in CALLS if name.endswith("_update")},
}

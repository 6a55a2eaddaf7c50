"""Checks of the normalisations besides batch_norm."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .._problem import BatchNorm, LocalResponse
from . import arguments as arg
from .remembered import remembered
from .vectors import vector


def _planes(name: str, x: np.ndarray) -> dict[str, int]:
    """x (N, C, ...) as (N, C, P)."""
    if x.ndim < 2:
        raise ValueError(f"{name}: expected (N, C, ...), got shape {x.shape}")
    return {"N": x.shape[0], "C": x.shape[1], "P": math.prod(x.shape[2:])}


@remembered
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    x = arg.array("x", x)
    p = LocalResponse(
        **arg.kind(x), **_planes("x", x), size=arg.integer("size", size, 1), alpha=arg.real("alpha", alpha),
        beta=arg.real("beta", beta), k=arg.real("k", k),
    )  # fmt: skip
    return p, *arg.dense(p.dtype, x)


@remembered
def local_response_norm_backward(dout, x, size, alpha=1e-4, beta=0.75, k=1.0):
    given = arg.array("x", x)
    p, x = local_response_norm(given, size, alpha, beta, k)
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, x.shape, "the shape of x")
    p = replace(p, **arg.kind(dout, given))
    return p, *arg.dense(p.dtype, dout, x)


def _problems(kind: dict[str, Any], rows: int, length: int, scaled: tuple[int, int, int], eps: Any) -> tuple:
    """The Problems of normalising `rows` times `length` numbers, and of the scale and shift behind it: (N, C, P)."""
    N, C, P = scaled
    return (
        BatchNorm(**kind, N=1, C=rows, P=length, training=True, eps=arg.real("eps", eps, 0)),
        BatchNorm(**kind, N=N, C=C, P=P, training=False, eps=0.0),
    )


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    x = arg.array("x", x)
    one = isinstance(normalized_shape, (int, np.integer))
    shape = tuple(arg.integer("normalized_shape", n, 1) for n in ((normalized_shape,) if one else normalized_shape))
    if not shape or x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape):
        raise ValueError(
            f"normalized_shape: expected the last sizes of x, of shape {x.shape}, got {normalized_shape!r}"
        )
    given = [None if v is None else arg.array(name, v) for name, v in (("weight", weight), ("bias", bias))]
    for name, v in zip(("weight", "bias"), given, strict=True):
        if v is not None:
            arg.shape(name, v, shape, "normalized_shape")
    kind, length = arg.kind(x, *given), math.prod(shape)
    rows = math.prod(x.shape[: x.ndim - len(shape)])
    problems = _problems(kind, rows, length, (rows, length, 1), eps)
    return *problems, *_dense(x, given, problems[0])


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    x = arg.array("x", x)
    sizes, groups = _planes("x", x), arg.integer("num_groups", num_groups, 1)
    if sizes["C"] % groups:
        raise ValueError(f"num_groups: expected a divisor of x's {sizes['C']} channels, got {groups}")
    given = [vector(v, sizes["C"], "x's channels", name, (x,)) for name, v in (("weight", weight), ("bias", bias))]
    N, C, P = sizes.values()
    problems = _problems(arg.kind(x, *given), N * groups, C // groups * P, (N, C, P), eps)
    return *problems, *_dense(x, given, problems[0])


def instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps):
    """Also the dense x for a plain batch normalisation, and the momentum."""
    x = arg.array("x", x)
    sizes = _planes("x", x)
    momentum = arg.real("momentum", momentum, 0, 1)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean, running_var: expected both or neither")
    if not use_input_stats and running_mean is None:
        raise ValueError("running_mean, running_var: expected arrays when use_input_stats is False, got None")
    for name, v in (("running_mean", running_mean), ("running_var", running_var)):
        if v is not None:
            if not (isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.flags.writeable):
                raise TypeError(f"{name}: expected a writeable float ndarray (it is updated in place), got {v!r}")
            arg.shape(name, v, (sizes["C"],), "one number for each of x's channels")
    if use_input_stats and sizes["P"] == 1:
        raise ValueError(f"x: expected more than one value per plane, got shape {x.shape}")
    return group_norm(x, max(sizes["C"], 1), weight, bias, eps), momentum


def _dense(x: np.ndarray, given: list, p: BatchNorm) -> list:
    vectors = arg.dense(p.arithmetic, *(None if v is None else v.reshape(-1) for v in given))
    return [*arg.dense(p.dtype, x), *vectors]

"""What fastconv would do and what it runs on: `explain` and `show_config`."""

import inspect
import platform
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from . import _check, _dispatch, _second_pass, _settings, _table, _threads, _tile_range, ops
from ._problem import Planes, Problem
from ._version import __version__
from .kernels._cpu.limits import available_cpus

# The kernels behind a public operation, and the check that builds their Problem where it has another name.
_ELEMENTWISE = ("relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "tanh", "hard_swish", "silu", "gelu")
_KERNELS: dict[str, tuple[str, ...]] = {
    "im2col": ("im2col",),
    "col2im": ("col2im",),
    "conv2d": ("conv2d_forward",),
    "conv2d_backward": ("conv2d_backward", "conv2d_backward_data", "conv2d_backward_weights"),
    "conv_transpose2d": ("conv2d_backward_data",),
    "conv_transpose2d_backward": ("conv2d_forward", "conv2d_backward_weights"),
    "max_pool2d": ("max_pool2d_forward",),
    "max_pool2d_backward": ("max_pool2d_backward",),
    "min_pool2d": ("max_pool2d_forward",),
    "avg_pool2d": ("avg_pool2d_forward",),
    "avg_pool2d_backward": ("avg_pool2d_backward",),
    "adaptive_avg_pool2d": ("adaptive_avg_pool2d_forward",),
    "adaptive_avg_pool2d_backward": ("adaptive_avg_pool2d_backward",),
    "stochastic_pool2d": ("stochastic_pool2d_forward", "stochastic_pool2d_inference"),
    "affine": ("affine_forward",),
    "affine_backward": ("affine_backward_data", "affine_backward_weights"),
    "batch_norm": ("batch_norm_training", "batch_norm_inference"),
    "local_response_norm": ("local_response_forward",),
    "local_response_norm_backward": ("local_response_backward",),
    "layer_norm": ("batch_norm_training",),
    "group_norm": ("batch_norm_training",),
    "softmax": ("softmax_forward",),
    "softmax_backward": ("softmax_backward",),
    "log_softmax": ("log_softmax_forward",),
    "log_softmax_backward": ("log_softmax_backward",),
    "softmax_cross_entropy": ("cross_entropy_forward",),
    "softmax_cross_entropy_backward": ("cross_entropy_backward",),
    "dropout": ("dropout_forward",),
    "dropout_backward": ("dropout_backward",),
    **{name: (f"{name}_forward",) for name in _ELEMENTWISE},
    **{f"{name}_backward": (f"{name}_backward",) for name in _ELEMENTWISE},
}
_CHECKS = {
    "min_pool2d": "max_pool2d",
    "log_softmax": "softmax",
    "log_softmax_backward": "softmax_backward",
    "softmax_cross_entropy_backward": "softmax_cross_entropy",
    **dict.fromkeys(_ELEMENTWISE, "elementwise"),
    **{f"{name}_backward": "elementwise_backward" for name in _ELEMENTWISE},
}


def _problem(op: str, arguments: dict[str, Any]) -> Problem:
    """The Problem of a call, from the check that the operation itself uses."""
    if arguments.get("layout", "rows") != "rows" and op in ("im2col", "col2im"):
        return getattr(_check, f"{op}_laid_out")(*arguments.values())[0]
    check = getattr(_check, _CHECKS.get(op, op))
    values = [value for name, value in arguments.items() if name not in ("approximate", "out")]
    if check is _check.elementwise_backward:
        values.insert(2, "x")
        return check(*values)[0]
    accepted = inspect.signature(check).parameters
    # What only the operation itself needs (out, rng) is left out; the first argument goes by several names.
    first, *others = arguments
    return check(arguments[first], **{name: arguments[name] for name in others if name in accepted})[0]


def _first_calls(kernel: Any, dtype: np.dtype, call: Callable[[], Any]) -> list[str]:
    """What it cost to compile or load a kernel that is compiled when it is first called; `call` calls it if need be."""
    jit = sys.modules.get("fastconv.kernels._numba.jit")
    parts = jit.kernels_of(kernel) if jit and inspect.isfunction(kernel) else ()

    def costs() -> list[str]:
        return [str(first) for part in parts for first in part.first_calls if first.dtype == dtype]

    if parts and not costs():
        call()
    return costs()


def explain(op: str, *args: Any, **kwargs: Any) -> None:
    """Print which implementation a call would use, and why each one before it in the table was refused.

    For "conv2d" by Winograd's algorithm it also looks at the numbers: it prints the bound on the error, and whether x
    has a range so wide (a sentinel such as 1e6 among numbers around 1) that neighbours of large numbers lose accuracy.

    A kernel that is compiled when it is first called (backend "numba") is called once, with copies of the arguments, if
    it has not been yet: what its compilation took, or its loading from Numba's cache, is shown too.

    Parameters
    ----------
    op : str
        Name of a function of the functional API, such as "conv2d".
    *args, **kwargs
        The call's own arguments.

    Raises
    ------
    ValueError
        For an unknown operation, or what the call itself would raise.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    >>> fastconv.explain("conv2d", x, w, padding=1)  # doctest: +SKIP
    """
    if op not in _KERNELS:
        raise ValueError(f"op: expected one of {', '.join(sorted(_KERNELS))}, got {op!r}")
    bound = inspect.signature(getattr(ops, op)).bind(*args, **kwargs)
    bound.apply_defaults()
    problem, approximate = _problem(op, bound.arguments), bound.arguments.get("approximate") == "tanh"
    print(f"{op}: {problem}")

    def call() -> None:
        getattr(ops, op)(*deepcopy(bound.args), **deepcopy(bound.kwargs))

    names = ("gelu_tanh" + name.removeprefix("gelu") for name in _KERNELS[op]) if approximate else _KERNELS[op]
    if isinstance(problem, Planes):
        names = (f"{op}_planes",)
    for name in names:
        print(f"{name}, where all of it is needed" if name in _table.AT_ONCE else name)
        chosen = False
        for row, outcome in _dispatch.candidates(name, problem):
            if isinstance(outcome, str):
                note = f"refused: {outcome}"
            elif chosen:
                note = "would take it, further down"
            else:
                note, chosen = "chosen", True
            print(f"  {'->' if note == 'chosen' else '  '} {row}: {note}")
            if note == "chosen" and op == "conv2d" and row.kernel.startswith("winograd"):
                for line in _tile_range.describe(problem, bound.arguments["x"], bound.arguments["w"]):
                    print(f"       {line}")
            for cost in _first_calls(outcome, problem.dtype, call) if note == "chosen" else ():
                print(f"       {cost}")
            if note == "chosen" and (then := _second_pass.operation(name, row, problem)):
                second = _dispatch.kernel(then, _second_pass.problem(problem))
                print(f"       and {then} in a second pass: {getattr(second, '__module__', type(second).__module__)}")
        if not chosen and name not in _table.AT_ONCE:
            print("  no kernel takes it: the call would raise RuntimeError")


def config() -> dict[str, Any]:
    """What `show_config` prints, as a dict."""
    backends = {name: reason or "available" for name, reason in _dispatch.backends().items()}
    return {
        "fastconv": __version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "isa": _threads.isa(),
        "threads": _threads.get_num_threads(),
        **_processes(),
        "float32 conv precision": _settings.get_float32_conv_precision(),
        "forced backend": _settings.settings.backend,
        **{f"backend {name}": state for name, state in backends.items()},
    }


def _processes() -> dict[str, str]:
    """Of several processes that share this machine: which one this is."""
    if _threads.processes_on_node is None:
        return {}
    rank, size = _threads.processes_on_node
    return {"processes here": f"{size}, which share {available_cpus()} CPUs; this is number {rank}"}


def show_config() -> None:
    """Print versions, instruction set, threads and the state of every backend."""
    for key, value in config().items():
        print(f"{key:24} {value}")

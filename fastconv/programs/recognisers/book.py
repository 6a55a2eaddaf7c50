"""Modules of the kind that the book has: layers, functions, util and optimizer, in whatever package.

What costs no time is not looked at: losses as functions, numerical gradients, Trainer, the networks. They look up the
layers in their modules, and so use those that were replaced.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from . import Recogniser

_MODULES = ("layers", "functions", "util", "optimizer")


def candidates(module: str) -> Mapping[str, Any]:
    last = module.rpartition(".")[2]
    return _candidates(last) if last in _MODULES else {}


@cache
def _candidates(module: str) -> Mapping[str, Any]:
    return {"layers": _layers, "functions": _functions, "util": _util, "optimizer": _optimizers}[module]()


def _layers() -> Mapping[str, Any]:
    from .. import _layers as layers
    from .. import _trials as trials
    from .._classes import Class

    doubles = [(True, True), (False, True), (False, False)]
    return {
        "Relu": Class("", [layers.relu(True), layers.relu(False)], trials.relu),
        "Sigmoid": Class("", [layers.sigmoid()], trials.sigmoid),
        "Affine": Class("W, b", [layers.affine(True), layers.affine(False)], trials.affine),
        "SoftmaxWithLoss": Class(
            "",
            [layers.softmax_with_loss(scaled, one_hot) for one_hot in (True, False) for scaled in (False, True)],
            trials.softmax_with_loss,
        ),
        "Dropout": Class("dropout_ratio=0.5", [layers.dropout()], trials.dropout),
        "BatchNormalization": Class(
            "gamma, beta, momentum=0.9, running_mean=None, running_var=None",
            [layers.batch_normalization(eps) for eps in (1e-6, 1e-7, 1e-5, 1e-8)],
            trials.batch_normalization,
        ),
        "Convolution": Class("W, b, stride=1, pad=0", [layers.convolution(*d) for d in doubles], trials.convolution),
        "Pooling": Class("pool_h, pool_w, stride=2, pad=0", [layers.pooling(*d) for d in doubles], trials.pooling),
        **_util(),
        **_functions(),
    }


def _functions() -> Mapping[str, Any]:
    from .. import _functions as functions
    from .. import _trials as trials
    from .._candidates import Function

    return {
        name: Function("x", [getattr(functions, name)], trials.of_arrays) for name in ("softmax", "sigmoid", "relu")
    }


def _util() -> Mapping[str, Any]:
    from .. import _functions as functions
    from .. import _trials as trials
    from .._candidates import Function

    keeps = (False, True)
    return {
        "im2col": Function(
            "input_data, filter_h, filter_w, stride=1, pad=0", [functions.im2col(k) for k in keeps], trials.im2col
        ),
        "col2im": Function(
            "col, input_shape, filter_h, filter_w, stride=1, pad=0", [functions.col2im(k) for k in keeps], trials.col2im
        ),
    }


def _optimizers() -> Mapping[str, Any]:
    from .. import _optimizers as optimizers
    from .. import _trials as trials
    from .._classes import Class

    known: dict[str, tuple[str, Callable[[], Any]]] = {
        "SGD": ("lr=0.01", optimizers.sgd),
        "Momentum": ("lr=0.01, momentum=0.9", optimizers.momentum),
        "Nesterov": ("lr=0.01, momentum=0.9", optimizers.nesterov),
        "AdaGrad": ("lr=0.01", optimizers.ada_grad),
        "RMSprop": ("lr=0.01, decay_rate=0.99", optimizers.rms_prop),
        "Adam": ("lr=0.001, beta1=0.9, beta2=0.999", optimizers.adam),
    }
    return {name: Class(parameters, [kind()], trials.optimizer) for name, (parameters, kind) in known.items()}


def provides(module: str) -> Callable[[], Mapping[str, Any]] | None:
    if module.partition(".")[0] not in ("common", "dataset"):
        return None
    from ... import book

    return book.provides(module)


RECOGNISER = Recogniser("the book", candidates, provides)

"""The modules of the book "Deep Learning from Scratch" (K. Saitoh, O'Reilly Japan, 2016), on fastconv.

The book's programs import ``common.layers``, ``common.functions`` and six more modules of a package ``common`` that
lies beside them, and ``dataset.mnist``. After `install`, what a program has of these is its own, with the classes and
functions that prove equal to fastconv's computing with fastconv (`fastconv.programs`); what it does not have comes from
fastconv under the book's names. Processes that the program starts by multiprocessing find the same, whatever the start
method.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

# The book's module -> the modules of fastconv that its names come from, and the names (book's=fastconv's).
_NAMES = {
    "functions": {
        "functions": "identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax "
        "sum_squared_error mean_squared_error cross_entropy_error softmax_loss",
    },
    "util": {
        "functions": "conv_output_size smooth_curve shuffle_dataset",
        "ops": "im2col col2im",
    },
    "layers": {
        "layers": "Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling",
        "ops": "im2col col2im",
    },
    "gradient": {"gradient": "_numerical_gradient_1d numerical_gradient_2d numerical_gradient"},
    "optimizer": {"optim": "SGD Momentum Nesterov AdaGrad RMSprop Adam=BookAdam"},
    "trainer": {"trainer": "Trainer=BookTrainer"},
    "multi_layer_net": {"networks": "MultiLayerNet", "gradient": "numerical_gradient"},
    "multi_layer_net_extend": {"networks": "MultiLayerNetExtend", "gradient": "numerical_gradient"},
}
# The book's module -> the module whose names it shows too (from common.functions import *).
_STARRED = {
    "layers": "functions",
    "trainer": "optimizer",
    "multi_layer_net": "layers",
    "multi_layer_net_extend": "layers",
}


def install() -> None:
    """Let a program of the book's kind compute with fastconv: `fastconv.install`.

    The program's own ``common.layers`` and its kin are compared and replaced where they prove equal, whether they are
    imported already or later. What the program does not have, imports find in fastconv. A second call changes nothing;
    `uninstall` undoes it.

    Examples
    --------
    >>> import fastconv.book
    >>> fastconv.book.install()
    >>> from common.layers import Convolution
    >>> Convolution is fastconv.layers.Convolution
    True
    """
    _programs().install()


def uninstall() -> None:
    """Undo `install`: the program's classes are its own again, and later imports find its own modules alone."""
    _programs().uninstall()


def _programs() -> Any:
    return import_module(".programs", __package__)  # which asks this module what it provides


def names(module: str) -> dict[str, Any]:
    """What fastconv puts into one of the book's modules that a program does not have.

    Parameters
    ----------
    module : str
        The last part of the module's name in the book, e.g. ``"layers"``.

    Returns
    -------
    dict
        Name -> object. As in the book, a module also shows what it imports from another by ``*``, and ``np``.
    """
    found: dict[str, Any] = names(_STARRED[module]) if module in _STARRED else {"np": np}
    for source, wanted in _NAMES[module].items():
        provider = import_module(f".{source}", __package__)
        for entry in wanted.split():
            name, _, name_here = entry.partition("=")
            found[name] = getattr(provider, name_here or name)
    return found


def provides(module: str) -> Callable[[], Mapping[str, Any]] | None:
    """What makes the contents of a module of the book's, by its full name; None for other modules."""
    package, _, last = module.partition(".")
    if package == "common" and last in _NAMES:
        return lambda: names(last)
    if module in ("common", "dataset"):
        return lambda: {"__doc__": "The book's package, provided by fastconv.book."}
    if module == "dataset.mnist":
        return _mnist
    return None


def _mnist() -> Mapping[str, Any]:
    """The book's reader of MNIST, which takes the files from fastconv's cache or downloads them."""
    return {"load_mnist": import_module(".datasets", __package__).load_mnist, "np": np}

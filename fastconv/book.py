"""The modules of the book "Deep Learning from Scratch" (K. Goto, O'Reilly Japan, 2016), on fastconv.

The book's programs import ``common.layers``, ``common.functions`` and six more modules of a package
``common`` that lies beside them. After `install` those imports find fastconv's classes and functions under
the book's names. Everything else in a program's own tree is found as before: the other modules of its
``common``, and what its own ``common.layers`` defines beyond the book. Processes that the program starts by
multiprocessing find the same, whatever the start method.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from . import _children

_PACKAGE = "common"

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
    """Let imports of the book's ``common.*`` modules find fastconv's classes and functions.

    Call it before the book's modules are imported: names a program has already taken from them stay what they
    were. A second call changes nothing; `uninstall` undoes it.

    Examples
    --------
    >>> import fastconv.book
    >>> fastconv.book.install()
    >>> from common.layers import Convolution
    >>> Convolution is fastconv.layers.Convolution
    True
    """
    if not _installed():
        _forget()
        sys.meta_path.insert(0, _FINDER)
        _children.watch(_installed)


def uninstall() -> None:
    """Undo `install`: later imports of ``common.*`` find the program's own modules again."""
    if _installed():
        sys.meta_path.remove(_FINDER)
        _forget()


def _installed() -> bool:
    return _FINDER in sys.meta_path


def names(module: str) -> dict[str, Any]:
    """What fastconv puts into one of the book's modules.

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


class _BookLoader(Loader):
    """Runs the program's own module, if it has one, and then puts fastconv's names over its names."""

    def __init__(self, own: Loader | None) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec) if self.own else None

    def exec_module(self, module: ModuleType) -> None:
        if self.own:
            self.own.exec_module(module)
        vars(module).update(names(module.__name__.rpartition(".")[2]))


class _EmptyPackage(Loader):
    """The package ``common`` of a program that has none."""

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "The book's package, provided by fastconv.book."


class _BookFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _children.SPAWN:
            return _children.watched(self._own_spec(fullname, path, target), _installed)
        package, _, module = fullname.partition(".")
        if package != _PACKAGE or (module and module not in _NAMES):
            return None
        own = self._own_spec(fullname, path, target)
        if not module:
            return own or ModuleSpec(fullname, _EmptyPackage(), origin=__name__, is_package=True)
        if own is None:
            return ModuleSpec(fullname, _BookLoader(None), origin=__name__)
        own.loader = _BookLoader(own.loader)
        return own

    def _own_spec(self, *wanted: Any) -> ModuleSpec | None:
        """What the import would find without this finder."""
        specs = (finder.find_spec(*wanted) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in specs if spec is not None), None)


_FINDER = _BookFinder()


def _forget() -> None:
    """Drop the book's modules from the imported ones, so that the next import looks for them anew."""
    package = sys.modules.get(_PACKAGE)
    for name in _NAMES:
        if sys.modules.pop(f"{_PACKAGE}.{name}", None) is not None and package is not None:
            vars(package).pop(name, None)
    if isinstance(getattr(package, "__loader__", None), _EmptyPackage):
        del sys.modules[_PACKAGE]

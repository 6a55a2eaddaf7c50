"""Modules of the CS231n assignments: fast_layers, and im2col_cython, the extension that may not have been compiled."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from . import Recogniser

_FAST, _CYTHON = "fast_layers", "im2col_cython"


def candidates(module: str) -> Mapping[str, Any]:
    return _fast_layers() if module.rpartition(".")[2] == _FAST else {}


@cache
def _fast_layers() -> Mapping[str, Any]:
    from .. import _cs231n as layers
    from .._pairs import Pair

    found = {}
    for end, layout in (("fast", "columns"), ("strides", "columns"), ("im2col", "columns_n_last")):
        variants = [layers.convolution(layout, copies) for copies in (True, False)]
        for role, partner in (("forward", "backward"), ("backward", "forward")):
            found[f"conv_{role}_{end}"] = Pair(4, role, f"conv_{partner}_{end}", variants, layers.trial_of_convolution)
    pools = [layers.max_pooling(shares, tiles) for tiles in (False, True) for shares in (True, False)]
    for role, partner in (("forward", "backward"), ("backward", "forward")):
        found[f"max_pool_{role}_fast"] = Pair(2, role, f"max_pool_{partner}_fast", pools, layers.trial_of_max_pooling)
    return found


def provides(module: str) -> Callable[[], Mapping[str, Any]] | None:
    return _cython if module.rpartition(".")[2] == _CYTHON else None


def _cython() -> Mapping[str, Any]:
    from ...cs231n import im2col_cython

    return {name: getattr(im2col_cython, name) for name in im2col_cython.__all__}


RECOGNISER = Recogniser("CS231n's assignments", candidates, provides)

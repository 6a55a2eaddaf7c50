"""Functions of any module of a program, also of the script itself, that are named like what fastconv has.

im2col and col2im in all layouts, and convolutions and max poolings that are one function without a cache.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from . import Recogniser

_KINDS = {
    "IM2COL": "im2col im2col_indices im2col_array im2col_strides img2col image_to_column im2row im2rows",
    "COL2IM": "col2im col2im_indices col2im_array col2im_strides col2img column_to_image row2im",
    "CONVOLUTION": "conv2d conv2d_forward conv_2d convolve2d convolution2d convolution cross_correlation2d corr2d",
    "MAX_POOLING": "max_pool max_pool2d maxpool maxpool2d max_pooling max_pooling2d max_pool_2d",
}


def candidates(module: str) -> Mapping[str, Any]:
    return _all()


@cache
def _all() -> Mapping[str, Any]:
    return {name: Lazy(kind) for kind, names in _KINDS.items() for name in names.split()}


class Lazy:
    """A candidate that is made when something is compared with it: any module may have such a name, few do."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(import_module("fastconv.programs._named"), self.kind), name)


RECOGNISER = Recogniser("functions named like fastconv's", candidates)

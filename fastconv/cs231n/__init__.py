"""The functions of the CS231n assignments, under their names, on fastconv.

Stanford's course CS231n, "Deep Learning for Computer Vision", has its students write a convolutional network from
functions with caches: ``out, cache = conv_forward_fast(x, w, b, conv_param)``, ``dx, dw, db = conv_backward_fast(dout,
cache)``. The modules here have the names of the assignment's own, so one changed import is enough::

    from fastconv.cs231n.fast_layers import *  # was: from cs231n.fast_layers import *
    from fastconv.cs231n.layers import *
    from fastconv.cs231n.layer_utils import *

Nothing is to be compiled first. The package shows the names of all its modules but ``im2col_cython``, which has a
function of its own name.
"""

from . import fast_layers, im2col, im2col_cython, layer_utils, layers
from .fast_layers import *  # noqa: F403
from .im2col import *  # noqa: F403
from .layer_utils import *  # noqa: F403
from .layers import *  # noqa: F403

__all__ = [
    *layers.__all__,
    *layer_utils.__all__,
    *fast_layers.__all__,
    *im2col.__all__,
    "fast_layers",
    "im2col",
    "im2col_cython",
    "layer_utils",
    "layers",
]

"""The book's convolutional networks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Dropout
from ._builder import Builder
from ._network import BookNetwork

ConvParam = Mapping[str, int]


def _conv(filter_num: int, filter_size: int, pad: int) -> dict[str, int]:
    return {"filter_num": filter_num, "filter_size": filter_size, "pad": pad, "stride": 1}


class SimpleConvNet(BookNetwork):
    """conv - relu - pool - affine - relu - affine - softmax.

    Parameters
    ----------
    input_dim : (C, H, W)
    conv_param : dict
        'filter_num', 'filter_size', 'pad', 'stride'.
    hidden_size, output_size : int
    weight_init_std : float or str
        Standard deviation of the initial weights, or "he", "relu", "xavier", "sigmoid".
    dtype : dtype of the parameters
    conv_param_2 : dict, optional
        A second conv - relu - pool behind the first.
    use_batchnorm : bool
        Batch normalisation (PyTorch's, per channel) before every ReLU.
    rng : None, int or numpy.random.Generator
        Where the initial weights come from; None is NumPy's global generator, as in the book.
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param: ConvParam | None = None,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float | str = 0.01,
        dtype: npt.DTypeLike = np.float64,
        *,
        conv_param_2: ConvParam | None = None,
        use_batchnorm: bool = False,
        rng: Any = None,
    ) -> None:
        build = Builder(input_dim, weight_init_std, dtype, rng)

        def normalize_and_relu() -> None:
            if use_batchnorm:
                build.batch_norm()
            build.relu()

        for param in (conv_param or _conv(30, 5, 0), conv_param_2):
            if param:
                build.convolution(**param)
                normalize_and_relu()
                build.pooling()
        build.affine(hidden_size)
        normalize_and_relu()
        build.affine(output_size)
        super().__init__(build.layers)


class DeepConvNet(BookNetwork):
    """[conv - relu - conv - relu - pool] x 3 - affine - relu - dropout - affine - dropout - softmax.

    Initial weights are He's. `layers` is a list, as in the book.

    Parameters
    ----------
    input_dim : (C, H, W)
    conv_param_1, ..., conv_param_6 : dict
        'filter_num', 'filter_size', 'pad', 'stride'; by default 16, 16, 32, 32, 64, 64 filters of 3x3 with pad 1, and 2
        in the fourth.
    hidden_size, output_size : int
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks; None is NumPy's global generator, as in the book.
    """

    _trains_in_loss = True

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param_1: ConvParam | None = None,
        conv_param_2: ConvParam | None = None,
        conv_param_3: ConvParam | None = None,
        conv_param_4: ConvParam | None = None,
        conv_param_5: ConvParam | None = None,
        conv_param_6: ConvParam | None = None,
        hidden_size: int = 50,
        output_size: int = 10,
        dtype: npt.DTypeLike = np.float64,
        *,
        rng: Any = None,
    ) -> None:
        build = Builder(input_dim, "he", dtype, rng)
        pairs = (
            (conv_param_1 or _conv(16, 3, 1), conv_param_2 or _conv(16, 3, 1)),
            (conv_param_3 or _conv(32, 3, 1), conv_param_4 or _conv(32, 3, 2)),
            (conv_param_5 or _conv(64, 3, 1), conv_param_6 or _conv(64, 3, 1)),
        )
        for pair in pairs:
            for param in pair:
                build.convolution(**param)
                build.relu()
            build.pooling()
        build.affine(hidden_size)
        build.relu()
        build.add("Dropout", Dropout(0.5, rng=build.rng))
        build.affine(output_size)
        build.add("Dropout", Dropout(0.5, rng=build.rng))
        super().__init__(list(build.layers.values()))

"""Fully connected networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Dropout
from ._builder import Builder
from ._network import BookNetwork


class TwoLayerNet(BookNetwork):
    """affine - relu - affine - softmax.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float or str
        Standard deviation of the initial weights, or "he", "relu", "xavier", "sigmoid".
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        Where the initial weights come from; None is NumPy's global generator, as in the book.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float | str = 0.01,
        dtype: npt.DTypeLike = np.float64,
        *,
        rng: Any = None,
    ) -> None:
        build = Builder((input_size,), weight_init_std, dtype, rng)
        build.affine(hidden_size)
        build.relu()
        build.affine(output_size)
        super().__init__(build.layers)
        self.lastLayer = self.last_layer  # the book's spelling in this class


class ThreeLayerNet(BookNetwork):
    """affine - relu - affine - relu - affine - softmax.

    Parameters
    ----------
    input_size, hidden_size_1, hidden_size_2, output_size : int
    weight_init_std, dtype, rng
        As in `TwoLayerNet`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_1: int,
        hidden_size_2: int,
        output_size: int,
        weight_init_std: float | str = 0.01,
        dtype: npt.DTypeLike = np.float64,
        *,
        rng: Any = None,
    ) -> None:
        build = Builder((input_size,), weight_init_std, dtype, rng)
        for size in (hidden_size_1, hidden_size_2):
            build.affine(size)
            build.relu()
        build.affine(output_size)
        super().__init__(build.layers)


class MultiLayerNetExtend(BookNetwork):
    """[affine - (batch normalisation) - activation - (dropout)] for each hidden size, then affine - softmax.

    Parameters
    ----------
    input_size : int
    hidden_size_list : sequence of int
    output_size : int
    activation : {"relu", "sigmoid", "tanh", "leaky_relu"}
    weight_init_std : float or str
        Standard deviation of the initial weights, or "relu", "he", "sigmoid", "xavier".
    weight_decay_lambda : float
        The loss has 0.5 * lambda * sum(W**2) added.
    use_dropout : bool
    dropout_ration : float
        The dropout ratio, in the book's spelling.
    use_batchnorm : bool
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        For the initial weights and the dropout masks; None is NumPy's global generator, as in the book.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0,
        use_dropout: bool = False,
        dropout_ration: float = 0.5,
        use_batchnorm: bool = False,
        dtype: npt.DTypeLike = np.float64,
        *,
        rng: Any = None,
    ) -> None:
        self.input_size, self.output_size = input_size, output_size
        self.hidden_size_list = list(hidden_size_list)
        self.hidden_layer_num = len(self.hidden_size_list)
        self.use_dropout, self.use_batchnorm = use_dropout, use_batchnorm
        build = Builder((input_size,), weight_init_std, dtype, rng)
        for size in self.hidden_size_list:
            build.affine(size)
            if use_batchnorm:
                build.batch_normalization()
            build.activation(activation, "Activation_function")
            if use_dropout:
                build.add("Dropout", Dropout(dropout_ration, rng=build.rng))
        build.affine(output_size)
        super().__init__(build.layers, weight_decay_lambda)


class MultiLayerNet(MultiLayerNetExtend):
    """[affine - activation] for each hidden size, then affine - softmax.

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda, dtype, rng
        As in `MultiLayerNetExtend`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0,
        dtype: npt.DTypeLike = np.float64,
        *,
        rng: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size_list,
            output_size,
            activation,
            weight_init_std,
            weight_decay_lambda,
            dtype=dtype,
            rng=rng,
        )

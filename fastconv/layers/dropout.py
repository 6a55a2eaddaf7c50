"""Dropout layers.

Source: N. Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from .. import ops
from .._check import arguments as arg
from .._device import is_device
from .._random import source
from ._layer import Array, Layer, Saved


class _Ratio:
    """An attribute: a number from 0 to 1, checked when it is set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        return self if layer is None else vars(layer)[self.name]

    def __set__(self, layer: Any, value: float) -> None:
        vars(layer)[self.name] = arg.real(self.name, value, 0, 1)


class Dropout(Layer):
    """Training: elements kept with probability `1 - dropout_ratio`, the others zero. Inference: x * (1 - ratio).

    Parameters
    ----------
    dropout_ratio : float in [0, 1]
    inverted : bool
        True: what is kept is divided by `1 - ratio` while training, and inference changes nothing (PyTorch's rule).
    rng : None, int or numpy.random.Generator
        None draws the mask from NumPy's global generator as the book does, so that `numpy.random.seed` gives the book's
        masks bit for bit. Otherwise a compiled generator draws it, with the same bits on every backend.

    Attributes
    ----------
    mask : ndarray of bool
        True where an element was kept.
    reuse_mask : bool
        True keeps the present mask for following calls of the same shape, as a numerical gradient needs.

    Raises
    ------
    ValueError, TypeError
        If `dropout_ratio` is no number from 0 to 1, here or when it is set later.
    """

    kind = "dropout"
    reads = ("dropout_ratio", "inverted")
    runs_on_cuda = True
    takes_train_flg = True
    dropout_ratio = _Ratio()
    _drop: ClassVar[Callable[..., Any]] = staticmethod(ops.dropout)
    _gradient: ClassVar[Callable[..., Array]] = staticmethod(ops.dropout_backward)

    def __init__(self, dropout_ratio: float = 0.5, *, inverted: bool = False, rng: Any = None) -> None:
        self.dropout_ratio, self.inverted = dropout_ratio, inverted
        self.rng = None if rng is None else source(rng)
        self._own_rng: Any = None
        self.mask: Saved = None
        self.reuse_mask = False

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if not train_flg:
            return x if self.inverted else x * (1.0 - self.dropout_ratio)
        shape = self._mask_shape(x)
        if not (self.reuse_mask and self.mask is not None and self.mask.shape == shape):
            if self.rng is not None or is_device(x):
                y, self.mask = self._drop(x, self.dropout_ratio, self._generator(), inverted=self.inverted)
                return y
            self.mask = source().random(shape) > self.dropout_ratio
        return self.backward(x)

    def _generator(self) -> Any:
        """`rng`; without one, on a device, a generator of the layer's own: NumPy's bits would have to be copied."""
        if self.rng is not None:
            return self.rng
        if self._own_rng is None:
            self._own_rng = source(int(source().randint(2**31)))
        return self._own_rng

    def backward(self, dout: Array) -> Array:
        """dout where the mask kept an element: the operation is its own gradient."""
        return self._gradient(dout, self.mask, self.dropout_ratio, inverted=self.inverted)

    @staticmethod
    def _mask_shape(x: Array) -> tuple[int, ...]:
        return x.shape


class Dropout2d(Dropout):
    """Dropout of whole feature maps: x (N, C, H, W), mask (N, C, 1, 1); inverted by default as in PyTorch.

    Every feature of x (N, features) is a map of its own.

    Source: J. Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def __init__(self, dropout_ratio: float = 0.5, *, inverted: bool = True, rng: Any = None) -> None:
        super().__init__(dropout_ratio, inverted=inverted, rng=rng)

    @staticmethod
    def _drop(x: Array, *args: Any, **options: Any) -> Any:
        return (ops.dropout if x.ndim == 2 else ops.dropout2d)(x, *args, **options)

    @staticmethod
    def _gradient(dout: Array, *args: Any, **options: Any) -> Array:
        return (ops.dropout_backward if dout.ndim == 2 else ops.dropout2d_backward)(dout, *args, **options)

    @staticmethod
    def _mask_shape(x: Array) -> tuple[int, ...]:
        return x.shape if x.ndim == 2 else (*x.shape[:2], 1, 1)

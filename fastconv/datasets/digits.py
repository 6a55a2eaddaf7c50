"""The bundled data set: scikit-learn's copy of the UCI handwritten digits, in MNIST's shape."""

import numpy as np

from .._extras import require
from ._prepare import Split, prepare_split, split

_TEST_IMAGES = 360  # a fifth of 1,797


def load_digits(normalize: bool = True, flatten: bool = True, one_hot_label: bool = False) -> Split:
    """1,797 handwritten digits, brought to MNIST's shape so that every MNIST network takes them.

    The originals are 8x8 with values 0..16. Each pixel is repeated three times in both directions and a
    margin of two zeros goes around: 8*3 + 2*2 = 28, with the strokes as wide and as centred as MNIST's.
    Values become 0..255. The images are shuffled by a fixed seed and split 1,437 to 360.

    Parameters
    ----------
    normalize : bool
        float32 pixels in 0..1; otherwise uint8 in 0..255.
    flatten : bool
        Images as (N, 784); otherwise (N, 1, 28, 28).
    one_hot_label : bool
        Labels as one-hot rows (N, 10); otherwise int64 (N,).

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
    (1998).
    """
    stored = require("sklearn.datasets", "demo", "the bundled digits data set").load_digits()
    pixels = np.rint(stored.images * (255 / 16)).astype(np.uint8)
    images = np.pad(pixels.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))[:, np.newaxis]
    return prepare_split(split(images, stored.target, _TEST_IMAGES), normalize, flatten, one_hot_label)

"""Data sets as NumPy arrays.

Every loader takes the options of the book's ``load_mnist`` and returns what it returns::

    (x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, flatten=True, one_hot_label=False)

=======================  =============================================  =============  ================
loader                   from                                           image          train / test
=======================  =============================================  =============  ================
`load_digits`            scikit-learn's handwritten digits (bundled)    (1, 28, 28)    1,437 / 360
`load_mnist`             IDX files in a folder, or downloaded           (1, 28, 28)    60,000 / 10,000
`load_fashion_mnist`     IDX files in a folder, or downloaded           (1, 28, 28)    60,000 / 10,000
`load_cifar10`           binary or python batches, or downloaded        (3, 32, 32)    50,000 / 10,000
`load_image_folder`      a folder of images, one sub-folder a class     (3, H, W)      80 % / 20 %
`load_arrays`            arrays in memory                               as they are    80 % / 20 %
=======================  =============================================  =============  ================

`ImageFolder`, `open_mnist` and `open_cifar10` read images when they are asked for, `load_image` reads one, `batches`
goes through arrays or any data set in batches that threads prepare, with `transforms`; `validation_split` sets samples
aside.
"""

from . import transforms
from ._batches import Subset, batches, validation_split
from ._image import load_image
from ._image_folder import ImageFolder
from ._prepare import Split, load_arrays, one_hot
from ._stored import StoredImages, open_cifar10, open_mnist
from .augment import random_crop, random_flip
from .cifar import load_cifar10
from .digits import load_digits
from .folder import folder_classes, load_image_folder
from .idx import load_fashion_mnist, load_mnist

__all__ = [
    "ImageFolder",
    "Split",
    "StoredImages",
    "Subset",
    "batches",
    "folder_classes",
    "load_arrays",
    "load_cifar10",
    "load_digits",
    "load_fashion_mnist",
    "load_image",
    "load_image_folder",
    "load_mnist",
    "one_hot",
    "open_cifar10",
    "open_mnist",
    "random_crop",
    "random_flip",
    "transforms",
    "validation_split",
]

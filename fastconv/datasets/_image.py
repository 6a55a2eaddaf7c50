"""Image files into arrays, by Pillow."""

import os
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._check.arguments import pair
from .._extras import require

PathLike = str | os.PathLike[str]


def pillow(purpose: str = "reading an image") -> ModuleType:
    return require("PIL.Image", "data", purpose)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the files that Pillow can read."""
    image = pillow()
    return frozenset(suffix for suffix, name in image.registered_extensions().items() if name in image.OPEN)


def read_picture(path: PathLike, grey: bool = False) -> Any:
    """A file as a Pillow image of mode RGB or L, or F where its numbers are finer than bytes; turned as its EXIF says.

    Transparent parts lie on white: the colour that a file keeps under them is nobody's choice.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file cannot be opened.
    ValueError
        If it is no whole image; the message names it.
    """
    image = pillow()
    turn = require("PIL.ImageOps", "data", "reading an image").exif_transpose
    try:
        with open(path, "rb") as file, image.open(file) as stored:
            stored.load()
            picture = turn(stored)
            return _in_mode(image, picture, grey)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # whatever a broken file makes a decoder raise
        raise ValueError(f"cannot read the image {os.fspath(path)}: {error}") from error


def _in_mode(image: ModuleType, picture: Any, grey: bool) -> Any:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        fine = np.asarray(picture).astype(np.float32) / np.float32(65535)
        if fine.min() < 0 or fine.max() > 1:
            raise ValueError("expected whole numbers of 16 bits")
        return image.fromarray(fine)
    if picture.mode == "F":
        fine = np.asarray(picture)
        if not (fine.min() >= 0 and fine.max() <= 1):
            raise ValueError("expected its floating-point numbers in 0..1")
        return picture.copy()
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = image.new("RGBA", picture.size, "white")
        picture = image.alpha_composite(white, picture)
    return picture.convert("L" if grey else "RGB")


def pixels(picture: Any, grey: bool = False) -> NDArray[Any]:
    """A Pillow image as (C, H, W): uint8, or float32 in 0..1 for mode F."""
    planes = np.asarray(picture)
    if planes.ndim == 2:
        planes = planes[..., None]
    if planes.shape[2] == 1 and not grey:
        planes = planes.repeat(3, axis=2)
    return np.ascontiguousarray(planes.transpose(2, 0, 1))


def unit(planes: NDArray[Any]) -> NDArray[np.float32]:
    """uint8 as float32 in 0..1; floats as they are."""
    return planes.astype(np.float32) / np.float32(255) if planes.dtype == np.uint8 else planes


def load_image(path: PathLike, size: int | tuple[int, int] | None = None, grey: bool = False) -> NDArray[np.float32]:
    """An image file, as a network takes it.

    Parameters
    ----------
    path : path
        Any format that Pillow reads. An image is turned as its EXIF orientation says; transparent parts become white;
        of an animation it is the first frame.
    size : int or (H, W), optional
        Resize to exactly this (bilinear, as Pillow and torchvision do), an int to a square. `transforms.Resize` keeps
        the proportions.
    grey : bool
        One channel in place of red, green and blue.

    Returns
    -------
    ndarray (3, H, W) or (1, H, W), float32
        In 0..1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or no image; the message names it.
    ModuleNotFoundError
        If Pillow is not installed.

    Examples
    --------
    A photo of a digit, dark on light, for a network that was trained on MNIST (light on dark)::

        x = 1 - load_image("seven.jpg", size=(28, 28), grey=True)
        print(net.predict(x[None]).argmax())
    """
    shape = None if size is None else pair("size", size, 1)
    picture = read_picture(path, grey)
    if shape is not None:
        picture = picture.resize(shape[::-1], pillow().Resampling.BILINEAR)
    return unit(pixels(picture, grey))

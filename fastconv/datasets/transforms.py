"""Transforms of images: small callables, (..., C, H, W) in, a new array out.

What torchvision has under the same name gives the same numbers: for uint8 as with its PIL images, for floats as with
its tensors. A random one draws for all leading axes at once. Each takes `rng`: a seed or a Generator of its own; with
None `datasets.batches` gives it one, and a call by hand draws from NumPy's global generator.

Examples
--------
>>> from fastconv.datasets.transforms import CenterCrop, Compose, Normalize, Resize
>>> prepare = Compose([Resize(256), CenterCrop(224), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
>>> prepare(np.zeros((3, 300, 400), np.float32)).shape
(3, 224, 224)
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._check.arguments import pair, real
from .._random import source
from ._image import pillow

__all__ = [
    "CenterCrop",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Transform",
]

Image = NDArray[Any]
Size = int | Sequence[int]
_TRIES = 10  # torchvision's number of boxes drawn before the fallback


def child(rng: Any) -> np.random.Generator:
    """A generator of its own, seeded by another one."""
    return np.random.default_rng(rng.integers(0, 1 << 32, 4))


class Transform:
    """What transforms share. One of your own may be any callable; `fork` matters for random ones alone."""

    def __call__(self, image: Image) -> Image:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def fork(self, rng: np.random.Generator) -> "Transform":
        """The same transform for another thread; a random one gets a generator seeded by its own, or by `rng`."""
        return self


class _Random(Transform):
    def __init__(self, rng: Any) -> None:
        self.rng = None if rng is None else np.random.default_rng(rng)

    def fork(self, rng: np.random.Generator) -> Transform:
        forked = copy.copy(self)
        forked.rng = child(rng if self.rng is None else self.rng)
        return forked

    def _share(self) -> float:
        """A random number in 0..1, without 1."""
        return float(source(self.rng).random())

    def _whole(self, below: int) -> int:
        return int(self._share() * below)

    def _between(self, low: float, high: float) -> float:
        return low + self._share() * (high - low)


class Compose(Transform):
    """One transform after the other.

    Parameters
    ----------
    transforms : iterable of callables
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)
        for i, transform in enumerate(self.transforms):
            if not callable(transform):
                raise TypeError(f"transforms[{i}]: expected a callable, got {transform!r}")

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"

    def fork(self, rng: np.random.Generator) -> Transform:
        return Compose([forked(transform, rng) for transform in self.transforms])


class Resize(Transform):
    """Resize with antialiasing.

    Parameters
    ----------
    size : int or (H, W)
        An int is the shorter side, and the proportions stay; a pair is the size itself.
    interpolation : {"bilinear", "bicubic"}
    """

    def __init__(self, size: Size, interpolation: str = "bilinear") -> None:
        self.size = _size(size)
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation: expected 'bilinear' or 'bicubic', got {interpolation!r}")
        self.interpolation = interpolation

    def __call__(self, image: Image) -> Image:
        height, width = _extent(image)
        if isinstance(self.size, tuple):
            shape = self.size
        else:
            shorter, longer = sorted((height, width))
            long = int(self.size * longer / shorter)
            shape = (self.size, long) if height <= width else (long, self.size)
        return _resized(image, shape, self.interpolation)

    def __repr__(self) -> str:
        more = "" if self.interpolation == "bilinear" else f", {self.interpolation!r}"
        return f"Resize({self.size}{more})"


class CenterCrop(Transform):
    """The middle of an image; what is missing around a smaller one is 0.

    Parameters
    ----------
    size : int or (H, W)
        An int is a square.
    """

    def __init__(self, size: Size) -> None:
        self.size = pair("size", size, 1)

    def __call__(self, image: Image) -> Image:
        extent = _extent(image)
        missing = [max(wanted - present, 0) for wanted, present in zip(self.size, extent, strict=True)]
        if any(missing):
            image = _padded(image, [(m // 2, (m + 1) // 2) for m in missing])
        top, left = (round((present - wanted) / 2) for wanted, present in zip(self.size, image.shape[-2:], strict=True))
        return _cropped(image, (top, left, *self.size))

    def __repr__(self) -> str:
        return f"CenterCrop({self.size})"


class RandomCrop(_Random):
    """A part of an image at a random place.

    Parameters
    ----------
    size : int or (H, W)
        An int is a square.
    padding : int or (vertical, horizontal)
        Zeros around the image before that.
    rng : None, int or numpy.random.Generator
    """

    def __init__(self, size: Size, padding: Size = 0, *, rng: Any = None) -> None:
        super().__init__(rng)
        self.size, self.padding = pair("size", size, 1), pair("padding", padding, 0)

    def __call__(self, image: Image) -> Image:
        _extent(image)
        if any(self.padding):
            image = _padded(image, [(p, p) for p in self.padding])
        height, width = image.shape[-2:]
        h, w = self.size
        if h > height or w > width:
            raise ValueError(f"image: expected at least {self.size} with the padding, got {(height, width)}")
        return _cropped(image, (self._whole(height - h + 1), self._whole(width - w + 1), h, w))

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}{f', padding={self.padding}' if any(self.padding) else ''})"


class RandomResizedCrop(_Random):
    """A part of random area and proportions, resized: the usual augmentation for ImageNet.

    Parameters
    ----------
    size : int or (H, W)
        An int is a square.
    scale : (float, float)
        Bounds of the part's share of the area.
    ratio : (float, float)
        Bounds of its width divided by its height.
    interpolation : {"bilinear", "bicubic"}
    rng : None, int or numpy.random.Generator

    Notes
    -----
    Source: C. Szegedy et al., Going Deeper with Convolutions, 2015.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        *,
        rng: Any = None,
    ) -> None:
        super().__init__(rng)
        self.size = pair("size", size, 1)
        self.scale, self.ratio = _bounds("scale", scale, 1.0), _bounds("ratio", ratio, math.inf)
        self.interpolation = Resize(size, interpolation).interpolation

    def __call__(self, image: Image) -> Image:
        return _resized(_cropped(image, self.box(*_extent(image))), self.size, self.interpolation)

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw the part of an image of this size: (top, left, height, width)."""
        for _ in range(_TRIES):
            area = height * width * self._between(*self.scale)
            aspect = math.exp(self._between(*map(math.log, self.ratio)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                return self._whole(height - h + 1), self._whole(width - w + 1), h, w
        low, high = self.ratio
        w, h = width, height
        if width / height < low:
            h = max(min(round(width / low), height), 1)
        elif width / height > high:
            w = max(min(round(height * high), width), 1)
        return (height - h) // 2, (width - w) // 2, h, w

    def __repr__(self) -> str:
        return f"RandomResizedCrop({self.size}, scale={self.scale}, ratio={_rounded(self.ratio)})"


class RandomHorizontalFlip(_Random):
    """Mirror an image left to right with probability `p`."""

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        super().__init__(rng)
        self.p = real("p", p, 0, 1)

    def __call__(self, image: Image) -> Image:
        _extent(image)
        return np.ascontiguousarray(image[..., ::-1]) if self._share() < self.p else image.copy()

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip({self.p})"


class Normalize(Transform):
    """(image - mean) / std for each channel.

    Parameters
    ----------
    mean, std : sequence of float, one for each channel, or float
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = _channels("mean", mean), _channels("std", std)
        if 0 in self.std:
            raise ValueError(f"std: expected numbers other than 0, got {std!r}")

    def __call__(self, image: Image) -> Image:
        _extent(image)
        if image.dtype.kind != "f":
            raise TypeError(f"image: expected floats (0..1 as load_image gives them), got {image.dtype}")
        mean, std = (np.array(numbers, image.dtype)[:, None, None] for numbers in (self.mean, self.std))
        if image.ndim < 3 or any(len(numbers) not in (1, image.shape[-3]) for numbers in (mean, std)):
            raise ValueError(f"image: expected (..., {max(len(mean), len(std))}, H, W), got shape {image.shape}")
        return (image - mean) / std

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


def forked(transform: Any, rng: np.random.Generator) -> Any:
    """A transform or data set for another thread: its own `fork`, where it has one."""
    return transform.fork(rng) if hasattr(transform, "fork") else transform


def _extent(image: Any) -> tuple[int, int]:
    """Height and width."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image: expected an ndarray (..., C, H, W), got {type(image).__name__}")
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ValueError(f"image: expected (..., C, H, W) with some pixels, got shape {image.shape}")
    return image.shape[-2], image.shape[-1]


def _resized(image: Image, shape: tuple[int, int], interpolation: str) -> Image:
    """Plane by plane: Pillow knows no other floats than single ones of one channel."""
    if shape == image.shape[-2:]:
        return image.copy()
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise TypeError(f"image: expected uint8 or floats, got {image.dtype}")
    pil = pillow("resizing an image")
    filtered = pil.Resampling[interpolation.upper()]
    stored = np.uint8 if image.dtype == np.uint8 else np.float32
    planes = np.ascontiguousarray(image, stored).reshape(-1, *image.shape[-2:])
    resized = np.empty((len(planes), *shape), image.dtype)
    for plane, result in zip(planes, resized, strict=True):
        result[...] = np.asarray(pil.fromarray(plane).resize(shape[::-1], filtered))
    return resized.reshape(*image.shape[:-2], *shape)


def _padded(image: Image, widths: list[tuple[int, int]]) -> Image:
    return np.pad(image, [(0, 0)] * (image.ndim - 2) + widths)


def _cropped(image: Image, box: tuple[int, int, int, int]) -> Image:
    top, left, height, width = box
    return image[..., top : top + height, left : left + width].copy()


def _size(size: Size) -> int | tuple[int, int]:
    """As `Resize` takes it: an int stays one."""
    both = pair("size", size, 1)
    return both if isinstance(size, (Sequence, np.ndarray)) else both[0]


def _bounds(name: str, given: Any, most: float) -> tuple[float, float]:
    if not isinstance(given, Sequence) or len(given) != 2:
        raise ValueError(f"{name}: expected two numbers, got {given!r}")
    low, high = (real(name, number, 0, most) for number in given)
    if not 0 < low <= high < math.inf:
        raise ValueError(f"{name}: expected two numbers above 0, the lower one first, got {given!r}")
    return low, high


def _channels(name: str, given: Any) -> tuple[float, ...]:
    numbers = given if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str) else (given,)
    if len(numbers) == 0:
        raise ValueError(f"{name}: expected a number for each channel, got none")
    return tuple(real(name, number) for number in numbers)


def _rounded(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(number, 4) for number in numbers)

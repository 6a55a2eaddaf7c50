"""Device arrays: views and a little arithmetic, copies to and from the host, tables that stay on the device."""

import math
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..._problem import arithmetic
from .elements import Elements
from .kernels import EACH, WIDTH, Family, capture, copying, family, stream
from .pool import Block
from .shim import NumbaArray, card_of, cuda, cuda_array, interface
from .sweeps import sweep


class DeviceArray:
    """A dense array on the device, as operations on device arrays return it.

    It has ``__cuda_array_interface__``: ``cupy.asarray(a)``, ``torch.as_tensor(a)`` and ``numba.cuda.as_cuda_array(a)``
    share its memory. `copy_to_host` gives an ndarray. There is little arithmetic beyond the library's operations:
    scaling, sums of two arrays, views of whole images.
    """

    __slots__ = ("block", "dtype", "family", "flat", "given", "shape")

    def __init__(
        self, flat: Any, shape: tuple[int, ...], dtype: np.dtype, block: Any, family: str = "cuda", given: Any = None
    ) -> None:
        self.flat, self.shape, self.dtype, self.block = flat, shape, dtype, block
        self.family, self.given = family, given  # whose memory it is: another library's, and its array

    def own(self) -> "DeviceArray":
        """The same as an array of fastconv's family."""
        return self if self.family == "cuda" else DeviceArray(self.flat, self.shape, self.dtype, self.block)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    flags = SimpleNamespace(c_contiguous=True, aligned=True, writeable=True)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**interface(self.flat), "shape": self.shape, "strides": None, "typestr": self.dtype.str}

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.dtype} array of shape {self.shape} on the CUDA device>"

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("the array is on the CUDA device: fastconv.to_host(a) copies it")

    def copy_to_host(self) -> np.ndarray:
        """An ndarray with the same numbers; waits for the device."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        _refuse_in_capture("to")
        numbers = self.flat.copy_to_host(stream=stream.get())
        if stream.get():
            stream.get().synchronize()
        return numbers.reshape(self.shape)

    def __float__(self) -> float:
        return float(self.copy_to_host().item())

    def reshape(self, *shape: Any) -> "DeviceArray":
        """The same memory in another shape; one size may be -1."""
        sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else list(shape)
        if -1 in sizes:
            rest = -math.prod(sizes)
            sizes[sizes.index(-1)] = self.size // rest if rest else 0
        if math.prod(sizes) != self.size:
            raise ValueError(f"cannot reshape an array of shape {self.shape} into {tuple(shape)}")
        return DeviceArray(self.flat, tuple(sizes), self.dtype, self.block, self.family)

    def __getitem__(self, key: Any) -> "DeviceArray":
        """Along the first axis: one item, a slice without steps, or the items that an array of whole numbers names (on
        the device, where they are not looked at, int64); None adds an axis in front."""
        if isinstance(key, (np.ndarray, DeviceArray)):
            return self._items(key)
        if key is None:
            return self.reshape(1, *self.shape)
        first, end = (key, key + 1) if isinstance(key, int) else key.indices(len(self))[:2]
        if not isinstance(key, int) and key.step not in (None, 1):
            raise IndexError(f"a device array takes slices without steps, got {key}")
        if not 0 <= first < max(len(self), 1) + (not isinstance(key, int)):
            raise IndexError(f"index {key} is outside of the {len(self)} items")
        step = math.prod(self.shape[1:])
        count = max(end - first, 0)
        rest = self.shape[1:] if isinstance(key, int) else (count, *self.shape[1:])
        part = self.flat[first * step : (first + count) * step] if count * step else self.flat
        return DeviceArray(part, rest, self.dtype, self.block, self.family)

    def _items(self, key: Any) -> "DeviceArray":
        out = empty((len(key), *self.shape[1:]), self.dtype)
        row = math.prod(self.shape[1:])
        places = key if isinstance(key, DeviceArray) else copied(self._checked(key).astype(np.int64))
        takes[self.dtype].each(np.float32, out.size, flat(out), flat(self), flat(places), out.size, row)
        return out

    def _checked(self, key: np.ndarray) -> np.ndarray:
        if key.dtype.kind not in "iu" or key.ndim != 1 or (key.size and not 0 <= key.min() <= key.max() < len(self)):
            raise IndexError(f"expected whole numbers from 0 to {len(self) - 1} in one dimension, got {key}")
        return key

    def __setitem__(self, key: Any, value: "DeviceArray") -> None:
        if key is not Ellipsis or value.shape != self.shape:
            raise IndexError("a device array can be overwritten as a whole: a[...] = b, of the same shape")
        _cast(self, value)

    def astype(self, dtype: Any, copy: bool = True) -> "DeviceArray":
        """A copy in another float type, or the array itself where `copy` is False and the type the same."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        out = empty(self.shape, dtype)
        _cast(out, self)
        return out

    def copy(self) -> "DeviceArray":
        return self.astype(self.dtype)

    def __mul__(self, factor: float) -> "DeviceArray":
        return self._combined(self, factor, 0.0)

    __rmul__ = __mul__

    def __neg__(self) -> "DeviceArray":
        return self * -1.0

    def __add__(self, other: "DeviceArray") -> "DeviceArray":
        return self._combined(other, 1.0, 1.0)

    def __sub__(self, other: "DeviceArray") -> "DeviceArray":
        return self._combined(other, 1.0, -1.0)

    def _combined(self, other: "DeviceArray", a: float, b: float) -> "DeviceArray":
        T = arithmetic(self.dtype).type
        out = empty(self.shape, self.dtype)
        combine.vectors(self.dtype, self.size, flat(out), flat(self), flat(other), T(a), T(b), self.size)
        return out


@family("S[] S[] S[] T T i")
def combine(E: Elements) -> Any:
    """a*x + b*y; without y where b is 0."""
    T = E.T
    run = sweep(E, 2, lambda x, y, state, by: by[0] * x if by[1] == T(0) else by[0] * x + by[1] * y)

    def kernel(out, x, y, a, b, count):
        run(out, x, y, (a, b), count)

    return kernel


def _casting(letter: str) -> Family:
    def make(E):
        def kernel(out, x, count):
            first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
            for e in range(EACH):
                i = first + e * WIDTH
                if i < count:
                    out[i] = x[i]

        return kernel

    return Family(f"_cuda.cast_{letter}", make, f"S[] {letter}[] i")


def _taking(letter: str) -> Family:
    def make(E):
        def kernel(out, x, places, count, row):
            first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
            for e in range(EACH):
                i = first + e * WIDTH
                if i < count:
                    out[i] = x[places[i // row] * row + i % row]

        return kernel

    return Family(f"_cuda.take_{letter}", make, f"{letter}[] {letter}[] i[] i i", stored=(np.float32,))


takes = {np.dtype(name): _taking(letter) for name, letter in (("f2", "h"), ("f4", "s"), ("f8", "d"), ("i8", "i"))}
_casts = {np.dtype(name): _casting(letter) for name, letter in (("f2", "h"), ("f4", "s"), ("f8", "d"))}


def _cast(out: DeviceArray, x: DeviceArray) -> None:
    if x.dtype not in _casts or out.dtype not in _casts:
        raise TypeError(f"expected float16, float32 or float64 on the device, got {x.dtype} (for {out.dtype})")
    _casts[x.dtype].each(out.dtype, x.size, flat(out), flat(x), x.size)


def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """An array with the pool's memory, not initialised."""
    dtype, count = np.dtype(dtype), math.prod(shape)
    block = Block(count * dtype.itemsize)
    return DeviceArray(block.view(max(count, 1), dtype), tuple(shape), dtype, block)


def copied(a: np.ndarray) -> DeviceArray:
    """A copy of an ndarray."""
    _refuse_in_capture("from")
    out = empty(a.shape, a.dtype)
    if a.size:
        out.flat.copy_to_device(np.ascontiguousarray(a).reshape(-1), stream=copying())
    return out


def _refuse_in_capture(direction: str) -> None:
    if capture.get() is not None:
        capture.get().refuse(f"it copies {direction} the host")


def numba_stream(given: Any) -> Any:
    """Numba's stream for its own, CuPy's, PyTorch's, or the address of one."""
    if isinstance(given, int):
        return cuda.external_stream(given)
    for name in ("cuda_stream", "ptr"):
        if isinstance(getattr(given, name, None), int):
            return cuda.external_stream(getattr(given, name))
    return given


def taken(a: Any, family: str = "cuda", theirs: int | None = None) -> DeviceArray:
    """Anything with ``__cuda_array_interface__``, sharing its memory. ValueError where it is not dense, or elsewhere.

    theirs: the address of the stream that works on it; where there is none, Numba waits for what the array names.
    """
    if isinstance(a, DeviceArray):
        return a
    of_a = a.__cuda_array_interface__
    shape, dtype = tuple(of_a["shape"]), np.dtype(of_a["typestr"])
    dense = tuple(dtype.itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape)))
    if of_a.get("strides") not in (None, dense) and math.prod(shape):
        raise ValueError("expected a dense (C-contiguous) device array: copy it first")
    if math.prod(shape) and _several_cards():
        _refuse_other_cards(of_a["data"][0])
    if theirs is not None:
        _in_order(theirs, _address(stream.get()))
    numbers = cuda_array(a, sync=theirs is None).reshape(math.prod(shape))
    return DeviceArray(numbers, shape, dtype, a, family, a if family != "cuda" else None)


@cache
def _several_cards() -> bool:
    return len(cuda.gpus) > 1


def _refuse_other_cards(address: int) -> None:
    here, there = cuda.get_current_device().id, card_of(address)
    if here != there:
        raise ValueError(
            f"expected an array on CUDA device {here}, where fastconv computes, got one on device {there}: copy it, "
            f"or start the program with CUDA_VISIBLE_DEVICES={there}"
        )


def let_wait(theirs: int | None) -> None:
    """Another library's stream waits for what was launched to ours."""
    if theirs is not None:
        _in_order(_address(stream.get()), theirs)


def _in_order(first: int, then: int) -> None:
    """What is launched to the stream `then` from now on waits for what the stream `first` has to do."""
    if first != then:
        event = _event()
        event.record(numba_stream(first))
        event.wait(numba_stream(then))


@cache
def _event() -> Any:
    return cuda.event()


def _address(ours: Any) -> int:
    return int(ours.handle) if ours else 0


def flat(a: Any) -> Any:
    """A dense device array as Numba's one-dimensional one of the same numbers."""
    return a if isinstance(a, NumbaArray) else a.flat


def size(a: Any) -> int:
    """The number of elements."""
    return math.prod(a.shape)


def scratch(count: int, dtype: Any) -> DeviceArray:
    """Uninitialised numbers for a kernel's own use."""
    return empty((count,), dtype)


@lru_cache(maxsize=256)
def filled(count: int, value: float, dtype: np.dtype) -> DeviceArray:
    """`count` times the same number, kept for the next call."""
    return DeviceArray(cuda.to_device(np.full(count, value, dtype)), (count,), dtype, None)


@lru_cache(maxsize=1024)
def table(numbers: tuple[int, ...]) -> Any:
    """Whole numbers on the device, kept there for the next call with the same ones."""
    return cuda.to_device(np.array(numbers or (0,), np.int64))


@lru_cache(maxsize=8)
def nothing(dtype: Any) -> Any:
    """An array of one number, in the place of one that is not given."""
    return cuda.to_device(np.zeros(1, dtype))


def entry(*results: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An entry point of the table, which takes device arrays and NumPy arrays alike.

    NumPy arrays, also in lists, are copied to the device; those named in `results` are copied back.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = list(signature(function).parameters)
        written = [names.index(name) for name in results]

        @wraps(function)
        def call(*args: Any) -> Any:
            if not any(_on_host(a) for a in args):
                return function(*args)
            staged = [_staged(a) for a in args]
            value = function(*staged)
            for i in written:
                _bring_back(args[i], staged[i])
            return value

        return call

    return decorate


def _on_host(a: Any) -> bool:
    return isinstance(a, np.ndarray) or (isinstance(a, list) and any(isinstance(item, np.ndarray) for item in a))


def _staged(a: Any) -> Any:
    if isinstance(a, list):
        return [_staged(item) for item in a]
    return copied(a) if isinstance(a, np.ndarray) else a


def _bring_back(given: Any, staged: Any) -> None:
    if isinstance(given, list):
        for host, device in zip(given, staged, strict=True):
            _bring_back(host, device)
    elif given is not None and given.size:
        given[...] = staged.copy_to_host()

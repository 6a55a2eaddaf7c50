"""Arrays as users pass them. A printed snippet begins with the functions of this file that it needs."""

import numpy as np

import fastconv as fc


def numbers(shape, dtype="f4", seed=0, low=-2.0, high=2.0):
    """The numbers that a seed gives."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def fortran(a):
    """The same numbers in Fortran's order."""
    return np.asfortranarray(a)


def backwards(a):
    """The same numbers behind negative strides with gaps."""
    a = np.asarray(a)
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) if a.ndim else np.zeros(2, a.dtype)
    view = wide[..., ::-2] if a.ndim else wide[1:].reshape(())
    view[...] = a
    return view


def swapped(a):
    """The same numbers in the other byte order."""
    return np.asarray(a).astype(np.asarray(a).dtype.newbyteorder("S"))


def misaligned(a):
    """The same numbers at an odd address."""
    a = np.asarray(a)
    if a.dtype.hasobject:  # NumPy refuses to place references by hand
        return a
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def frozen(a):
    """The same numbers, read-only."""
    a = np.array(a)
    a.flags.writeable = False
    return a


def listed(a):
    """The same numbers as lists."""
    return np.asarray(a).tolist()


def batch_norm_and_backward(dout, *args, **kwargs):
    """`batch_norm`, and its gradients through the cache that it returns."""
    y, cache = fc.batch_norm(*args, **kwargs)
    return y, *fc.batch_norm_backward(dout, cache)

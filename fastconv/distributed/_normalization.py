"""Batch normalisation with the statistics of all processes' samples.

With n_k values of a channel on process k, of the mean m_k and the variance v_k, and n = sum n_k:

    mean = sum n_k m_k / n,    var = sum n_k (v_k + (m_k - mean)^2) / n

One message carries (n_k, m_k, v_k) forward, one the sums of the gradients backward. Both are added in the order of the
processes, in double: all of them get the same bits.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import ops
from ..ops.batch_norm import Cache
from ._mpi import own


@dataclass(slots=True)
class SharedCache(Cache):
    """The cache of an inference with the common statistics, and the number of values that they are of."""

    count: float = 0.0


class Across:
    """What a layer's `across` is: its statistics are of all processes of a communicator."""

    def __init__(self, comm: Any) -> None:
        self._comm = own(comm).Dup()  # a process without samples sends its other messages in another order

    def __reduce__(self) -> Any:
        return type(None), ()  # a copy of a network belongs to no communicator

    def forward(self, x: Any, gamma: Any, beta: Any, eps: float, activation: str | None = None) -> Any:
        """y, its cache, the common mean and (biased) variance, and the number of values of a channel."""
        count, mean, var = self._combined(x, eps)
        dtype = np.result_type(x.dtype, np.float32)
        there = mean.astype(dtype), var.astype(dtype)
        y, cache = ops.batch_norm(x, gamma, beta, *there, False, eps=eps, activation=activation)
        kept = {field.name: getattr(cache, field.name) for field in fields(Cache)}
        return y, SharedCache(**kept, count=count), mean, var, count

    def _combined(self, x: Any, eps: float) -> tuple[float, Any, Any]:
        C = x.shape[1]
        n = x.size // C
        mine = np.zeros(1 + 2 * C)
        mine[0] = n
        if n == 1:
            mine[1 : 1 + C] = x.reshape(C)
        elif n:
            dtype = np.result_type(x.dtype, np.float32)
            mean, var = np.zeros(C, dtype), np.zeros(C, dtype)
            ops.batch_norm(x, None, None, mean, var, True, momentum=1.0, eps=eps, unbiased=False)
            mine[1 : 1 + C], mine[1 + C :] = mean, var
        everyone = np.empty((self._comm.size, 1 + 2 * C))
        self._comm.Allgather(mine, everyone)
        counts, means, variances = everyone[:, :1], everyone[:, 1 : 1 + C], everyone[:, 1 + C :]
        present = counts[:, 0] > 0  # NaN of a process counts, what an empty one has does not
        counts, means, variances = counts[present], means[present], variances[present]
        total = float(counts.sum())
        if not total:
            return 0.0, np.zeros(C), np.zeros(C)
        mean = (counts * means).sum(axis=0) / total
        return total, mean, (counts * (variances + (means - mean) ** 2)).sum(axis=0) / total

    def backward(self, dout: Any, cache: Any) -> Any:
        """dx of the whole batch's loss; dgamma and dbeta of this process's samples."""
        dx, dgamma, dbeta = ops.batch_norm_backward(dout, cache)
        if not isinstance(cache, SharedCache):  # an inference
            return dx, dgamma, dbeta
        # dx = gamma s dout so far; - gamma s (sum dout / n + x_hat sum(dout x_hat) / n) is missing
        C = cache.mean.size
        dense = np.float64
        if dgamma is None or dbeta is None:
            own_gamma, own_beta = _sums(dout, cache)
        else:
            own_gamma, own_beta = dgamma, dbeta
        everyone = np.empty((self._comm.size, 2 * C))
        self._comm.Allgather(np.concatenate([own_gamma, own_beta]).astype(dense), everyone)
        total = everyone.sum(axis=0) / cache.count
        inv_std, mean = cache.inv_std.astype(dense), cache.mean.astype(dense)
        scale = inv_std if cache.gamma is None else inv_std * cache.gamma.reshape(-1)
        slope = -scale * inv_std * total[:C]
        offset = -scale * total[C:] - slope * mean
        shape = (C,) + (1,) * (dx.ndim - 2)
        dx += cache.x.reshape(dx.shape) * slope.astype(dx.dtype).reshape(shape)
        dx += offset.astype(dx.dtype).reshape(shape)
        return dx, dgamma, dbeta


def _sums(dout: Any, cache: Any) -> tuple[Any, Any]:
    """The sums of dout times the normalised x, and of dout, where a layer has no gamma or beta."""
    shape = (-1,) + (1,) * (dout.ndim - 2)
    axes = (0, *range(2, dout.ndim))
    x_hat = (cache.x.reshape(dout.shape) - cache.mean.reshape(shape)) * cache.inv_std.reshape(shape)
    return (dout * x_hat).sum(axis=axes, dtype=np.float64), dout.sum(axis=axes, dtype=np.float64)

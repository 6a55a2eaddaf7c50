"""im2col and col2im on Numba; the layouts are in ref.py."""

from numba import prange

from .._numba.jit import inline, kernel, share, workers_for

NANOSECONDS = 0.7  # that one thread needs for an element of col


@inline
def inside(start, extent, taps):
    """(first, last): the taps of a window at `start` that do not lie in the padding of an axis of `extent`."""
    return max(0, -start), min(taps, extent - start)


@kernel
def _im2col(workers, out, x, stride_h, stride_w, top, left):
    N, C, H, W = x.shape
    OH, OW, FH, FW = out.shape[1], out.shape[2], out.shape[4], out.shape[5]
    for worker in prange(workers):
        begin, end = share(worker, workers, N * OH)
        for row in range(begin, end):
            n, i = row // OH, row % OH
            first_u, last_u = inside(i * stride_h - top, H, FH)
            for j in range(OW):
                start = j * stride_w - left
                first_v, last_v = inside(start, W, FW)
                whole = last_u - first_u == FH and last_v - first_v == FW
                for c in range(C):
                    window = out[n, i, j, c]
                    if not whole:
                        window[:] = 0
                    for u in range(first_u, last_u):
                        source, result = x[n, c, i * stride_h - top + u], window[u]
                        for v in range(first_v, last_v):
                            result[v] = source[start + v]


@kernel
def _col2im(workers, out, col, stride_h, stride_w, top, left):
    N, C, H, W = out.shape
    OH, OW, FH, FW = col.shape[1], col.shape[2], col.shape[4], col.shape[5]
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            n, c = plane // C, plane % C
            image = out[n, c]
            image[:] = 0
            for i in range(OH):
                first_u, last_u = inside(i * stride_h - top, H, FH)
                for j in range(OW):
                    start = j * stride_w - left
                    first_v, last_v = inside(start, W, FW)
                    window = col[n, i, j, c]
                    for u in range(first_u, last_u):
                        source, result = window[u], image[i * stride_h - top + u]
                        for v in range(first_v, last_v):
                            result[start + v] += source[v]


def _windows(col, p):
    return col.reshape(p.N, p.OH, p.OW, p.C, p.FH, p.FW)


def im2col(out, x, p):
    workers = workers_for(NANOSECONDS * out.size)
    _im2col(workers, _windows(out, p), x, p.stride_h, p.stride_w, p.pad_top, p.pad_left)


def col2im(out, col, p):
    workers = workers_for(NANOSECONDS * col.size)
    _col2im(workers, out, _windows(col, p), p.stride_h, p.stride_w, p.pad_top, p.pad_left)


@kernel
def _im2col_planes(workers, out, x, stride_h, stride_w, top, left):
    N, C, H, W, R = x.shape
    FH, FW, OH, OW = out.shape[2:6]
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C * FH)
        for task in range(begin, end):
            n, c, u = task // (C * FH), task // FH % C, task % FH
            for v in range(FW):
                for i in range(OH):
                    result, y = out[n, c, u, v, i], i * stride_h + u - top
                    for j in range(OW):
                        at = j * stride_w + v - left
                        if 0 <= y < H and 0 <= at < W:
                            for r in range(R):
                                result[j, r] = x[n, c, y, at, r]
                        else:
                            for r in range(R):
                                result[j, r] = 0


@kernel
def _col2im_planes(workers, out, col, stride_h, stride_w, top, left):
    N, C, H, W, R = out.shape
    FH, FW, OH, OW = col.shape[2:6]
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            n, c = plane // C, plane % C
            image = out[n, c]
            image[:] = 0
            for u in range(FH):
                for v in range(FW):
                    for i in range(OH):
                        source, y = col[n, c, u, v, i], i * stride_h + u - top
                        if 0 <= y < H:
                            for j in range(OW):
                                at = j * stride_w + v - left
                                if 0 <= at < W:
                                    for r in range(R):
                                        image[y, at, r] += source[j, r]


def _planes(col, p):
    """col as a view (N, C, FH, FW, OH, OW, run)."""
    if p.images_first:
        return col.reshape(p.N, p.C, p.FH, p.FW, p.OH, p.OW, p.run)
    return col.reshape(p.C, p.FH, p.FW, p.N, p.OH, p.OW, p.run).transpose(3, 0, 1, 2, 4, 5, 6)


def im2col_planes(out, x, p):
    workers = workers_for(NANOSECONDS * out.size)
    images = x.reshape(*p.x_shape, p.run)
    _im2col_planes(workers, _planes(out, p), images, p.stride_h, p.stride_w, p.pad_top, p.pad_left)


def col2im_planes(out, col, p):
    workers = workers_for(NANOSECONDS * col.size)
    images = out.reshape(*p.x_shape, p.run)
    _col2im_planes(workers, images, _planes(col, p), p.stride_h, p.stride_w, p.pad_top, p.pad_left)


@kernel
def _interchange(workers, out, x):
    N, A, B = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N * B)
        for row in range(begin, end):
            n, b = row // B, row % B
            result = out[n, b]
            for a in range(A):
                result[a] = x[n, a, b]


def interchange(out, x, p):
    """(N, A, B) becomes (N, B, A)."""
    _interchange(workers_for(NANOSECONDS * x.size), out.reshape(p.N, p.B, p.A), x.reshape(p.N, p.A, p.B))

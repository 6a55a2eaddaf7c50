"""im2col and col2im in CUDA: a thread for each number of the result, so that nothing is added by two at once."""

from typing import Any, NamedTuple

from ..._problem import Interchange, Planes, Window
from .._cuda.arrays import entry, flat
from .._cuda.elements import Elements
from .._cuda.kernels import EACH, WIDTH, family
from .._cuda.shim import cuda, require

require()


class Sizes(NamedTuple):
    """Those of a Problem, by its names."""

    C: int
    H: int
    W: int
    FH: int
    FW: int
    OH: int
    OW: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    dilation_h: int
    dilation_w: int


def _sizes(p: Window) -> Sizes:
    return Sizes(*(getattr(p, name) for name in Sizes._fields))


@family("S[] S[] i g", sizes=Sizes)
def windows(E: Elements) -> Any:
    """Row (n*OH + i)*OW + j, column (c*FH + u)*FW + v of col: a pixel, or a zero in the padding."""
    T, load, store = E.T, E.load, E.store

    def kernel(col, x, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        columns = g.C * g.FH * g.FW
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                row = at // columns
                tap = at - row * columns
                c = tap // (g.FH * g.FW)
                uv = tap - c * g.FH * g.FW
                n = row // (g.OH * g.OW)
                ij = row - n * g.OH * g.OW
                y = ij // g.OW * g.stride_h + uv // g.FW * g.dilation_h - g.pad_top
                x_at = ij % g.OW * g.stride_w + uv % g.FW * g.dilation_w - g.pad_left
                inside = y >= 0 and y < g.H and x_at >= 0 and x_at < g.W
                store(col, at, load(x, ((n * g.C + c) * g.H + y) * g.W + x_at) if inside else T(0))

    return kernel


@family("S[] S[] i g", sizes=Sizes)
def pixels(E: Elements) -> Any:
    """Each pixel: the sum over the taps under which a window holds it."""
    T, load, store = E.T, E.load, E.store

    def kernel(images, col, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                plane = at // (g.H * g.W)
                n = plane // g.C
                c = plane - n * g.C
                y = (at - plane * g.H * g.W) // g.W + g.pad_top
                x_at = at % g.W + g.pad_left
                total = T(0)
                for up in range(g.FH):
                    i = y - up * g.dilation_h
                    if i >= 0 and i % g.stride_h == 0 and i // g.stride_h < g.OH:
                        for v in range(g.FW):
                            j = x_at - v * g.dilation_w
                            if j >= 0 and j % g.stride_w == 0 and j // g.stride_w < g.OW:
                                row = (n * g.OH + i // g.stride_h) * g.OW + j // g.stride_w
                                total += load(col, ((row * g.C + c) * g.FH + up) * g.FW + v)
                store(images, at, total)

    return kernel


@entry("out")
def im2col(out: Any, x: Any, p: Window) -> None:
    count = p.N * p.OH * p.OW * p.C * p.FH * p.FW
    windows.each(p.dtype, count, flat(out), flat(x), count, _sizes(p))


@entry("out")
def col2im(out: Any, col: Any, p: Window) -> None:
    count = p.N * p.C * p.H * p.W
    pixels.each(p.dtype, count, flat(out), flat(col), count, _sizes(p))


class PlanesSizes(NamedTuple):
    """Those of a Problem, by its names, and the steps in col from one image, and from one channel, to the next."""

    C: int
    H: int
    W: int
    FH: int
    FW: int
    OH: int
    OW: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    dilation_h: int
    dilation_w: int
    N: int
    run: int
    image: int
    channel: int
    tap: int


def _plane_sizes(p: Planes) -> PlanesSizes:
    """The tap's step follows from the order: image, channel, tap, or channel, tap, image."""
    plane, taps = p.OH * p.OW * p.run, p.FH * p.FW
    tap = plane if p.images_first else p.N * plane
    image = p.C * taps * plane if p.images_first else plane
    return PlanesSizes(*_sizes(p), p.N, p.run, image, taps * tap, tap)


@family("S[] S[] i g", sizes=PlanesSizes)
def planes(E: Elements) -> Any:
    """A thread for each number of col, in the order (n, c, u, v, i, j, r)."""
    T, load, store = E.T, E.load, E.store

    def kernel(col, x, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        plane = g.OH * g.OW * g.run
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                nct = at // plane
                within = at - nct * plane
                nc = nct // (g.FH * g.FW)
                uv = nct - nc * g.FH * g.FW
                n = nc // g.C
                ij = within // g.run
                y = ij // g.OW * g.stride_h + uv // g.FW * g.dilation_h - g.pad_top
                x_at = ij % g.OW * g.stride_w + uv % g.FW * g.dilation_w - g.pad_left
                inside = y >= 0 and y < g.H and x_at >= 0 and x_at < g.W
                to = n * g.image + (nc - n * g.C) * g.channel + uv * g.tap + within
                r = within - ij * g.run
                store(col, to, load(x, ((nc * g.H + y) * g.W + x_at) * g.run + r) if inside else T(0))

    return kernel


@family("S[] S[] i g", sizes=PlanesSizes)
def plane_pixels(E: Elements) -> Any:
    """Each number of the images: the sum over the taps under which a window holds it."""
    T, load, store = E.T, E.load, E.store

    def kernel(images, col, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        row = g.W * g.run
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                nc = at // (g.H * row)
                n = nc // g.C
                h = at // row
                y = h - nc * g.H + g.pad_top
                x_at = (at - h * row) // g.run + g.pad_left
                r = at % g.run
                start = n * g.image + (nc - n * g.C) * g.channel + r
                total = T(0)
                for up in range(g.FH):
                    i = y - up * g.dilation_h
                    if i >= 0 and i % g.stride_h == 0 and i // g.stride_h < g.OH:
                        for v in range(g.FW):
                            j = x_at - v * g.dilation_w
                            if j >= 0 and j % g.stride_w == 0 and j // g.stride_w < g.OW:
                                window = i // g.stride_h * g.OW + j // g.stride_w
                                total += load(col, start + (up * g.FW + v) * g.tap + window * g.run)
                store(images, at, total)

    return kernel


@entry("out")
def im2col_planes(out: Any, x: Any, p: Planes) -> None:
    count = p.N * p.OH * p.OW * p.C * p.FH * p.FW * p.run
    planes.each(p.dtype, count, flat(out), flat(x), count, _plane_sizes(p))


@entry("out")
def col2im_planes(out: Any, col: Any, p: Planes) -> None:
    count = p.N * p.C * p.H * p.W * p.run
    plane_pixels.each(p.dtype, count, flat(out), flat(col), count, _plane_sizes(p))


@family("S[] S[] i i i")
def interchanged(E: Elements) -> Any:
    """(N, A, B) becomes (N, B, A)."""
    load, store = E.load, E.store

    def kernel(out, x, count, A, B):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            row = i // A
            n = row // B
            store(out, i, load(x, (n * A + i - row * A) * B + row - n * B))

    return kernel


@entry("out")
def interchange(out: Any, x: Any, p: Interchange) -> None:
    count = p.N * p.A * p.B
    if count:
        interchanged.launch(p.dtype, -(-count // WIDTH), WIDTH, flat(out), flat(x), count, p.A, p.B)

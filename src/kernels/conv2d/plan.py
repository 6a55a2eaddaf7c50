"""Which taps of a filter meet which pixels, as tables of whole numbers for the CUDA kernels.

The forward's windows all meet the same taps. In backward-data with a stride, the pixels of dx fall into classes by
their place between the windows, and each class meets its own taps.
"""

from functools import lru_cache
from typing import NamedTuple

from ..._problem import Conv2d, Window

BITS = 6
MOST = (1 << BITS) - 1  # number of a shift that no filter has: a tap with it is never inside

# What the tables say of a class, by position: its pixels (HEIGHT x WIDTH, written from FIRST_ROW, FIRST_COLUMN on), how
# many taps it meets and where they are listed, where each tap is in the filters, and for each of its rows and columns a
# number whose bit i says whether shift i leads inside of the plane.
CLASS = 9
TAPS, COUNT, HEIGHT, WIDTH, FIRST_ROW, FIRST_COLUMN, ROWS, COLUMNS, PLACES = range(CLASS)

BEYOND = 32  # taps behind the last that may be read, and are never inside


class Plan(NamedTuple):
    """The tables of a product over taps.

    tables: for each class CLASS numbers, then its bits, its taps as ``offset << 2*BITS | row shift << BITS | column
    shift`` (the shifts by their number, the offset from the pixel to what the tap meets), and the places of the taps.
    """

    tables: tuple[int, ...]
    classes: int
    pixels: int  # of the largest class
    taps: int  # of the class that meets most


class Axis(NamedTuple):
    """The pixels of one class along one axis, and the taps that they meet with their shifts."""

    first: int
    pixels: int
    taps: list[int]
    shifts: list[int]
    step: int  # from one pixel to the next, in the plane that is read

    def inside(self, extent: int) -> list[int]:
        """For each pixel the bits of the shifts that lead inside."""
        return [
            sum(1 << i for i, shift in enumerate(self.shifts) if 0 <= pixel * self.step + shift < extent)
            for pixel in range(self.pixels)
        ]


@lru_cache(maxsize=512)
def forward_plan(p: Window, planes: int) -> Plan:
    """Taps (c, u, v) that the windows of x meet, in `planes` channels."""
    rows = Axis(0, p.OH, list(range(p.FH)), [u * p.dilation_h - p.pad_top for u in range(p.FH)], p.stride_h)
    columns = Axis(0, p.OW, list(range(p.FW)), [v * p.dilation_w - p.pad_left for v in range(p.FW)], p.stride_w)
    return _plan(p, [rows], [columns], planes, plane=(p.H, p.W), place=p.FH * p.FW)


@lru_cache(maxsize=512)
def backward_plan(p: Conv2d) -> Plan:
    """Taps (f, u, v) under which the pixels of dx meet dout: a plane of dout for each filter of the group."""
    rows = _classes(p.H, p.stride_h, p.pad_top, p.FH, p.dilation_h)
    columns = _classes(p.W, p.stride_w, p.pad_left, p.FW, p.dilation_w)
    place = p.C // p.groups * p.FH * p.FW
    return _plan(p, rows, columns, planes=p.FN // p.groups, plane=(p.OH, p.OW), place=place)


def _classes(extent: int, stride: int, pad: int, taps: int, dilation: int) -> list[Axis]:
    """Pixel first + stride*i of dx meets dout at i + shift under a tap."""
    classes = []
    for first in range(min(stride, extent)):
        met = [t for t in range(taps) if (first + pad - t * dilation) % stride == 0]
        shifts = [(first + pad - t * dilation) // stride for t in met]
        classes.append(Axis(first, -(-(extent - first) // stride), met, shifts, 1))
    return classes


def _plan(p: Window, rows: list[Axis], columns: list[Axis], planes: int, plane: tuple[int, int], place: int) -> Plan:
    """`planes` of `plane` = (height, width) pixels; filters of one plane and the next are `place` apart."""
    height, width = plane
    header: list[int] = []
    tail: list[int] = []
    start = CLASS * len(rows) * len(columns)
    for row in rows:
        for column in columns:
            at_rows = start + len(tail)
            at_columns = at_rows + row.pixels
            at_taps = at_columns + column.pixels
            met = [
                (((c * height + dy) * width + dx << BITS | i) << BITS | j, c * place + u * p.FW + v)
                for c in range(planes)
                for i, (u, dy) in enumerate(zip(row.taps, row.shifts, strict=True))
                for j, (v, dx) in enumerate(zip(column.taps, column.shifts, strict=True))
            ]
            taps = [tap for tap, _ in met] + [MOST << BITS | MOST] * BEYOND
            header += [
                at_taps, len(met), row.pixels, column.pixels, row.first, column.first, at_rows, at_columns,
                at_taps + len(taps),
            ]  # fmt: skip
            tail += [*row.inside(height), *column.inside(width), *taps, *(place for _, place in met), 0]
    taps = planes * max(len(row.taps) for row in rows) * max(len(column.taps) for column in columns)
    return Plan((*header, *tail), len(rows) * len(columns), rows[0].pixels * columns[0].pixels, taps)

"""im2col and col2im against PyTorch's unfold and fold."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import normal

SHAPES = [((100, 1, 28, 28), 5, 1, 0), ((100, 16, 28, 28), 3, 1, 1), ((8, 64, 56, 56), 3, 1, 1)]


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_im2col(timed, case):
    shape, k, s, p = case
    x = normal(shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.unfold(tx, k, 1, p, s)

    timed(lambda: fc.im2col(x, k, k, s, p), theirs)


@pytest.mark.parametrize("layout", ["rows_nhwc", "columns", "columns_n_last", "unfold"])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_layouts(timed, case, layout):
    """PyTorch has one of these layouts, "unfold"; the others cost it a transposition."""
    shape, k, s, p = case
    x = normal(shape, np.float32)
    given = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "rows_nhwc" else x
    axes = {"columns": (1, 0, 2), "columns_n_last": (1, 2, 0), "unfold": (0, 1, 2)}.get(layout)

    def theirs(torch):
        tx = torch.tensor(x)
        if axes is None:
            return lambda: torch.nn.functional.unfold(tx, k, 1, p, s).permute(0, 2, 1).contiguous()
        return lambda: torch.nn.functional.unfold(tx, k, 1, p, s).permute(axes).contiguous()

    timed(lambda: fc.im2col(given, k, k, s, p, layout=layout), theirs)


@pytest.mark.parametrize("layout", ["columns", "columns_n_last", "unfold"])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_col2im_layouts(timed, case, layout):
    shape, k, s, p = case
    col = fc.im2col(normal(shape, np.float32), k, k, s, p, layout=layout)

    def theirs(torch):
        cols = torch.nn.functional.unfold(torch.zeros(shape), k, 1, p, s)
        return lambda: torch.nn.functional.fold(cols, shape[2:], k, 1, p, s)

    timed(lambda: fc.col2im(col, shape, k, k, s, p, layout=layout), theirs)


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_col2im(timed, case):
    shape, k, s, p = case
    col = fc.im2col(normal(shape, np.float32), k, k, s, p)

    def theirs(torch):
        cols = torch.nn.functional.unfold(torch.zeros(shape), k, 1, p, s)
        return lambda: torch.nn.functional.fold(cols, shape[2:], k, 1, p, s)

    timed(lambda: fc.col2im(col, shape, k, k, s, p), theirs)

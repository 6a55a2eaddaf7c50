"""The tiles that a card runs, not the simulator's small ones: a block or two of each, against the reference."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.kernels._cuda.products import FLAT, MIDDLE, SMALL, SQUARE, WIDE, Tile
from fastconv.kernels.affine import cu as affine
from fastconv.kernels.conv2d import cu as conv2d
from fastconv.testing import whole


@pytest.mark.parametrize("tile", [Tile(16, 8, 4, 4, 4, 2), FLAT, MIDDLE, SMALL, WIDE, SQUARE], ids=str)
def test_products_of_whole_tiles(tile, monkeypatch):
    for module in (affine, conv2d):
        monkeypatch.setattr(module, "tile_for", lambda *sizes: tile)
    results = []
    for backend in ("cuda", "numpy"):
        with fc.backend(backend):
            x, w = whole((tile.BM + 3, tile.BK + 1), np.float32), whole((tile.BK + 1, tile.BN - 1), np.float32, 1)
            y = fc.affine(x, w)
            images, filters = whole((1, 2, 6, 7), np.float32, 2), whole((tile.BM // 2 + 5, 2, 2, 3), np.float32, 3)
            maps = fc.conv2d(images, filters, padding=1)
            results.append((y, maps, *fc.conv2d_backward(maps, images, filters, padding=1)))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)

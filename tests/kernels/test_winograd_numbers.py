"""Winograd's kernels on numbers that are not finite, or overflow on the way: NaN and infinities where direct sums have
them, and nowhere else; and the bound on the error that the documentation gives."""

import numpy as np
import pytest
from winograd_checks import exact, rms, run, winograd_case

import fastconv as fc
from fastconv import _check, _tile_range
from fastconv import _prepare as prepare
from fastconv.kernels.chain.cy import Chain
from fastconv.kernels.winograd import cy
from fastconv.testing import normal

# N, C, H, W, FN, padding, filter, stride: each kernel and formula; channels and columns around vectors.
PROBLEMS = [
    (2, 8, 13, 14, 20, 1, 3, 1),
    (1, 17, 9, 10, 33, 0, 3, 1),
    (3, 9, 2, 2, 15, 1, 3, 1),
    (1, 130, 12, 9, 7, 2, 3, 1),
    (2, 8, 25, 27, 20, 1, 3, 2),
    (1, 17, 18, 20, 33, 0, 3, 2),
    (2, 3, 25, 27, 6, 2, 5, 1),
    (2, 3, 26, 33, 6, 3, 7, 2),
    (1, 2, 18, 20, 5, 0, 7, 1),
    (1, 2, 19, 17, 5, 2, 6, 2),
]
BAD = [np.nan, np.inf, -np.inf]


def case(N, C, H, W, FN, padding, size, stride, activation=None):
    return winograd_case(stride, N, C, H, W, FN, padding, activation, (size, size))


def assert_not_finite_alike(got, expected):
    """NaN and infinities in the same places; `expected` in float64, of which float32 has a smaller range."""
    with np.errstate(over="ignore"):
        expected = expected.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(np.isinf(got), infinite)
    np.testing.assert_array_equal(got[infinite], expected[infinite])


def assert_alike(got, expected):
    """And the finite numbers right."""
    assert_not_finite_alike(got, expected)
    finite = np.isfinite(got)
    if finite.any():
        assert rms(got[finite] - expected[finite]) <= 2e-6 * rms(expected[finite])


def all_results(p, x, w, b, dout):
    """(y, dx, dw, db), and the kernel of all gradients at once where there is one."""
    results = [run(p, x, w, b, dout)]
    if p.FH == 3 and p.stride_h == 1 and max(p.pad_top, p.pad_left) <= 2:
        dx, dw, db = (np.full(s, np.nan, np.float32) for s in (p.x_shape, p.w_shape, p.FN))
        cy.backward(dx, dw, db, dout, x, w, p)
        results.append((results[0][0], dx, dw, db))
    return results


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["x", "dout", "x and dout", "w", "b"])
@pytest.mark.parametrize("shape", PROBLEMS, ids=str)
def test_where_direct_sums_have_them(shape, where, bad):
    if where == "w":  # of which those in the padding are left out, where the exact kernel makes NaN of 0 * infinity
        shape = (*shape[:5], 0, *shape[6:]) if shape[2] > 2 else (*shape[:2], 4, 4, shape[4], 0, *shape[6:])
    p, x, w, b, dout = case(*shape)
    rng = np.random.default_rng(1)
    for a in (x, dout) if where == "x and dout" else ({"x": x, "dout": dout, "w": w, "b": b}[where],):
        a.reshape(-1)[rng.integers(0, a.size, 2)] = bad
    with np.errstate(invalid="ignore"):
        expected = exact(p, x, w, b, dout)
    for results in all_results(p, x, w, b, dout):
        for got, right in zip(results, expected, strict=True):
            if where != "w" or right is not expected[1]:
                assert_alike(got, right)
            else:  # the edges of dx meet some taps of w alone, and PyTorch's sum the others as well
                assert_not_finite_alike(got, right)


@pytest.mark.parametrize("row", [0, 5, 7, 12])
@pytest.mark.parametrize("column", [0, 6, 7, 13])
def test_finite_results_keep_their_bits(row, column):
    """A tile's finite results are those of a clean image, up to the rounding of what is computed again."""
    p, x, w, b, _ = case(2, 8, 13, 14, 20, 1, 3, 1)
    clean, y = np.empty(p.out_shape, np.float32), np.empty(p.out_shape, np.float32)
    cy.forward(clean, x, w, b, p)
    x[1, 3, row, column] = np.inf
    cy.forward(y, x, w, b, p)
    i, j = np.arange(p.OH), np.arange(p.OW)
    window = (abs(i - row) <= 1)[:, None] & (abs(j - column) <= 1)
    tile = (abs(i // 4 * 4 + 1.5 - row) <= 2.5)[:, None] & (abs(j // 4 * 4 + 1.5 - column) <= 2.5)
    assert not np.isfinite(y[1][:, window]).any()
    np.testing.assert_array_equal(y[1][:, ~tile], clean[1][:, ~tile])
    np.testing.assert_allclose(y[1][:, tile & ~window], clean[1][:, tile & ~window], rtol=0, atol=2e-5 * rms(clean))
    np.testing.assert_array_equal(y[0], clean[0])


@pytest.mark.parametrize("shape", PROBLEMS, ids=str)
def test_relu_after_overflow(shape):
    """The ReLU would make 0 of an overflow to -infinity."""
    p, x, w, b, _ = case(*shape, "relu")
    x[:, ::2] = -1e38
    x[:, :, ::3] = 3e38
    x[0, 0, 0, 0] = np.nan
    w *= 1e-3
    y = np.full(p.out_shape, np.nan, np.float32)
    cy.forward(y, x, w, b, p)
    with np.errstate(invalid="ignore"):
        linear = exact(p, x, w, b, np.ones(p.out_shape, np.float32))[0]
    expected = np.where(np.isnan(linear), linear, np.maximum(linear, 0))
    assert_not_finite_alike(y, expected)
    finite = np.isfinite(expected)
    assert np.abs(y[finite] - expected[finite]).max() <= _tile_range.BOUND * 3e38 * np.abs(w).sum(axis=(1, 2, 3)).max()


@pytest.mark.parametrize("shape", PROBLEMS, ids=str)
@pytest.mark.parametrize("size", [1e37, 1e38, 3e38])
def test_large_finite_numbers_give_no_nan(shape, size):
    """What the transforms of a tile overflow on; the results are in range, and right to the bound."""
    p, x, w, b, dout = case(*shape)
    x = (np.sign(x) * size).astype(np.float32)
    x[:, :, ::2] *= -1
    w = (w * 1e-6).astype(np.float32)
    expected = exact(p, x, w, b, dout)
    for results in all_results(p, x, w, b, dout):
        assert np.abs(results[0] - expected[0]).max() <= _tile_range.BOUND * size * np.abs(w).sum(axis=(1, 2, 3)).max()
        for got, right in zip(results[1:], expected[1:], strict=True):
            assert_not_finite_alike(got, right)
    x, dout = normal(x.shape, np.float32) * np.float32(1e-6), np.sign(dout) * np.float32(size)
    dout[:, :, ::2] *= -1
    expected = exact(p, x, w, b, dout)
    for results in all_results(p, x, w, b, dout):
        for got, right in zip(results, expected, strict=True):
            assert_alike(got, right)


def test_the_snippet():
    x = np.full((1, 16, 16, 16), 1e38, "f")
    x[:, :, ::2] *= -1
    y = fc.conv2d(x, np.full((16, 16, 3, 3), 1e-4, "f"))
    np.testing.assert_allclose(np.abs(y), 4.8e35, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(y[0, 0, :, 0]), np.tile([-1, 1], 7))


@pytest.mark.parametrize("shape", PROBLEMS, ids=str)
def test_prepared(shape):
    p, x, w, b, dout = case(*shape, "relu")
    x[0, 1, 1, 1], dout[0, 0, 0, 1] = np.nan, np.inf
    y, dx = np.full(p.out_shape, np.nan, np.float32), np.full(p.x_shape, np.nan, np.float32)
    cy.forward(y, x, w, b, p)
    cy.backward_data(dx, dout, w, p)
    assert_alike(Chain([cy.prepare(w, b, p)], x, p.out_shape)(x), y)
    assert_alike(Chain([cy.prepare_data(w.copy(), p)], dout, p.x_shape)(dout), dx)


def test_blocks_of_a_network():
    x, window = normal((9, 32, 20, 18), np.float32), ((2, 2), 2, 0, 1, False)
    given = [
        (normal((f, c, 3, 3), np.float32, f) / 20, normal(f, np.float32), s, 1, 1, 1)
        for f, c, s in ((32, 32, 1), (48, 32, 2))
    ]
    x[3, 7, 9, 9] = x[5, 0, 0, 0] = np.nan  # not infinity: times a gradient of 0 or of 1e-9, the two ways' rounding
    block = prepare.block(x, given, window)
    y, _ = block.forward()
    wide = [(np.float64(w), np.float64(b), *geometry) for w, b, *geometry in given]
    with np.errstate(invalid="ignore"):
        hidden = fc.conv2d(np.float64(x), *wide[0], activation="relu")
        result = fc.conv2d(hidden, *wide[1], activation="relu")
        expected, indices = fc.max_pool2d(result, *window)
        assert_alike(y, expected)
        dx, gradients = block.backward(np.ones_like(y), True)
        gradient = fc.relu_backward(
            fc.max_pool2d_backward(np.ones_like(expected), indices, result.shape, *window), result
        )
        gradient, *second = fc.conv2d_backward(gradient, hidden, wide[1][0], *wide[1][2:])
        right, *first = fc.conv2d_backward(fc.relu_backward(gradient, hidden), np.float64(x), wide[0][0], *wide[0][2:])
    assert_not_finite_alike(dx, right)
    for pair, wanted in zip(gradients, (first, second), strict=True):
        for got, exactly in zip(pair, wanted, strict=True):
            assert_not_finite_alike(got, exactly)


def hostile(kind, shape, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    if kind == "signs":
        return np.sign(x)
    if kind == "all ranges":
        return (x * 10.0 ** rng.integers(-6, 7, shape)).astype(np.float32)
    if kind == "sentinels":
        x[rng.random(shape) < 0.02] = 1e6
    return x


@pytest.mark.parametrize("kind", ["normal", "signs", "all ranges", "sentinels"])
@pytest.mark.parametrize(
    "C, size, stride, H",
    [
        (1, 3, 1, 22),
        (64, 3, 1, 22),
        (9, 3, 1, 2),
        (1, 3, 2, 41),
        (1, 5, 1, 24),
        (3, 7, 2, 41),
        (1, 7, 1, 20),
        (1, 6, 1, 20),
    ],
)
def test_the_documented_bound(kind, C, size, stride, H):
    rng = np.random.default_rng(3)
    for _ in range(5):
        x, w = hostile(kind, (2, C, H, H), rng), hostile("normal", (17, C, size, size), rng)
        p, x, w, _ = _check.conv2d(x, w, None, stride, size // 2, 1, 1, None)
        y = np.full(p.out_shape, np.nan, np.float32)
        cy.forward(y, x, w, None, p)
        right = fc.conv2d(np.float64(x), np.float64(w), None, stride, size // 2)
        _, tiles = _tile_range.largest_in_windows_and_tiles(p, x)
        bound = _tile_range.BOUND * tiles[:, None] * np.abs(np.float64(w)).sum(axis=(1, 2, 3))[:, None, None]
        assert (np.abs(y - right) <= bound).all()
        if kind == "sentinels" and size == 3:  # and it is needed: direct sums' errors are far smaller there
            assert np.abs(y - right).max() > 1e-2


def test_explain_tells_on_the_data(capsys):
    x, w = normal((1, 64, 28, 28), np.float32), normal((64, 64, 3, 3), np.float32, 1)
    fc.explain("conv2d", x, w, padding=1)
    said = capsys.readouterr().out
    assert "error of a result: at most 6e-06" in said and "wide range" not in said
    x[0, 5, 9, 9] = 1e6
    fc.explain("conv2d", x, w, padding=1)
    said = capsys.readouterr().out
    assert "wide range" in said and "highest" in said
    fc.explain("conv2d", x[0], w, padding=1)  # unbatched
    assert "wide range" in capsys.readouterr().out
    fc.explain("conv2d", np.zeros_like(x), w, padding=1)
    assert "wide range" not in capsys.readouterr().out
    fc.set_float32_conv_precision("highest")
    try:
        fc.explain("conv2d", x, w, padding=1)
    finally:
        fc.set_float32_conv_precision("high")
    assert "error of a result" not in capsys.readouterr().out

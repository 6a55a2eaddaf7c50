"""Functions named like im2col, conv2d or max_pool, in the spellings and layouts that people use.

Each is compared with what takes its place, over calls of all kinds: those that were proven, and those that must go to the
program's own function, errors included.
"""

import sys

import numpy as np
import pytest

from fastconv.programs import _named, _scripts
from fastconv.programs._finder import candidates


def windows(x, kh, kw, sh, sw, ph, pw):
    """(N, C, FH, FW, OH, OW), by loops over the taps."""
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh, ow = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    col = np.zeros((*x.shape[:2], kh, kw, oh, ow), dtype=x.dtype)
    for u in range(kh):
        for v in range(kw):
            col[:, :, u, v] = x[:, :, u : u + sh * (oh - 1) + 1 : sh, v : v + sw * (ow - 1) + 1 : sw]
    return col


def gathered(col, shape, sh, sw, ph, pw):
    """The adjoint of `windows`."""
    N, C, kh, kw, oh, ow = col.shape
    x = np.zeros((N, C, shape[2] + 2 * ph, shape[3] + 2 * pw), dtype=col.dtype)
    for u in range(kh):
        for v in range(kw):
            x[:, :, u : u + sh * (oh - 1) + 1 : sh, v : v + sw * (ow - 1) + 1 : sw] += col[:, :, u, v]
    return x[:, :, ph : ph + shape[2], pw : pw + shape[3]]


def two(v):
    return v if isinstance(v, tuple) else (v, v)


def book(input_data, filter_h, filter_w, stride=1, pad=0):
    col = windows(input_data, filter_h, filter_w, stride, stride, pad, pad)
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(-1, col[0, :, :, :, 0, 0].size).astype(np.float64)


def keeps_single(x, FH, FW, S, P):
    col = windows(x, FH, FW, S, S, P, P)
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(-1, x.shape[1] * FH * FW)


def with_tuples(img, kernel_size, stride, pad, to_matrix=True):
    col = windows(img, *two(kernel_size), *two(stride), *two(pad))
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(-1, col[0, :, :, :, 0, 0].size) if to_matrix else col


def in_six_axes(img, kernel_size, stride=1, pad=0):
    return windows(img, *two(kernel_size), *two(stride), *two(pad))


def images_innermost(x, field_height, field_width, padding=1, stride=1):
    if (x.shape[2] + 2 * padding - field_height) % stride or (x.shape[3] + 2 * padding - field_width) % stride:
        raise ValueError("uneven")
    col = windows(x, field_height, field_width, stride, stride, padding, padding)
    return col.transpose(1, 2, 3, 4, 5, 0).reshape(field_height * field_width * x.shape[1], -1)


def in_columns(X, k, s=1, p=0):
    col = windows(X, k, k, s, s, p, p)
    return col.transpose(1, 2, 3, 0, 4, 5).reshape(X.shape[1] * k * k, -1)


def like_unfold(X, kernel_h, kernel_w):
    col = windows(X, kernel_h, kernel_w, 1, 1, 0, 0)
    return col.reshape(len(X), X.shape[1] * kernel_h * kernel_w, -1)


def channels_last(x, kernel_h, kernel_w, stride=1, pad=0):
    col = windows(x.transpose(0, 3, 1, 2), kernel_h, kernel_w, stride, stride, pad, pad)
    return col.transpose(0, 4, 5, 2, 3, 1).reshape(-1, x.shape[3] * kernel_h * kernel_w)


def channels_last_in_rows_of_channels(x, hh, ww, stride=1):
    col = windows(x.transpose(0, 3, 1, 2), hh, ww, stride, stride, 0, 0)
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(-1, x.shape[3] * hh * ww)


def of_one_image(x, hh, ww, stride):
    c, h, w = x.shape
    rows, columns = (h - hh) // stride + 1, (w - ww) // stride + 1
    col = np.zeros([rows * columns, c * hh * ww])
    for i in range(rows):
        for j in range(columns):
            patch = x[..., i * stride : i * stride + hh, j * stride : j * stride + ww]
            col[i * columns + j, :] = np.reshape(patch, -1)
    return col


def of_a_plane(image, filter_size, stride=1):
    rows = range(0, image.shape[0] - filter_size + 1, stride)
    columns = range(0, image.shape[1] - filter_size + 1, stride)
    return np.array([image[i : i + filter_size, j : j + filter_size].ravel() for i in rows for j in columns]).T


IM2COL = {  # rank of the images, whether the channels come last, the shape of the window given as
    book: (4, False, "two"),
    keeps_single: (4, False, "two"),
    with_tuples: (4, False, "one"),
    in_six_axes: (4, False, "one"),
    images_innermost: (4, False, "two"),
    in_columns: (4, False, "one"),
    like_unfold: (4, False, "two"),
    channels_last: (4, True, "two"),
    channels_last_in_rows_of_channels: (4, True, "two"),
    of_one_image: (3, False, "two"),
    of_a_plane: (2, False, "one"),
}


def outcome(function, *args, **kwargs):
    """The result, or the error."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)


def assert_same(own, fast, *args, **kwargs):
    theirs, ours = outcome(own, *args, **kwargs), outcome(fast, *args, **kwargs)
    assert type(theirs) is type(ours)
    if isinstance(theirs, np.ndarray):
        assert theirs.dtype == ours.dtype
        types = {a.dtype for a in (theirs, *args) if isinstance(a, np.ndarray)}
        tol = 1e-5 if types & {np.dtype(np.float32), np.dtype(np.float16)} else 1e-12
        finite = theirs[np.isfinite(theirs)]
        np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol * np.abs(finite).max(initial=1))
    else:
        assert theirs == ours


def replaced(candidate, own):
    """What takes the function's place, and a list of the calls that went to the program's own."""
    calls = []

    def spy(*args, **kwargs):
        calls.append(args)
        return own(*args, **kwargs)

    verdict = candidate.prove(own)
    assert verdict.state == "replaced", verdict.why
    spy.__wrapped__ = own
    place = {"f": spy}
    undo = candidate.put(place, "f", verdict.variant)
    fast = place["f"]
    assert fast is not spy
    undo()
    assert place["f"] is spy
    return fast, calls


SIZES = [((2, 3), 1, 0), ((3, 3), 1, 1), ((2, 2), 2, 0), ((3, 2), 2, 1), ((1, 1), 3, 0), ((5, 4), 2, 3)]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("own", IM2COL, ids=lambda f: f.__name__)
def test_im2col(own):
    rank, last, sizes = IM2COL[own]
    fast, to_own = replaced(_named.IM2COL, own)
    names = fast.__wrapped__.__wrapped__.__code__.co_varnames[: own.__code__.co_argcount]
    rng, calls = np.random.default_rng(0), 0
    for dtype in (np.float64, np.float32, np.float16, np.int64, np.complex128):
        for (kh, kw), stride, pad in SIZES:
            x = (9 * rng.normal(size=(2, 3, 7, 8))).astype(dtype)[(0,) * (4 - rank)]
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
            geometry = [
                v
                for v, known in ((stride, {"stride", "S", "s"}), (pad, {"pad", "padding", "P", "p"}))
                if known & {*names}
            ]
            if "padding" in names:
                geometry.reverse()
            kernels = [[kh, kw]] if sizes == "two" else [[kh], [(kh, kw)]]
            for kernel in kernels:
                calls += 1
                assert_same(own, fast, x, *kernel, *geometry)
                assert_same(own, fast, x[..., ::-1], *kernel, *geometry)
            assert_same(own, fast, x, *kernels[0])  # defaults
            assert_same(own, fast, x.tolist(), *kernels[0], *geometry)
            assert_same(own, fast, x[:0], *kernels[0], *geometry)
            assert_same(own, fast, *kernels[0])
            assert_same(own, fast, x, *kernels[0], nonsense=1)
    before = len(to_own)
    x = np.moveaxis(rng.normal(size=(2, 3, 9, 9)), 1, -1).copy() if last else rng.normal(size=(2, 3, 9, 9))
    kernel = {"two": (3, 3), "one": (3,)}[sizes]
    rest = (1, 0)[: len(geometry)] if "padding" not in names else (0, 1)
    fast(x[(0,) * (4 - rank)], *kernel, *rest)
    assert len(to_own) == before  # the usual call is fastconv's
    assert calls


def test_an_option_that_is_not_at_its_default_goes_to_the_programs_own():
    fast, to_own = replaced(_named.IM2COL, with_tuples)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    assert fast(x, 3, 1, 0).ndim == 2 and not to_own
    assert fast(x, 3, 1, 0, True).ndim == 2 and not to_own
    assert fast(x, 3, 1, pad=0, to_matrix=True).ndim == 2 and not to_own
    assert fast(x, 3, 1, 0, to_matrix=False).ndim == 6 and len(to_own) == 1


def book_back(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_shape
    oh, ow = (H + 2 * pad - filter_h) // stride + 1, (W + 2 * pad - filter_w) // stride + 1
    col = col.reshape(N, oh, ow, C, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    return gathered(col, input_shape, stride, stride, pad, pad).astype(np.float64)


def innermost_back(cols, x_shape, field_height=3, field_width=3, padding=1, stride=1):
    N, C, H, W = x_shape
    oh, ow = (H + 2 * padding - field_height) // stride + 1, (W + 2 * padding - field_width) // stride + 1
    col = cols.reshape(C, field_height, field_width, oh, ow, N).transpose(5, 0, 1, 2, 3, 4)
    return gathered(col, x_shape, stride, stride, padding, padding)


def six_axes_back(col, img_shape, kernel_size, stride, pad):
    return gathered(col, img_shape, *two(stride), *two(pad))


def last_back(cols, x_shape, kernel_h, kernel_w, stride=1, pad=0):
    N, H, W, C = x_shape
    oh, ow = (H + 2 * pad - kernel_h) // stride + 1, (W + 2 * pad - kernel_w) // stride + 1
    col = cols.reshape(N, oh, ow, kernel_h, kernel_w, C).transpose(0, 5, 3, 4, 1, 2)
    return gathered(col, (N, C, H, W), stride, stride, pad, pad).transpose(0, 2, 3, 1)


BACK = {book_back: book, innermost_back: images_innermost, six_axes_back: in_six_axes, last_back: channels_last}


@pytest.mark.parametrize("own", BACK, ids=lambda f: f.__name__)
def test_col2im(own):
    forward = BACK[own]
    _, last, sizes = IM2COL[forward]
    fast, to_own = replaced(_named.COL2IM, own)
    rng = np.random.default_rng(0)
    taken = 0
    for dtype in (np.float64, np.float32, np.int64):
        for (kh, kw), stride, pad in SIZES:
            x = rng.normal(size=(2, 7, 8, 3) if last else (2, 3, 7, 8))
            kernel = (kh, kw) if sizes == "two" else ((kh, kw),)
            geometry = (pad, stride) if forward is images_innermost else (stride, pad)
            try:
                col = forward(x, *kernel, *geometry)
            except ValueError:
                continue
            col = (9 * rng.normal(size=col.shape)).astype(dtype)
            before = len(to_own)
            assert_same(own, fast, col, x.shape, *kernel, *geometry)
            taken += len(to_own) == before
            assert_same(own, fast, col, list(x.shape), *kernel, *geometry)
            assert_same(own, fast, col[:-1], x.shape, *kernel, *geometry)
    assert taken >= 6


def planes_by_loops(image, kernel, stride=1, padding=0):
    image = np.pad(image, padding)
    kh, kw = kernel.shape
    out = np.zeros(((image.shape[0] - kh) // stride + 1, (image.shape[1] - kw) // stride + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = np.sum(image[i * stride : i * stride + kh, j * stride : j * stride + kw] * kernel)
    return out


def strict_convolution(image, kernel):
    kernel = np.flipud(np.fliplr(kernel))
    rows, columns = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=True))
    return np.array(
        [
            [(image[i : i + len(kernel), j : j + kernel.shape[1]] * kernel).sum() for j in range(columns)]
            for i in range(rows)
        ]
    )


def batches(x, weights, bias=None, stride=1, pad=0):
    col = windows(x, *weights.shape[2:], stride, stride, pad, pad)
    y = np.einsum("ncuvij,fcuv->nfij", col, weights)
    return y if bias is None else y + bias[:, None, None]


def batches_with_channels_last(X, W, b, stride=1, padding=0):
    col = windows(X.transpose(0, 3, 1, 2), *W.shape[:2], *two(stride), *two(padding))
    return np.einsum("ncuvij,uvcf->nijf", col, W) + b


CONVOLUTIONS = {
    planes_by_loops: ((7, 8), (3, 2), None),
    strict_convolution: ((7, 8), (3, 2), None),
    batches: ((2, 3, 7, 8), (4, 3, 3, 2), 4),
    batches_with_channels_last: ((2, 7, 8, 3), (3, 2, 3, 4), 4),
}


@pytest.mark.parametrize("own", CONVOLUTIONS, ids=lambda f: f.__name__)
def test_convolution(own):
    x_shape, w_shape, filters = CONVOLUTIONS[own]
    fast, to_own = replaced(_named.CONVOLUTION, own)
    rng, taken = np.random.default_rng(0), 0
    geometries = (
        [()] if own is strict_convolution else [(), (1, 0), (2, 0), (1, 1), (2, 1), ((1, 2), (0, 1)), (3, 5), (0, 0)]
    )
    for types in ((float, float), (np.float32, np.float32), (np.float32, float), (int, int), (float, complex)):
        x, w = ((9 * rng.normal(size=s)).astype(t) for s, t in zip((x_shape, w_shape), types, strict=True))
        for geometry in geometries:
            before = len(to_own)
            bias = (rng.normal(size=filters).astype(types[1]),) if filters else ()
            assert_same(own, fast, x, w, *bias, *geometry)
            taken += len(to_own) == before
            assert_same(own, fast, x[..., ::-1], w[::-1], *bias, *geometry)
            assert_same(own, fast, x[:1], w, *bias, *geometry)
            assert_same(own, fast, x[0], w, *bias, *geometry)
    assert taken >= 2 * len(geometries[:5])


def pool_by_loops(x, kernel_size=2, stride=2):
    N, C, H, W = x.shape
    out = np.zeros((N, C, (H - kernel_size) // stride + 1, (W - kernel_size) // stride + 1))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            at = slice(i * stride, i * stride + kernel_size), slice(j * stride, j * stride + kernel_size)
            out[:, :, i, j] = x[:, :, at[0], at[1]].max(axis=(2, 3))
    return out


def pool_by_reshape(x, size=2):
    N, H, W, C = x.shape
    return x.reshape(N, H // size, size, W // size, size, C).max(axis=(2, 4))


def pool_of_one_image(image, f=2, s=2):
    out = np.zeros((image.shape[0], (image.shape[1] - f) // s + 1, (image.shape[2] - f) // s + 1))
    for c, i, j in np.ndindex(out.shape):
        out[c, i, j] = np.max(image[c, i * s : i * s + f, j * s : j * s + f])
    return out


POOLS = {pool_by_loops: (2, 3, 8, 9), pool_by_reshape: (2, 8, 10, 3), pool_of_one_image: (3, 8, 9)}


@pytest.mark.parametrize("own", POOLS, ids=lambda f: f.__name__)
def test_max_pooling(own):
    fast, to_own = replaced(_named.MAX_POOLING, own)
    rng, taken = np.random.default_rng(0), 0
    for dtype in (np.float64, np.float32, np.float16, np.int64):
        x = (9 * rng.normal(size=POOLS[own])).astype(dtype)
        if dtype in (np.float64, np.float32):
            x.flat[5] = np.nan
            x.flat[77] = -np.inf
        for geometry in (
            ((), (2,), (3,), (4,), (0,), ((2, 3),)) if own is pool_by_reshape else ((), (2, 2), (3, 2), (2, 3), (9, 9))
        ):
            before = len(to_own)
            assert_same(own, fast, x, *geometry)
            taken += len(to_own) == before
            assert_same(own, fast, x[..., ::2], *geometry)
            assert_same(own, fast, x[0], *geometry)
    assert taken >= 4


def wrong_layout(x, fh, fw, stride=1, pad=0):
    return windows(x, fh, fw, stride, stride, pad, pad).transpose(0, 5, 4, 1, 2, 3).reshape(-1, x.shape[1] * fh * fw)


def wrong_padding(x, fh, fw, stride=1, pad=0):
    return (
        windows(x + 0.5, fh, fw, stride, stride, pad, pad).transpose(0, 4, 5, 1, 2, 3).reshape(-1, x.shape[1] * fh * fw)
        - 0.5
    )


def changes_its_argument(x, fh, fw, stride=1, pad=0):
    col = keeps_single(x, fh, fw, stride, pad)
    x[...] = 0
    return col


def unknown_parameter(x, fh, fw, stride, pad, colour):
    return keeps_single(x, fh, fw, stride, pad)


def no_window(x, stride=1, pad=0):
    return keeps_single(x, 3, 3, stride, pad)


counter = []


def counts_its_calls(x, fh, fw, stride=1, pad=0):
    counter.append(1)
    return keeps_single(x, fh, fw, stride, pad)


@pytest.mark.parametrize(
    "own, why",
    [
        (wrong_layout, "windows of"),
        (wrong_padding, "windows of"),
        (changes_its_argument, "the argument behind it"),
        (unknown_parameter, "its parameter colour is not known"),
        (no_window, "how large a window is"),
        (counts_its_calls, "the program's variable 'counter'"),
        (np.sum, "no plain function"),
    ],
)
def test_what_is_left(own, why):
    verdict = _named.IM2COL.prove(own)
    assert verdict.state == "left" and why in verdict.why and verdict.variant < 0
    assert not counter


def test_a_mean_is_no_maximum():
    def max_pool(x, size=2):
        return x.reshape(*x.shape[:2], x.shape[2] // size, size, x.shape[3] // size, size).mean(axis=(3, 5))

    assert "windows of" in _named.MAX_POOLING.prove(max_pool).why


def test_a_function_of_a_script_is_looked_at_when_it_is_first_called(monkeypatch):
    from fastconv import programs

    source = (
        "def im2col(x, fh, fw, stride=1, pad=0):\n    return rows(x, fh, fw, stride, pad)\n"
        "before = im2col.__wrapped__\n"
        "def rows(x, fh, fw, stride, pad):\n    return helper(x, fh, fw, stride, pad)\n"
        "if True:\n    def conv2d(a, b):\n        return a\n"
    )
    namespace = {"__name__": "__main__", "helper": keeps_single}
    exec(_scripts.code(source, "script.py", namespace), namespace)
    assert _scripts.code("def other():\n    im2col()\n", "script.py", {}) is None
    assert _scripts.code("def col2im(:\n", "script.py", {}) is None
    own = namespace["before"]
    assert own.__code__.co_firstlineno == 1 and namespace["im2col"].__name__ == "im2col"
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    programs.install()
    try:
        monkeypatch.setattr("fastconv.programs._report.add", lambda *line: lines.append(line[1:]))
        lines = []
        np.testing.assert_array_equal(namespace["im2col"](x, 3, 3), own(x, 3, 3))
        assert namespace["conv2d"](1, 2) == 1
        assert [(name, verdict.state) for name, verdict in lines] == [("im2col", "replaced"), ("conv2d", "left")]
        namespace["rows"] = None  # what the program's own would need
        assert namespace["im2col"](x, 3, 3).shape == (32, 27)
    finally:
        programs.uninstall()
    with pytest.raises(TypeError):
        namespace["im2col"](x, 3, 3)


def test_cells_of_a_notebook(monkeypatch):
    import ast
    from types import SimpleNamespace

    from fastconv import programs

    shell = SimpleNamespace(user_ns={}, ast_transformers=[])
    programs.watch_cells(shell)
    tree = ast.parse("def im2col(x):\n    return x\ndef other(x):\n    return x\n")
    for each in shell.ast_transformers:
        tree = each.visit(tree)
    exec(compile(tree, "cell", "exec"), shell.user_ns)
    assert hasattr(shell.user_ns["im2col"], "__wrapped__") and not hasattr(shell.user_ns["other"], "__wrapped__")
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # as in a notebook
    assert shell.user_ns["im2col"](3) == 3
    programs.forget_cells(shell)
    assert not shell.ast_transformers


def test_a_known_text_in_a_module_of_any_name(tmp_path, monkeypatch):
    """What is known of a text is a variant of the book's candidates: elsewhere a trial decides."""
    import importlib

    from texts_of_the_book import UTIL

    from fastconv import programs
    from fastconv.programs._candidates import Verdict

    monkeypatch.setattr("fastconv.programs._editions.verdict", lambda *definition: Verdict("replaced", "", 0))
    monkeypatch.setenv("FASTCONV_CACHE", "")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "arranging_windows.py").write_text(UTIL)
    programs.install()
    try:
        module = importlib.import_module("arranging_windows")
        x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
        own = module.im2col.__wrapped__
        assert module.im2col(x, 3, 3, 2, 1).dtype == own(x, 3, 3, 2, 1).dtype == np.float64
        np.testing.assert_array_equal(module.im2col(x, 3, 3, 2, 1), own(x, 3, 3, 2, 1))
    finally:
        programs.uninstall()
        del sys.modules["arranging_windows"]


def test_fastconvs_own_modules_are_not_looked_at():
    assert not candidates("fastconv.kernels.im2col.ref")
    assert "im2col" in candidates("anything.else")

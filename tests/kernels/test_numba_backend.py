"""What is peculiar to the Numba backend: threads, forks, the cache, and that nobody pays for it who does not use it."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastconv as fc
from fastconv._settings import BACKENDS
from fastconv._table import TABLE
from fastconv.testing import ConvCase, normal

jit = pytest.importorskip("fastconv.kernels._numba.jit")
conv = pytest.importorskip("fastconv.kernels.conv2d.nb")

pytestmark = pytest.mark.numba

START = """
    import os, sys, threading
    import numpy as np
    import fastconv as fc
    from fastconv.testing import normal
    x, w = normal((8, 16, 28, 28), np.float32), normal((16, 16, 3, 3), np.float32, 1)
    def run():
        return fc.conv2d(x, w, padding=1)
    with fc.backend("numpy"):
        expected = run()
    def check():
        np.testing.assert_allclose(run(), expected, rtol=1e-4, atol=1e-4)
"""


def program(text, **environment):
    """What a program of its own prints; it must not fail."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(text)],
        env=os.environ | {"FASTCONV_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"} | environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def two_threads():
    before = fc.get_num_threads()
    fc.set_num_threads(2)
    with fc.backend("numba"):
        yield
    fc.set_num_threads(before)


def test_it_has_a_kernel_for_every_operation():
    assert [op for op, rows in TABLE.items() if "numba" not in {row.backend for row in rows}] == []


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_calls_from_several_python_threads(layer):
    """Numba's workqueue layer aborts the process when two callers launch at once."""
    program(
        """
        fc.set_backend("numba")
        wrong = []
        def work():
            for _ in range(30):
                try:
                    check()
                except AssertionError as error:
                    wrong.append(error)
        callers = [threading.Thread(target=work) for _ in range(4)]
        [caller.start() for caller in callers]
        [caller.join() for caller in callers]
        assert not wrong, wrong[0]
        """,
        NUMBA_THREADING_LAYER=layer,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", ["workqueue", "default"])
@pytest.mark.parametrize("used_before", [True, False])
def test_the_child_of_a_fork_computes(used_before, layer):
    """GNU OpenMP ends a child that uses threads after its parent has; workqueue's would be missing."""
    printed = program(
        f"""
        fc.set_backend("numba")
        {"check()" if used_before else ""}
        child = os.fork()
        if child == 0:
            check()
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        check()
        """,
        NUMBA_THREADING_LAYER=layer,
    )
    assert printed == "7"


def test_with_and_without_threads_the_same_bits(two_threads, monkeypatch):
    case = ConvCase(6, 12, 21, 19, 20, padding=1)
    x, w, b = case.arrays(np.float32)

    def everything():
        y = fc.conv2d(x, w, b, padding=1)
        return (
            y,
            *fc.conv2d_backward(y, x, w, padding=1),
            fc.affine(y.reshape(6, -1), normal((y[0].size, 30), np.float32)),
        )

    with_threads = everything()
    assert jit._threads.used
    monkeypatch.setattr(jit._threads, "lost", True)
    for ours, alone in zip(with_threads, everything(), strict=True):
        np.testing.assert_array_equal(ours, alone)


def test_a_caller_that_finds_the_threads_busy_runs_alone(two_threads):
    x, w = normal((8, 16, 28, 28), np.float32), normal((16, 16, 3, 3), np.float32, 1)
    expected = fc.conv2d(x, w)
    with jit._threads.launching:
        np.testing.assert_array_equal(fc.conv2d(x, w), expected)


def test_the_number_of_threads_is_ours_and_the_callers_own_is_left_alone(two_threads, monkeypatch):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", max(2, numba.config.NUMBA_NUM_THREADS))
    assert jit.workers_for(1e9) == 2
    fc.set_num_threads(1)
    assert jit.workers_for(1e9) == 1
    fc.set_num_threads(2)
    before, during = numba.get_num_threads(), []
    numba.set_num_threads(1)
    try:
        jit._threads.run(lambda workers: during.append(numba.get_num_threads()), 2)
        assert during == [min(2, numba.config.NUMBA_NUM_THREADS)] and numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


def test_nobody_pays_for_it_who_does_not_use_it():
    program(
        """
        run()
        fc.set_backend("numpy")
        run()
        assert "numba" not in sys.modules
        assert fc.backends()["numba"] == ""
        assert "numba" in sys.modules
        """
    )


def test_without_numba_there_is_a_reason_not_an_error():
    printed = program(
        """
        sys.modules["numba"] = None
        check()
        print(fc.backends()["numba"])
        try:
            fc.set_backend("numba")
        except RuntimeError as error:
            print(error)
        """
    )
    reason, refusal = printed.splitlines()
    assert "cannot be imported" in reason and reason in refusal


def test_without_compiled_kernels_it_is_the_next_and_threads_are_counted():
    program(
        """
        from importlib.abc import MetaPathFinder
        class Missing(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.endswith((".cy", "._cpu.engine", "._cpu.remember", "._cpu.straight")):
                    raise ImportError(name)
        for name in [name for name in sys.modules if name.startswith("fastconv")]:
            del sys.modules[name]
        sys.meta_path.insert(0, Missing())
        import fastconv as fc
        from fastconv import _check, _dispatch
        problem = _check.conv2d(x, w, None, 1, 1)[0]
        assert _dispatch.kernel("conv2d_forward", problem).__module__ == "fastconv.kernels.conv2d.nb"
        assert fc.get_num_threads() == 2
        fc.set_num_threads(1)
        assert fc.get_num_threads() == 1
        np.testing.assert_allclose(fc.conv2d(x, w, padding=1), expected, rtol=1e-4, atol=1e-4)
        """
    )


def test_explain_shows_what_the_first_call_cost(tmp_path):
    text = """
        fc.set_backend("numba")
        fc.explain("relu", x)
    """
    for how in ("compiled in", "loaded from the cache in"):
        printed = program(text, NUMBA_CACHE_DIR=str(tmp_path))
        assert "_relu_forward, float32, with" in printed and how in printed


def test_the_cache_is_stale_when_any_source_of_the_kernels_changes(tmp_path):
    stamp = jit._source_stamp()
    assert {name for name, *_ in stamp} >= {"products.py", "simd.py", "nb.py"}
    cache = conv._convolve.alone._cache
    assert cache._cache_file._source_stamp == stamp


def test_the_environment_forces_a_backend():
    assert program("print(fc.explain('conv2d', x, w) or '')", FASTCONV_BACKEND="numpy").count("'numpy' is forced") > 1
    wrong = subprocess.run(
        [sys.executable, "-c", "import fastconv"],
        env=os.environ | {"FASTCONV_BACKEND": "nunba"},
        capture_output=True,
        text=True,
    )
    assert "FASTCONV_BACKEND" in wrong.stderr and all(name in wrong.stderr for name in BACKENDS)


def test_gradients_of_filters_meet_what_their_windows_see_alone():
    """The copies' zeros between rows must not make NaN of an infinity."""
    x, w = np.ones((2, 3, 9, 11), np.float32), np.ones((4, 3, 3, 3), np.float32)
    x[1, 2, 0, 10] = np.inf
    results = []
    for backend in ("numba", "numpy"):
        with fc.backend(backend):
            results.append(fc.conv2d_backward(np.ones((2, 4, 7, 9), np.float32), x, w)[1])
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).sum() == results[0].size - 4

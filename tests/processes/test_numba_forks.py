"""A process that is forked while another of its threads compiles for Numba: its children compile too."""

import os

import pytest
from programs import run

pytestmark = [
    pytest.mark.numba,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]
pytest.importorskip("numba")

START = """
    import os, sys, threading, time
    import numpy as np
    import fastconv as fc

    def child(work):
        "Fork; whether the child did its work within a minute."
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, status
                return
            time.sleep(0.02)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        sys.exit("the child hangs")

    def work():
        x = np.array([[-1.0, 2.0]], np.float32)
        with fc.backend("numba"):
            np.testing.assert_array_equal(fc.relu(x), [[0, 2]])
            np.testing.assert_allclose(fc.affine(x, x.T.copy()), [[5]])
"""


@pytest.mark.parametrize("lock", ["compiler", "llvm"])
def test_a_fork_waits_for_who_holds_a_compilers_lock(tmp_path, lock):
    code = f"""
    {START}
    from fastconv.kernels._numba import jit

    held, let_go = threading.Event(), threading.Event()

    def hold():
        with {"jit.global_compiler_lock" if lock == "compiler" else "jit._LLVM_LOCK"}:
            held.set()
            let_go.wait(1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child(work)
    thread.join()
    work()
    """
    run(tmp_path, code=code, NUMBA_CACHE_DIR=str(tmp_path / "cache"))


@pytest.mark.slow
def test_forks_while_kernels_are_compiled(tmp_path):
    """Numba's own compiler at work on ever new functions, and children that compile what their parent has not."""
    code = f"""
    {START}
    import numba

    fc.backends()
    with fc.backend("numba"):
        fc.relu(np.ones(3, np.float32))
    stop = False

    def compile_more():
        number = 0
        while not stop:
            number += 1
            scope = {{}}
            exec(f"def f(x):\\n    return x * {{number}} + {{number}}", scope)
            assert numba.njit(scope["f"])(2.0) == 3 * number

    thread = threading.Thread(target=compile_more)
    thread.start()
    for _ in range(8):
        time.sleep(0.05)
        child(work)
    stop = True
    thread.join()
    """
    run(tmp_path, code=code, NUMBA_CACHE_DIR=str(tmp_path / "cache"), seconds=500)

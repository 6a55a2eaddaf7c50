"""Forks, fresh processes, threads, interrupts and the interpreter's end while kernels run: results stay what they are."""

import multiprocessing
import os
import sys

import pytest
from programs import run, write

METHODS = [m for m in ("spawn", "forkserver", "fork") if m in multiprocessing.get_all_start_methods()]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# Calls of many kernels with known shapes, large enough for threads; `everything()` is a list of their results.
WORK = """
    import numpy as np
    import fastconv as fc
    from fastconv.networks import SimpleConvNet
    from fastconv.testing import normal

    fc.set_num_threads(2)
    x, w = normal((16, 16, 28, 28), np.float32), normal((32, 16, 3, 3), np.float32, 1)
    rows, matrix = normal((256, 512), np.float32), normal((512, 256), np.float32, 1)
    images, labels = normal((100, 1, 28, 28), np.float32), np.arange(100) % 10

    def everything():
        y = fc.conv2d(x, w, padding=1, activation="relu")
        pooled, indices = fc.max_pool2d(y, 2)
        grads = fc.conv2d_backward(y, x, w, padding=1)
        net = SimpleConvNet(rng=0, dtype=np.float32)
        g = net.gradient(images, labels)
        return [y, pooled, *grads, fc.affine(rows, matrix), fc.softmax(rows), fc.tanh(rows), *g.values()]

    def same(a, b):
        return len(a) == len(b) and all(np.array_equal(u, v) for u, v in zip(a, b))

    def checksum(_=None):
        return [float(np.float64(a).sum()) for a in everything()]
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, work=WORK)
    return tmp_path


@pytest.mark.parametrize("method", METHODS)
def test_children_compute_the_same_bits(folder, method):
    """In pools, executors and processes of their own; with the parent's threads at work before, meanwhile and after."""
    code = """
    import multiprocessing as mp, sys, threading
    from concurrent.futures import ProcessPoolExecutor
    import work

    def into(queue):
        queue.put(work.checksum())

    if __name__ == "__main__":
        context = mp.get_context(sys.argv[1])
        expected, stop = work.checksum(), False

        def keep_busy():
            while not stop:
                assert work.checksum() == expected

        thread = threading.Thread(target=keep_busy)
        thread.start()
        try:
            with context.Pool(2) as pool:
                assert pool.map(work.checksum, range(4)) == [expected] * 4
            with ProcessPoolExecutor(2, mp_context=context) as executor:
                assert list(executor.map(work.checksum, range(2))) == [expected] * 2
            queue = context.Queue()
            process = context.Process(target=into, args=(queue,))
            process.start()
            assert queue.get(timeout=100) == expected
            process.join()
            assert process.exitcode == 0
        finally:
            stop = True
            thread.join()
        assert work.checksum() == expected
    """
    write(folder, program=code)
    run(folder, "program.py", method, seconds=300)


@needs_fork
def test_forks_from_several_threads_and_from_children(folder):
    code = """
    import os, threading
    import work
    expected = work.checksum()

    def fork(depth):
        pid = os.fork()
        if pid == 0:
            right = False
            try:
                right = work.checksum() == expected and (depth == 0 or fork(depth - 1))
            finally:
                os._exit(not right)
        return os.waitpid(pid, 0)[1] == 0

    results = []
    threads = [threading.Thread(target=lambda: results.append(fork(2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3 and work.checksum() == expected
    """
    run(folder, code=code, seconds=300)


def test_threads_compute_the_same_bits(folder):
    """Eight callers at once, each with numbers of its own, while thread counts and forced backends change."""
    code = """
    import threading
    import numpy as np
    import fastconv as fc
    import work
    from fastconv.layers import Convolution, Relu

    expected, wrong = work.everything(), []
    with fc.backend("numpy"):
        slow = fc.conv2d(work.x[:2], work.w, padding=1)

    def caller(seed):
        rng = np.random.default_rng(seed)
        w = rng.standard_normal((4, 3, 3, 3))
        layer, relu = Convolution(w, None, pad=1), Relu()
        for step in range(12):
            if not work.same(work.everything(), expected):
                wrong.append(("ours", seed, step))
            a = rng.standard_normal((2, 3, 9, 9))
            y = relu.forward(layer.forward(a))
            reference = np.maximum(fc.conv2d(a, w, padding=1), 0)
            if not np.array_equal(y, reference) or not np.array_equal(relu.mask, reference == 0):
                wrong.append(("layers", seed, step))
            if seed == 0:
                with fc.backend("numpy"):
                    if not np.array_equal(fc.conv2d(work.x[:2], work.w, padding=1), slow):
                        wrong.append(("forced", seed, step))

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    """
    run(folder, code=code, seconds=300)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process itself")
def test_an_interrupt_leaves_everything_usable(folder):
    """SIGINT at many moments of training steps and of calls: raised as KeyboardInterrupt, and forgotten afterwards."""
    code = """
    import os, signal, threading, time
    import numpy as np
    import fastconv as fc
    import work
    from fastconv.layers import Convolution
    from fastconv.networks import DeepConvNet
    from fastconv.optim import Adam

    signal.signal(signal.SIGINT, signal.default_int_handler)
    expected = work.everything()
    net = DeepConvNet(rng=0, dtype=np.float32)
    images, labels = work.images[:32], work.labels[:32]

    def still(net):
        "Scores and gradients, with dropout's masks from one seed."
        np.random.seed(0)
        for layer in net.every_layer():
            if hasattr(layer, "mask") and hasattr(layer, "rng"):
                layer.rng = np.random.default_rng(7)
        return [net.predict(images), *net.gradient(images, labels).values()]

    before, interrupts = still(net), 0
    for k in range(40):
        timer = threading.Timer(0.001 + 0.0011 * k, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            while True:
                with fc.backend("cython" if k % 2 else None):
                    net.gradient(images, labels)
                    fc.conv2d(work.x, work.w, padding=1)
        except KeyboardInterrupt:
            interrupts += 1
        timer.join()
        if k % 8 == 0:
            assert work.same(still(net), before), k
            assert work.same(work.everything(), expected), k
    assert interrupts == 40
    assert fc.show_config() is None
    with fc.backend("numpy"):
        reference = fc.conv2d(work.x[:1], work.w, padding=1)
    np.testing.assert_allclose(fc.conv2d(work.x[:1], work.w, padding=1), reference, rtol=1e-3, atol=1e-3)
    x = np.ones((1, 16, 28, 28), np.float32)
    layer = Convolution(work.w, None)
    y = layer.forward(x)
    x += 1
    try:
        layer.backward(y)
    except RuntimeError:
        pass
    else:
        raise AssertionError("what a network's pass assumes has outlived it")
    """
    run(folder, code=code, seconds=300)


@pytest.mark.parametrize("end", ["return", "sys.exit(0)", "os._exit(0)", "raise SystemExit"])
def test_the_interpreter_ends_while_helpers_work(folder, end):
    """Daemon threads inside of kernels, the pool's helpers awake: no crash, no hang, no word on stderr."""
    code = f"""
    import os, sys, threading, time
    import work

    def for_ever():
        while True:
            work.everything()

    def main():
        for _ in range(3):
            threading.Thread(target=for_ever, daemon=True).start()
        time.sleep(0.3)
        {end}

    main()
    """
    for _ in range(4):
        done = run(folder, code=code, seconds=60)
        assert done.stderr == ""


@pytest.mark.parametrize("order", ["fastconv, torch", "torch, fastconv"])
def test_beside_pytorch(folder, order):
    """Imported before or after, both at work in turns and at once."""
    pytest.importorskip("torch")
    code = f"""
    import {order}
    import threading
    import numpy as np
    import torch
    import work

    expected = work.everything()
    x, w = torch.tensor(work.x), torch.tensor(work.w)
    theirs = torch.relu(torch.nn.functional.conv2d(x, w, padding=1)).numpy()
    np.testing.assert_allclose(expected[0], theirs, rtol=1e-3, atol=1e-3)
    stop = False

    def pytorch():
        while not stop:
            y = torch.relu(torch.nn.functional.conv2d(x, w, padding=1)).numpy()
            assert np.array_equal(y, theirs)

    thread = threading.Thread(target=pytorch)
    thread.start()
    for _ in range(5):
        assert work.same(work.everything(), expected)
    stop = True
    thread.join()
    assert fastconv.get_num_threads() == 2
    """
    run(folder, code=code, seconds=300)


@pytest.mark.numba
def test_beside_numbas_threads(folder):
    """A program's own parallel function in one thread, the compiled kernels in others, then the Numba backend."""
    pytest.importorskip("numba")
    code = """
    import threading
    import numba
    import numpy as np
    import fastconv as fc
    import work

    @numba.njit(parallel=True)
    def double(x):
        y = np.empty_like(x)
        for i in numba.prange(x.size):
            y[i] = 2 * x[i]
        return y

    a, wrong, stop = np.arange(100_000.0), [], False
    assert np.array_equal(double(a), 2 * a)
    expected, before = work.everything(), numba.get_num_threads()

    def ours():
        while not stop:
            if not work.same(work.everything(), expected):
                wrong.append(1)

    threads = [threading.Thread(target=ours) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        assert np.array_equal(double(a), 2 * a)
    stop = True
    for thread in threads:
        thread.join()
    assert not wrong
    with fc.backend("numba"):
        np.testing.assert_allclose(fc.relu(work.rows), np.maximum(work.rows, 0))
    assert numba.get_num_threads() == before and np.array_equal(double(a), 2 * a)
    """
    run(folder, code=code, seconds=300)

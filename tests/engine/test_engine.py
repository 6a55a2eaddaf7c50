"""The CPU engine: choice of the instruction set, threads, and the buffer pool."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastconv.kernels._cpu import engine, limits
from fastconv.kernels.activations import cy as activations

CPU_SOURCES = Path(limits.__file__).parent
LARGE = 1 << 20  # elements: enough work for two threads


IMPORTS = "from fastconv.kernels._cpu import engine, limits\n"


def run(code, prelude=IMPORTS, **environment):
    """Run Python code in a fresh interpreter, for at most a minute."""
    return subprocess.run(
        [sys.executable, "-c", prelude + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def output(code, prelude=IMPORTS, **environment):
    """What the code prints; it must end well and say nothing on stderr."""
    done = run(code, prelude, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def threads():
    """Two threads, whatever the machine has; the setting before is restored."""
    before = engine.get_num_threads()
    engine.set_num_threads(2)
    yield
    engine.set_num_threads(before)


@pytest.fixture
def cache():
    """An empty cache with the usual limit."""
    before = engine.memory_stats()["limit_bytes"]
    gc.collect()
    engine.empty_cache()
    yield
    engine.set_cache_limit(before)


def relu_is_right(seed):
    """One large ReLU into a pooled array against NumPy."""
    x = np.random.default_rng(seed).standard_normal(LARGE, np.float32)
    y = engine.empty(x.shape, x.dtype)
    activations.relu_forward(y, x, None)
    return np.array_equal(y, np.maximum(x, 0))


class TestIsa:
    def test_best_is_the_default(self):
        assert output("print(engine.isa())", FASTCONV_ISA="") == engine.supported_isas()[0]

    def test_supported_end_in_baseline(self):
        assert engine.supported_isas()[-1] == "baseline"
        assert engine.isa() in engine.supported_isas()

    @pytest.mark.parametrize("isa", engine.supported_isas())
    def test_forced(self, isa):
        code = (
            "import sys, numpy as np\n"
            "from fastconv.kernels.activations import cy\n"
            "x = np.linspace(-3, 3, 37, dtype=np.float32); y = np.empty_like(x)\n"
            "cy.relu_forward(y, x, None)\n"
            "assert np.array_equal(y, np.maximum(x, 0))\n"
            "print(engine.isa(), *(m.rsplit('.')[-1] for m in sys.modules if '.activations.isa_' in m))"
        )
        assert output(code, FASTCONV_ISA=isa) == f"{isa} isa_{isa}"

    def test_unsupported_is_an_error_that_names_the_supported(self):
        done = run("", FASTCONV_ISA="sse9")
        assert done.returncode != 0
        message = done.stderr.strip().splitlines()[-1]
        assert message == f"ValueError: FASTCONV_ISA='sse9': this machine supports {', '.join(engine.supported_isas())}"


class TestThreadCount:
    def test_set_and_get(self, threads):
        for n in (1, 3, np.int64(2)):
            engine.set_num_threads(n)
            assert engine.get_num_threads() == n

    @pytest.mark.parametrize("n", [0, -1])
    def test_wrong_value(self, n):
        with pytest.raises(ValueError, match=f"n: expected at least 1 thread, got {n}"):
            engine.set_num_threads(n)

    @pytest.mark.parametrize("n", ["2", 2.0, None, True])
    def test_wrong_type(self, n):
        with pytest.raises(TypeError, match="n: expected an integer"):
            engine.set_num_threads(n)

    @pytest.mark.parametrize(
        "ours, openmp, expected",
        [("3", "5", "3"), ("", "5", "5"), ("", "4,2", "4"), ("", "nonsense", None), ("", "", None)],
    )
    def test_environment(self, ours, openmp, expected):
        got = output("print(engine.get_num_threads())", FASTCONV_NUM_THREADS=ours, OMP_NUM_THREADS=openmp)
        assert got == (expected or str(limits.available_cpus()))

    @pytest.mark.parametrize("value", ["0", "-1", "two"])
    def test_wrong_environment(self, value):
        done = run("", FASTCONV_NUM_THREADS=value)
        assert done.returncode != 0
        assert "ValueError: FASTCONV_NUM_THREADS: expected" in done.stderr

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
    def test_affinity(self):
        code = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); print(limits.available_cpus())"
        assert output(code) == "1"


@pytest.mark.parametrize("first, last", [("threadpoolctl", "engine"), ("engine", "threadpool")])
def test_threadpoolctl_limits_our_threads(first, last):
    pytest.importorskip("threadpoolctl")
    modules = {
        "threadpoolctl": "import threadpoolctl",
        "engine": "from fastconv.kernels._cpu import engine",
        "threadpool": "import fastconv.kernels._cpu.threadpool",
    }
    code = (
        f"{modules[first]}\n{modules[last]}\n"
        "import threadpoolctl\n"
        "from fastconv.kernels._cpu import engine\n"
        "engine.set_num_threads(3)\n"
        "with threadpoolctl.threadpool_limits(1): print(engine.get_num_threads())\n"
        "print(engine.get_num_threads())\n"
        "print([i['num_threads'] for i in threadpoolctl.threadpool_info() if i['user_api'] == 'fastconv'])"
    )
    assert output(code, prelude="").split() == ["1", "3", "[3]"]


class TestControlGroups:
    """limits.py on made-up /proc and /sys trees."""

    @staticmethod
    def tree(root, files):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return root

    @pytest.fixture(autouse=True)
    def many_cpus(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)

    @pytest.mark.parametrize(
        "files, cpus",
        [
            ({}, 8),
            ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
            ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 2),
            ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "300000 100000"}, 3),
            ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),
            (
                {
                    "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/job",
                    "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000",
                    "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
                    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                },
                4,
            ),
        ],
    )
    def test_quota(self, tmp_path, files, cpus):
        assert limits.available_cpus(self.tree(tmp_path, files)) == cpus

    @pytest.mark.parametrize(
        "files",
        [
            {"proc/self/cgroup": "0::/x", "sys/fs/cgroup/x/memory.max": str(64 << 20)},
            {"proc/self/cgroup": "4:memory:/x", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(64 << 20)},
        ],
    )
    def test_memory(self, tmp_path, monkeypatch, files):
        monkeypatch.delenv("FASTCONV_CACHE_BYTES", raising=False)
        assert limits.default_cache_bytes(self.tree(tmp_path, files)) == 8 << 20

    def test_cache_environment(self):
        assert output("print(engine.memory_stats()['limit_bytes'])", FASTCONV_CACHE_BYTES="12345") == "12345"
        assert "FASTCONV_CACHE_BYTES: expected" in run("", FASTCONV_CACHE_BYTES="1G").stderr


class TestThreads:
    def test_every_task_runs_once(self, tmp_path):
        """threads_stress.cpp: sleeping and late helpers, rival callers, nested calls, a fork; under ThreadSanitizer."""
        compiler = shutil.which("c++")
        if not compiler:
            pytest.skip("no C++ compiler")
        sources = [str(Path(__file__).with_name("threads_stress.cpp"))]
        sources += [str(CPU_SOURCES / name) for name in ("threads.cpp", "places.cpp")]
        program = str(tmp_path / "stress")
        build = [compiler, "-std=c++17", "-O1", f"-I{CPU_SOURCES}", *sources, "-o", program, "-pthread"]
        if subprocess.run([*build, "-fsanitize=thread"], capture_output=True).returncode:
            subprocess.run(build, check=True)
        environment = {**os.environ, "TSAN_OPTIONS": "die_after_fork=0 exitcode=66"}
        done = subprocess.run([program, "2000"], capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr

    def test_callers_at_once(self, threads):
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(relu_is_right, range(24)))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_fork_while_others_compute(self, threads):
        assert relu_is_right(0)
        stop = threading.Event()

        def compute():
            while not stop.is_set():
                relu_is_right(0)

        busy = threading.Thread(target=compute)
        busy.start()
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    os._exit(0 if relu_is_right(1) and relu_is_right(2) else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            busy.join()
        assert relu_is_right(3)

    def test_exit_with_helpers_asleep_or_spinning(self):
        code = (
            "import numpy as np, time\n"
            "from fastconv.kernels.activations import cy\n"
            "engine.set_num_threads(4)\n"
            f"x = np.ones({LARGE}, np.float32); y = np.empty_like(x)\n"
            "cy.relu_forward(y, x, None)\n"
            "time.sleep({pause})"
        )
        for pause in (0, 0.05):
            output(code.format(pause=pause))

    def test_same_bits_for_any_number_of_threads(self, threads):
        x = np.random.default_rng(0).standard_normal(LARGE + 5)
        results = []
        for n in (1, 2, 3):
            engine.set_num_threads(n)
            results.append(np.empty_like(x))
            activations.tanh_forward(results[-1], x, None)
        assert np.array_equal(results[0], results[1])
        assert np.array_equal(results[0], results[2])


class TestArrays:
    @pytest.mark.parametrize("shape", [(), 0, 5, (0, 3), (3, 4, 5), (np.int64(7),), (1,) * 64, (700, 1000)])
    @pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f4", "f8", "c16"])
    def test_empty(self, shape, dtype):
        a = engine.empty(shape, dtype)
        assert type(a) is np.ndarray
        assert a.shape == np.empty(shape).shape
        assert a.dtype == dtype
        assert a.flags.c_contiguous and a.flags.aligned and a.flags.writeable and a.flags.owndata
        assert a.ctypes.data % 64 == 0
        a[...] = 1
        assert (a == 1).all()

    @pytest.mark.parametrize(
        "shape, dtype, error, message",
        [
            ((2, -1), "f4", ValueError, "not negative"),
            ((1,) * 65, "f4", ValueError, "at most 64"),
            (2.5, "f4", TypeError, "float"),
            (3, "O", TypeError, "dtype: .*object"),
            (3, "U3", TypeError, "dtype: "),
            (3, np.dtype("f4").newbyteorder(), TypeError, "dtype: "),
            ((2**40, 2**40), "f4", MemoryError, None),
            (2**60, "f8", MemoryError, None),
        ],
    )
    def test_wrong(self, shape, dtype, error, message):
        with pytest.raises(error, match=message):
            engine.empty(shape, dtype)

    def test_arrays_and_views_are_the_users(self, cache):
        held = [engine.empty(1000, "i8") for _ in range(50)]
        for i, a in enumerate(held):
            a.fill(i)
        views = [a[::7] for a in held[:25]]
        del held[:25], a
        others = [engine.empty(1000, "i8") for _ in range(50)]
        for a in others:
            a.fill(-1)
        assert all((view == i).all() for i, view in enumerate(views))
        assert all((a == i + 25).all() for i, a in enumerate(held))

    def test_resize_keeps_the_values(self, cache):
        a = engine.empty(100, "f8")
        a[:] = np.arange(100)
        a.resize(100_000, refcheck=False)
        assert np.array_equal(a[:100], np.arange(100))
        a.resize(10, refcheck=False)
        assert np.array_equal(a, np.arange(10))

    def test_tracemalloc_sees_them(self):
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            a = engine.empty(1 << 20, "f4")
            during = tracemalloc.get_traced_memory()[0]
            del a
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert during - before >= 4 << 20
        assert after - before < 1 << 20


class TestCache:
    def test_a_freed_block_serves_the_next_request(self, cache):
        a = engine.empty(123_457, "f4")
        address = a.ctypes.data
        del a
        assert engine.empty(123_457, "f4").ctypes.data == address

    def test_statistics(self, cache):
        start = engine.memory_stats()
        a = engine.empty(1 << 20, "f4")
        used = engine.memory_stats()
        assert used["misses"] == start["misses"] + 1
        assert 4 << 20 <= used["used_bytes"] - start["used_bytes"] <= 8 << 20
        del a
        kept = engine.memory_stats()
        assert kept["peak_bytes"] >= used["used_bytes"]
        engine.reset_peak()
        assert engine.memory_stats()["peak_bytes"] == kept["used_bytes"]
        assert kept["used_bytes"] == start["used_bytes"]
        assert kept["cached_bytes"] == used["used_bytes"] - start["used_bytes"]
        engine.empty(1 << 20, "f4")
        assert engine.memory_stats()["hits"] == start["hits"] + 1
        engine.empty_cache()
        assert engine.memory_stats()["cached_bytes"] == 0

    def test_limit(self, cache):
        engine.set_cache_limit(1 << 20)
        for n in (1000, 100_000, 200_000, 10_000_000, 150_000):
            arrays = [engine.empty(n, "u1") for _ in range(8)]
            del arrays
            assert engine.memory_stats()["cached_bytes"] <= 1 << 20
        engine.set_cache_limit(0)
        assert engine.memory_stats()["cached_bytes"] == 0

    def test_sizes_of_the_past_give_way(self, cache):
        engine.set_cache_limit(1 << 20)
        past = [engine.empty(100_000, "u1") for _ in range(9)]
        del past
        address = engine.empty(300_000, "u1").ctypes.data
        assert engine.empty(300_000, "u1").ctypes.data == address

    @pytest.mark.parametrize("limit, error", [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
    def test_wrong_limit(self, limit, error):
        with pytest.raises(error):
            engine.set_cache_limit(limit)

    def test_threads_do_not_share_blocks(self, cache):
        def churn(seed):
            rng = np.random.default_rng(seed)
            held = []
            for step in range(2000):
                a = engine.empty(int(rng.integers(1, 5000)), "i8")
                a.fill(seed * 10_000 + step)
                held.append((a, seed * 10_000 + step))
                if len(held) > 20:
                    a, value = held.pop(int(rng.integers(len(held))))
                    if not (a == value).all():
                        return False
            return all((a == value).all() for a, value in held)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(churn, range(4)))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_fork(self, cache):
        a = engine.empty(300_000, "f4")
        a.fill(1)
        engine.empty(300_000, "f4")
        child = os.fork()
        if child == 0:
            b = engine.empty(300_000, "f4")
            b.fill(2)
            fine = (a == 1).all()
            a.fill(3)
            engine.empty_cache()
            os._exit(0 if fine and (b == 2).all() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert (a == 1).all()

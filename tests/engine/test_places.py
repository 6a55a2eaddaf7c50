"""Where the thread pool's helpers are woken, and that their affinity masks stay what the user gave them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.kernels._cpu import limits

CPU_SOURCES = Path(limits.__file__).parent

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity masks")
two_processors = pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="needs two processors"
)

# Helpers are woken by `woken()`, which returns when they have begun, have their masks back and are asleep again.
PRELUDE = """
import os, sys, threading, time
import numpy as np
cpus = sorted(os.sched_getaffinity(0))
if sys.argv[1:]: os.sched_setaffinity(0, cpus[:int(sys.argv[1])])
from fastconv.kernels._cpu import engine
from fastconv.kernels.activations import cy
engine.set_num_threads(2)
x = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
y, expected = np.empty_like(x), np.maximum(x, 0)
def call(out=y):
    cy.relu_forward(out, x, None)
    assert np.array_equal(out, expected)
def wakes(): return [r["wakes"] for r in engine.helper_records()]
def asleep(): return all(r["asleep"] for r in engine.helper_records())
def wait(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, engine.helper_records()
        time.sleep(.001)
def woken(act=call):
    wait(asleep)
    before = wakes()
    act()
    wait(lambda: wakes() != before and asleep())
    return engine.helper_records()
def masks():
    found = []
    for r in engine.helper_records():
        lines = open(f"/proc/self/task/{r['thread']}/status").read().splitlines()
        text = next(line for line in lines if line.startswith("Cpus_allowed_list")).split()[1]
        parts = [part.split("-") for part in text.split(",")]
        found.append({i for part in parts for i in range(int(part[0]), int(part[-1]) + 1)})
    return found
def give_all(mask):
    for task in os.listdir("/proc/self/task"): os.sched_setaffinity(int(task), mask)
call()
wait(lambda: engine.helper_records() and engine.helper_records()[0]["thread"])
"""


def run(code, *args, **environment):
    """The code behind the prelude, in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code, *map(str, args)],
        env={**os.environ, "FASTCONV_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_rule(tmp_path):
    """places_check.cpp: the processors of made-up machines dealt out, and one thread's mask narrowed and widened."""
    compiler = shutil.which("c++")
    if not compiler:
        pytest.skip("no C++ compiler")
    sources = [str(Path(__file__).with_name("places_check.cpp")), str(CPU_SOURCES / "places.cpp")]
    program = str(tmp_path / "places")
    subprocess.run([compiler, "-std=c++17", "-O1", f"-I{CPU_SOURCES}", *sources, "-o", program, "-pthread"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@two_processors
@pytest.mark.parametrize("pinned", [False, True])
def test_a_woken_helper_has_a_processor_of_its_own(pinned):
    """Also when the calling thread has pinned itself after its helper was created."""
    code = """
if PINNED: os.sched_setaffinity(0, cpus[:1])
together = sum(r["began_on"] == r["caller_on"] for _ in range(100) for r in woken())
if PINNED: assert engine.helper_records()[0]["caller_on"] == cpus[0]
assert masks() == [set(cpus)], masks()
print(together)
"""
    assert int(run(code.replace("PINNED", str(pinned)))[0]) <= 10


@two_processors
def test_an_announced_job_wakes_helpers_and_need_not_come():
    code = """
engine.set_num_threads(3)
call()
wait(lambda: len(engine.helper_records()) == 2)
for _ in range(20):
    woken(lambda: engine.expect(1e9))
    assert masks() == 2 * [set(cpus)]
before = wakes()
engine.expect(1.0)
time.sleep(.01)
assert wakes() == before
call()
"""
    run(code)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("threads", [2, 5])
def test_the_users_mask_is_there_after_a_call(count, threads):
    if count > len(os.sched_getaffinity(0)):
        pytest.skip("needs two processors")
    code = """
engine.set_num_threads(THREADS)
call()
wait(lambda: len(engine.helper_records()) == THREADS - 1 and all(r["thread"] for r in engine.helper_records()))
for _ in range(20):
    woken()
    assert masks() == (THREADS - 1) * [set(cpus[:int(sys.argv[1])])], masks()
assert os.sched_getaffinity(0) == set(cpus[:int(sys.argv[1])])
"""
    run(code.replace("THREADS", str(threads)), count)


@two_processors
def test_masks_changed_while_the_program_runs():
    """All threads', as taskset -a does, to one processor and back; then the helper's alone."""
    code = """
for mask in (cpus[:1], cpus, cpus[1:2], cpus[:2]):
    give_all(mask)
    for _ in range(5):
        assert woken()[0]["began_on"] in mask
        assert masks() == [set(mask)]
        assert os.sched_getaffinity(0) == set(mask)
for i in range(2):
    os.sched_setaffinity(engine.helper_records()[0]["thread"], cpus[i:i + 1])
    for _ in range(5):
        assert woken()[0]["began_on"] == cpus[i]
        assert masks() == [set(cpus[i:i + 1])]
"""
    run(code)


@two_processors
def test_no_mask_is_ever_wider_than_the_users():
    """Looked at all the time while helpers are woken; narrowed for good only where the user said so."""
    code = """
stop, seen = threading.Event(), set()
def look():
    while not stop.is_set():
        for mask in masks(): seen.add(frozenset(mask))
watcher = threading.Thread(target=look)
watcher.start()
for _ in range(200):
    call()
    time.sleep(.0005)
stop.set()
watcher.join()
allowed = set(cpus[:int(sys.argv[1])])
assert seen and all(mask and mask <= allowed for mask in seen), seen
woken()
assert masks() == [allowed]
"""
    for count in (1, 2):
        run(code, count)


@two_processors
def test_helpers_of_a_pinned_thread_stay_where_it_is():
    """The mask of a helper is its creator's, as of any thread; it is not widened when others call."""
    code = """
assert masks() == [set(cpus[:1])]
os.sched_setaffinity(0, cpus)
for _ in range(5): woken()
assert masks() == [set(cpus[:1])]
"""
    run(code, 1)


@two_processors
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_after_a_fork():
    code = """
for _ in range(3): woken()
for asleep_first in (True, False):
    call()
    if asleep_first: wait(asleep)
    child = os.fork()
    if child == 0:
        try:
            assert engine.helper_records() == []
            call()
            wait(lambda: len(engine.helper_records()) == 1 and engine.helper_records()[0]["thread"])
            together = sum(r["began_on"] == r["caller_on"] for _ in range(40) for r in woken())
            assert together <= 6 and masks() == [set(cpus)], (together, masks())
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
woken()
assert masks() == [set(cpus)]
"""
    run(code)


@two_processors
def test_several_threads_call():
    """In turns and at once, with pauses in which helpers sleep; every result is right and every mask is back."""
    code = """
def caller(seed):
    out = np.empty_like(x)
    for i in range(60):
        call(out)
        if i % 4 == seed: time.sleep(.001)
threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(4)]
for t in threads: t.start()
for t in threads: t.join()
for seed in range(6):
    t = threading.Thread(target=woken)
    t.start()
    t.join()
    assert masks() == [set(cpus)]
print(wakes()[0])
"""
    assert int(run(code)[0]) >= 6

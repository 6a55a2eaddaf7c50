"""The benches' machinery: everything that is to be timed is, the book's formulas are right, and what is printed is true."""

import json
import os
import re
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc
from fastconv import ops
from fastconv._table import ACTIVATIONS
from fastconv.optim import SGD
from fastconv.testing import SPEED, ConvCase

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import accuracy  # noqa: E402
import compare  # noqa: E402
import pictures  # noqa: E402
import report  # noqa: E402
from sides import Settings, Side, library, measure  # noqa: E402
from targets import TARGETS, Target  # noqa: E402
from work import Work, all_work, sizes, times  # noqa: E402
from work_conv import flops, shape_text  # noqa: E402
from work_steps import NETS, book_net, data, our_net, torch_net  # noqa: E402

WORKS = {work.id: work for work in all_work()}


@pytest.mark.parametrize("op", SPEED)
def test_every_shape_is_timed_in_both_directions(op):
    groups = {
        "conv2d_batch1": ("conv2d forward", "conv2d backward"),
        "pool2d": ("max_pool2d forward", "max_pool2d backward", "avg_pool2d forward", "avg_pool2d backward"),
        "affine": ("affine forward", "affine dx", "affine dW, db"),
        "elementwise": ("relu forward", "relu backward"),
        "softmax": ("softmax + cross entropy with gradient",),
    }.get(op, (f"{op} forward", f"{op} backward"))
    for case in SPEED[op]:
        if op in ("conv2d", "conv2d_batch1", "depthwise"):
            name = shape_text(case)
        elif op == "pool2d":
            name = f"{case.N}x{case.C}x{case.H}x{case.W} {case.kernel}x{case.kernel}" + f" s{case.stride}" * bool(
                case.stride
            )
        elif op == "affine":
            name = times(case.N, case.K, case.M)
        else:
            name = times(*case.shape)
        if (op, name) == ("elementwise", "10"):
            assert "call/relu of 10 numbers" in WORKS
            continue
        for group in groups:
            assert {"fastconv", "torch"} <= set(WORKS[f"{group}/{name}"].sides)


def test_works_and_targets_name_each_other():
    works = all_work()
    assert len(works) == len(WORKS)
    assert {row for work in works for row in work.rows} == set(TARGETS)
    for work in works:
        for row in work.rows:
            side = TARGETS[row].side.split("@")[0]
            assert side in work.sides, (work.id, row)


def test_operations_counted():
    case = SPEED["conv2d"][0]
    work = WORKS[f"conv2d forward/{shape_text(case)}"]
    assert work.flops == flops(case) == 2 * 100 * 30 * 24 * 24 * 25
    assert work.bytes == sizes((100, 1, 28, 28), (30, 1, 5, 5), (100, 30, 24, 24))
    assert WORKS[f"conv2d backward/{shape_text(case)}"].flops == 2 * work.flops


@pytest.mark.parametrize(
    "work", [w for w in WORKS.values() if w.group in ("call", "Adam") or "10x10" in w.id], ids=lambda w: w.id
)
def test_builders_build(work):
    for side in work.sides:
        for call in work.sides[side]():
            call()


@pytest.mark.parametrize("net", ["SimpleConvNet", "LeNet"])
def test_a_step_by_the_books_formulas_is_ours(net):
    theirs, ours = book_net(net, np.float64), our_net(net, np.float64)
    for (key, value), own in zip(ours.params.items(), _parameters(theirs), strict=True):
        assert value.shape == own.shape, key
        value[...] = own
    x, t = data(net, 3, np.float64)
    SGD(0.01).update(ours.params, ours.gradient(x, t))
    theirs.step(x, t)
    for value, own in zip(ours.params.values(), _parameters(theirs), strict=True):
        np.testing.assert_allclose(value, own, rtol=1e-9, atol=1e-12)


def _parameters(net):
    return [array for layer in net.layers if hasattr(layer, "W") for array in (layer.W, layer.b)]


@pytest.mark.parametrize("net", NETS)
def test_networks_are_the_same_three_times(net):
    def count(arrays):
        return sorted(int(np.prod(a.shape)) for a in arrays)

    ours = count(our_net(net, np.float32).params.values())
    assert ours == count(_parameters(book_net(net, np.float32))) == count(torch_net(net).parameters())


def test_every_operation_has_a_bench():
    text = "".join(path.read_text() for path in BENCH.glob("bench_*.py"))
    named = set(re.findall(r"\w+", text))
    named |= {f"{name}_backward" for name in ACTIVATIONS}  # f"{name}_backward" there
    assert set(ops.__all__) <= named


def test_benches_can_be_grouped_by_case():
    text = "".join(path.read_text() for path in BENCH.glob("bench_*.py"))
    assert len(re.findall(r"^def bench_", text, re.M)) == len(re.findall(r"^def bench_\w+\(timed, case", text, re.M))


def test_measure_takes_the_fastest_variant():
    def call(ms):
        sum(range(ms * 20_000))

    best, median = measure([partial(call, 30), partial(call, 1)], 0.01)
    alone, _ = measure([partial(call, 30)], 0.01)
    assert 0 < best <= median
    assert best < alone


def test_a_side_answers_from_a_process_of_its_own():
    numbers = {work.id: i for i, work in enumerate(all_work())}
    side = Side("fastconv@1", Settings(threads=2, seconds=0.001))
    try:
        best, median = side.time(numbers["call/relu of 10 numbers"], 0.001)
        assert 0 < best <= median
    finally:
        side.close()
    assert side.process.returncode == 0


def test_a_side_says_what_went_wrong():
    numbers = {work.id: i for i, work in enumerate(all_work())}
    side = Side("book64", Settings(threads=1, seconds=0.001))
    try:
        assert side.time(numbers["call/relu of 10 numbers"], 0.001) == "KeyError: 'book64'"
    finally:
        side.close()


def test_an_instruction_set_binds_both_sides():
    env = Settings(3, 0.1, isa="avx2", backend="numba").environment(2)
    assert (env["FASTCONV_ISA"], env["ONEDNN_MAX_CPU_ISA"], env["ATEN_CPU_CAPABILITY"]) == ("avx2", "AVX2", "avx2")
    assert (env["FASTCONV_BACKEND"], env["FASTCONV_NUM_THREADS"], env["OMP_NUM_THREADS"]) == ("numba", "2", "2")
    assert set(compare.chosen_targets(Settings(2, 0.1, isa="avx2"))) == {"conv forward", "conv backward"}
    assert "two threads" not in compare.chosen_targets(Settings(4, 0.1))


def test_the_machine_is_described_as_our_side_sees_it():
    about = compare.machine(Settings(2, 0.1, isa="baseline"))
    assert (about["isa"], about["threads"], about["numpy"]) == ("baseline", 2, np.__version__)


def test_names_of_sides():
    assert [library(side) for side in ("fastconv@1", "hot@1", "torch", "torch.contiguous", "torch.compile")] == [
        *("fastconv", "hot", "torch", "torch", "torch.compile")
    ]


def test_sides_of_a_work():
    work = Work("g", "n", ("two threads",), dict.fromkeys(("fastconv", "torch", "book32"), list))
    assert compare.sides_of(work, TARGETS, []) == ["fastconv", "fastconv@1", "torch", "book32"]
    assert compare.sides_of(work, {}, []) == ["fastconv", "torch", "book32"]
    assert compare.sides_of(work, TARGETS, ["torch@1", "onnxruntime"]) == ["torch@1"]


def _outcome():
    def work(name, ours, theirs, **rest):
        shown = {
            "id": f"conv/{name}",
            "group": "conv",
            "name": name,
            "rows": ["a", "b"],
            "flops": 1e9,
            "bytes": 1e6,
            "pause": 0.0,
        }
        sides = {"fastconv": ours, "torch": theirs, **rest}
        return shown | {"times": {s: {"best": t, "median": 2 * t} if t else {"error": "no"} for s, t in sides.items()}}

    targets = {"a": Target("every shape", 1.5, mean=3.0), "b": Target("threads", 1.8, "fastconv@1", above=0.05)}
    return {
        "machine": {"processor": "P", "threads": 2},
        "ceiling": {"flops": 200e9, "copy": [10e9] * 7, "triad": [5e9] * 7},
        "targets": {key: asdict(target) for key, target in targets.items()},
        "works": [
            work("one", 0.01, 0.02, **{"fastconv@1": 0.04}),
            work("two", 0.1, 0.125, **{"fastconv@1": 0.2}),
            work("lost", None, 0.1),
        ],
    }


def test_an_earlier_run_counts_for_every_side():
    def run(ours, torch, processor="one"):
        times = {"fastconv": dict(zip(("best", "median"), ours, strict=True)), "torch": torch}
        return {
            "machine": {"processor": processor, "load": ours[0]},
            "ceiling": {"flops": ours[0], "copy": [1.0, ours[1]], "triad": [2.0, 2.0]},
            "works": [{"id": "a", "times": times}],
        }

    outcome = run((3.0, 4.0), {"best": 5.0, "median": 8.0})
    compare.count_earlier(outcome, run((2.0, 6.0), {"best": 6.0, "median": 6.0}))
    assert outcome["works"][0]["times"] == {
        "fastconv": {"best": 2.0, "median": 5.0},
        "torch": {"best": 5.0, "median": 7.0},
    }
    assert outcome["machine"]["runs"] == 2
    assert outcome["ceiling"] == {"flops": 3.0, "copy": [1.0, 6.0], "triad": [2.0, 2.0]}
    compare.count_earlier(outcome, run((1.0, 5.0), {"error": "not run"}))
    assert outcome["works"][0]["times"]["torch"] == {"best": 5.0, "median": 7.0}
    assert outcome["machine"]["runs"] == 3
    with pytest.raises(SystemExit, match="earlier"):
        compare.count_earlier(outcome, run((1.0, 1.0), {}, processor="other"))


def test_table_of_targets():
    every, threads = report.table(_outcome())
    assert every.ratios == {"conv/one": pytest.approx(2.0), "conv/two": pytest.approx(1.25)}
    assert every.misses == ["conv/two"] and not every.met
    assert every.mean == pytest.approx(2.5**0.5)
    assert list(threads.ratios) == ["conv/two"] and threads.met  # the other took no 50 ms


def test_markdown_tables():
    lines = report.markdown(_outcome()).splitlines()
    assert lines[0] == "processor P, threads 2"
    assert "| every shape | 1.5, mean 3 | 1.25 | 1.58 | 1.58 | 1 of 2 | **missed** |" in lines
    assert "| threads | 1.8 | 2.00 | 2.00 | 2.00 | 1 of 1 |  |" in lines
    assert "Our median is within 0.9 of our best in 0 of 2; furthest from it: conv/one 0.50; conv/two 0.50" in lines
    assert "- every shape: conv/two 1.25; geometric mean 1.58" in lines
    assert "| work | ours | rate | of ceiling | torch | fastconv@1 | wanted |" in lines
    assert "| conv/one | 10 ms (20) | 100 GF/s | 50 % | 2.00 (2.00) | 4.00 (4.00) | 1.5 |" in lines
    assert (
        "| conv/two | 100 ms (200) | 10 GF/s | 5 % | 1.25 (1.25) | 2.00 (2.00) | 1.5 **missed**, 1.8 fastconv@1 |"
        in lines
    )
    assert "| conv/lost | no |  |  |  |  |  |" in lines


def test_a_row_may_count_medians():
    outcome = _outcome()
    outcome["targets"]["a"]["by"] = "median"
    outcome["works"][0]["times"]["torch"]["median"] = 0.08
    every, _ = report.table(outcome)
    assert every.ratios == {"conv/one": pytest.approx(4.0), "conv/two": pytest.approx(1.25)}
    assert any(line.startswith("| every shape (medians) |") for line in report.markdown(outcome).splitlines())


def test_two_builds_side_by_side():
    outcome = _outcome()
    for work, best, median in zip(outcome["works"], (0.01, 0.08), (0.04, 0.18), strict=False):
        work["times"]["before"] = {"best": best, "median": median}
    lines = list(report.changes(outcome))
    assert "| conv | 2 | 0.894 | 0.80 | 1.342 | 0.90 |" in lines
    assert "- conv/two: 0.80, 0.90" in lines


def test_each_build_is_imported_from_its_own_folder(tmp_path):
    settings = Settings(2, 0.1, against=str(tmp_path))
    paths = [
        settings.environment(2, side)["PYTHONPATH"].split(os.pathsep)[0] for side in ("fastconv", "hot", "before@1")
    ]
    assert paths == [str(BENCH.parent), str(BENCH.parent), str(tmp_path)]
    assert library("before@1") == "fastconv"
    with pytest.raises(SystemExit, match="'before' imports"):
        compare.check_builds(settings)


def test_a_burst_times_what_follows_its_first_call():
    times = []

    def call():
        times.append(time.perf_counter())

    measure([call], 0.001, 0.02)
    gaps = np.diff(times)[5:]
    assert (gaps > 0.02).all()
    times.clear()
    measure([call], 0.001, 0.02, 4)
    gaps = np.diff(times)[5:]
    assert len(gaps) % 5 == 4 and (gaps[4::5] > 0.02).all()


def test_memory_bound_work_is_rated_in_bytes():
    outcome = _outcome()
    outcome["works"][0] |= {"flops": 0.0, "bytes": 50e6}
    line = report.cells(outcome["works"][0], outcome, ["torch"])
    assert (line["rate"], line["of ceiling"]) == ("5.0 GB/s", "50 %")


def test_summary_for_a_terminal():
    assert "every shape: least 1.25, geometric mean 1.58 of 2 MISSED" in report.summary(_outcome()).splitlines()


def test_pictures(tmp_path, monkeypatch):
    path = tmp_path / "made-up.json"
    outcome = _outcome() | {"machine": {"processor": "P", "isa": "I", "threads": 2, "torch": "T"}}
    outcome["works"][0]["id"] = "conv2d forward/8x64x56x56 64@3x3 p1"
    path.write_text(json.dumps(outcome))
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(path), "--format", "png"])
    pictures.main()
    for name in ("classes", "ratio", "roofline"):
        assert (tmp_path / f"made-up-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_classes_of_the_small_picture():
    times = {"fastconv": {"best": 1.0}, "torch": {"best": 2.0}}
    names = {
        "conv2d forward/8x64x56x56 64@3x3 p1": "convolution 3x3",
        "conv2d backward/8x3x224x224 64@7x7 s2 p3": "convolution 5x5 and 7x7",
        "conv2d forward/8x256x56x56 64@1x1": "convolution 1x1",
        "depthwise backward/8x64x14x14 64@3x3 p1 g64": "depthwise convolution",
        "affine dW, db/100x784x256": "affine",
        "training step/LeNet batch 4": "training step",
        "training step/ResNet18 batch 4": None,  # networks of papers have a table of their own
        "conv2d highest forward/8x64x56x56 64@3x3 p1": None,
    }
    works = [{"id": name, "times": times} for name in names]
    expected = {name: [2.0] for name in pictures.CLASSES if name in names.values()}
    assert pictures.by_class({"works": works}, "torch") == expected


def test_errors_are_those_of_float32():
    before = fc.get_float32_conv_precision()
    try:
        rows = list(accuracy.errors(ConvCase(1, 64, 12, 12, 64, padding=1)))
    finally:
        fc.set_float32_conv_precision(before)
    assert [row["result"] for row in rows] == ["forward", "dx", "dw"]
    for row in rows:
        for side in accuracy.SIDES:
            rms, largest = row[side]
            assert 1e-8 < rms < 3e-6
            assert rms < largest < 100 * rms
        assert row["high"] != row["highest"]  # this shape is one of Winograd's

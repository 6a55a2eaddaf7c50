"""The fuzz itself: it knows every operation, sees faults that are planted, shrinks them; and a short run of each kind."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from fuzz import __main__ as calls
from fuzz import files, networks
from fuzz.draw import Draw
from fuzz.mutations import FORMATS, draw
from fuzz.operations import CALLS
from fuzz.outcome import Outcome, difference, pack
from fuzz.shrink import shrink, snippet
from fuzz.step import Name, Numbers, Settings, Step, View
from fuzz.worker import Runner

import fastconv as fc


def test_it_knows_every_operation():
    assert set(CALLS) - {"batch_norm_and_backward"} == set(fc.ops.__all__) - {"batch_norm_backward"}


@pytest.mark.parametrize("backend", ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"])
def test_random_calls(backend):
    count = {"cython": 1500, "numba": 100, "numpy": 500}[backend]
    assert calls.main(["--calls", str(count), "--minutes", "5", "--backend", backend, "--replays", "60"]) == 0


def test_random_programs_of_networks():
    assert networks.main(["--programs", "60", "--minutes", "3", "--backend", "cython"]) == 0


def test_mutated_files(capsys):
    assert files.main(["--inputs", "2000"]) == 0
    assert "2,000 inputs" in capsys.readouterr().out


def test_most_calls_are_right_and_some_are_refused():
    steps = [Draw(0).step(i) for i in range(600)]
    runner = Runner(afresh=True, backend="numpy")
    refused = sum(bool(runner.run(step).refusal) for step in steps)
    assert 30 < refused < 200
    assert len({step.function for step in steps}) == len(CALLS)
    assert sum(any(isinstance(v, View) for v in step.variables) for step in steps) > 40
    assert sum(any(isinstance(v, Numbers) and v.layout for v in step.variables) for step in steps) > 40
    assert any(step.written and step.function == "conv2d" for step in steps)
    assert steps == [Draw(0).step(i) for i in range(600)]


def test_every_format_is_read_and_refused():
    drawn = [draw(0, i, "/nowhere") for i in range(300)]
    assert {name for name, _, _ in drawn} == set(FORMATS)
    assert len({content for _, _, content in drawn}) > 250
    assert drawn == [draw(0, i, "/nowhere") for i in range(300)]


SQUARE = Numbers((4, 4), "f8", 1)
SHARED = Step("affine", (SQUARE, View(0)), (Name(0), Name(1)))
APART = Step("affine", (SQUARE, Numbers((4, 4), "f8", 2)), (Name(0), Name(1)))


def poisoned(affine):
    """affine that takes the second argument for the first after a call in which they were one."""
    met = []

    def wrong(x, W, **options):
        met.extend([True] * (x is W))
        return affine(x, x if met else W, **options)

    return wrong


def test_a_planted_fault_is_seen(monkeypatch):
    right = [Runner(afresh=True).run(step) for step in (APART, SHARED, APART)]
    monkeypatch.setattr(fc, "affine", poisoned(fc.affine))
    runner = Runner(afresh=False)
    seen = [runner.run(step) for step in (APART, SHARED, APART)]
    wrong = [difference(a, b, exact=True) for a, b in zip(seen, right, strict=True)]
    assert wrong[:2] == ["", ""]
    assert "expected: off by" in wrong[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.add(x, 1, out=x), "array 0 of the arguments was changed"),
        (lambda x: x[:1], "a result lies in the memory of array 0"),
    ],
)
def test_a_call_that_touches_its_input_is_seen(change, message, monkeypatch):
    monkeypatch.setattr(fc, "relu", change)
    outcome = Runner(afresh=False).run(Step("relu", (SQUARE,), (Name(0),)))
    assert message in difference(outcome, Outcome("", outcome.result), exact=True)


def test_a_kept_result_that_changes_is_seen(monkeypatch):
    same = np.zeros((4, 4))
    monkeypatch.setattr(fc, "relu", lambda x: np.maximum(x, 0, out=same))
    runner = Runner(afresh=False)
    step = Step("relu", (SQUARE,), (Name(0),), keep=True)
    assert not runner.run(step).faults
    assert (
        "kept result of fc.relu(a0) was changed"
        in runner.run(replace(step, variables=(replace(SQUARE, seed=2),))).faults[0]
    )


def test_differences_of_two_outcomes():
    one = Outcome("", (pack(np.array([1.0, 2.0])),))
    assert difference(one, one, exact=True) == ""
    near = Outcome("", (pack(np.array([1.0, 2.0 + 1e-13])),))
    assert "rounding alone" in difference(near, one, exact=True)
    assert difference(near, one, exact=False) == ""
    for other in (np.array([1.0, 2.1]), np.array([1.0, np.nan]), np.float32([1, 2]), np.array([[1.0, 2.0]])):
        assert difference(Outcome("", (pack(other),)), one, exact=False)
    assert "expected ValueError: x" in difference(one, Outcome("ValueError: x"), exact=True)


def test_a_history_is_shrunk_to_what_is_needed():
    filler = [Draw(0).step(i) for i in range(100)]
    layered = replace(
        SHARED, variables=(replace(SQUARE, layout="fortran"), View(0)), settings=Settings("cython", True, 3), keep=True
    )
    history = [*filler[:50], layered, *filler[50:], replace(APART, settings=Settings("cython", True, 2))]

    def ends(steps):
        shared = any(s.function == "affine" and isinstance(s.variables[-1], View) for s in steps[:-1])
        return "wrong" if shared and steps[-1].function == "affine" else ""

    shortest, why = shrink(history, ends, most=1000)
    assert why == "wrong"
    assert len(shortest) == 2
    assert [step.settings for step in shortest] == [Settings()] * 2
    assert shortest[0].variables[0].layout == ""
    assert shrink(history, lambda steps: "")[1] == ""


def test_a_snippet_is_plain_python():
    layered = replace(APART, variables=(replace(SQUARE, layout="misaligned"), SQUARE), named=(("b", None),))
    blocked = replace(layered, settings=Settings("numpy", True, 2, "highest"))
    text = snippet([SHARED, blocked], "seen 1, expected 2")
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    half = len(ran) // 2
    assert ran[:half] == ran[half:]
    assert "seen 1, expected 2" in text

"""Known texts: what their hash depends on, and that their code is not run."""

import ast
import re

import pytest
from texts_of_the_book import FUNCTIONS, LAYERS, UTIL, changed

from fastconv.programs import _editions
from fastconv.programs._editions import normalised
from fastconv.programs._known_texts import KNOWN
from fastconv.programs.recognisers import book

MODULES = {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": LAYERS}


def text(source):
    return normalised(ast.parse(source).body)


@pytest.mark.parametrize(
    "other",
    [
        "def f(a, b=1):\n    '''What it does.'''\n    return a + b\n",
        "def f(a: int, b: int = 1) -> int:\n    # add\n    return (a +\n        b)\n",
        "def f(a, b=1):\n\n    return a+b   # done\n",
    ],
)
def test_what_does_not_count(other):
    assert text(other) == text("def f(a, b=1):\n    return a + b\n")


@pytest.mark.parametrize(
    "other",
    [
        "def f(a, b=2):\n    return a + b\n",
        "def f(a, c=1):\n    return a + c\n",
        "def f(a, b=1):\n    return b + a\n",
        "@g\ndef f(a, b=1):\n    return a + b\n",
        "def f(a, b=1.0):\n    return a + b\n",
    ],
)
def test_what_counts(other):
    assert text(other) != text("def f(a, b=1):\n    return a + b\n")


def test_the_hash_is_the_same_everywhere():
    """It is part of the repository: no version of Python may see another one."""
    assert text("def f(a, *, b=None):\n    return a[1:] if b else {'x': -1.5}\n") == (
        "[FunctionDef(name='f',args=arguments(args=[arg(arg='a')],kwonlyargs=[arg(arg='b')],kw_defaults=[Constant()]),"
        "body=[Return(value=IfExp(test=Name(id='b'),body=Subscript(value=Name(id='a'),slice=Slice(lower=Constant("
        "value=1))),orelse=Dict(keys=[Constant(value='x')],values=[UnaryOp(op=USub(),operand=Constant(value=1.5))])))])]"
    )


def fingerprints(load, **others):
    _editions._definitions.cache_clear()  # files of one test may have one time
    layers = load({**MODULES, **others}, look=False)
    return {name: _editions.fingerprint(layers, name) for name in ("Convolution", "Relu", "SoftmaxWithLoss")}


def test_what_a_class_calls_is_part_of_its_text(load):
    first = fingerprints(load)
    assert fingerprints(load) == first
    other = fingerprints(load, common__util=changed(UTIL, ("np.pad(images", "np.pad(2 * images")))
    assert {name for name in first if first[name] != other[name]} == {"Convolution"}
    other = fingerprints(load, common__functions=changed(FUNCTIONS, ("1e-7", "1e-9")))
    assert {name for name in first if first[name] != other[name]} == {"SoftmaxWithLoss"}


@pytest.mark.parametrize(
    "behind",
    [
        "Relu.forward = None\n",
        "if True:\n    Relu = Sigmoid\n",
        "for k in range(3):\n    pass\n",
        "class Relu(Sigmoid):\n    pass\n",
    ],
)
def test_a_module_that_changes_what_it_defined_tells_nothing(load, behind):
    with pytest.raises(LookupError):
        fingerprints(load, common__layers=LAYERS + behind)


def test_a_known_text_is_not_run(load, states, monkeypatch):
    hashes = fingerprints(load)
    monkeypatch.setattr(_editions, "KNOWN", dict.fromkeys(hashes.values(), ("replaced", "", 0)))

    def never(self, theirs):
        raise AssertionError(theirs)

    from fastconv.programs._classes import Class

    prove = Class.prove
    known = ("Convolution", "Relu", "SoftmaxWithLoss")
    monkeypatch.setattr(Class, "prove", lambda self, kind: (never if kind.__name__ in known else prove)(self, kind))
    load(MODULES)
    assert {states()[name] for name in known} == {("replaced", "")}


def test_the_table_is_sound():
    variants = {}
    for module in ("layers", "functions", "util", "optimizer"):
        variants |= {name: len(each.variants) for name, each in book.candidates(f"common.{module}").items()}
    most = max(variants.values())
    for key, (state, why, variant) in KNOWN.items():
        assert re.fullmatch("[0-9a-f]{20}", key)
        assert (state == "adopted") == bool(why) and state in ("replaced", "adopted")
        assert 0 <= variant < most

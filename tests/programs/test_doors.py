"""The ways in: the command and its options, a program's own call, notebooks, child processes; and what is remembered."""

import json
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import results, run, table, write
from texts_of_the_book import LAYERS, book, changed

import fastconv
from fastconv import programs
from fastconv.programs import _cache, _editions, _float32

METHODS = [m for m in ("spawn", "forkserver", "fork") if m in multiprocessing.get_all_start_methods()]
FORK = changed(LAYERS, ("pool_w, stride=2", "pool_w, stride=1"), ("return x * (1.0 - self.dropout_ratio)", "return x"))


# --- the report -------------------------------------------------------------------------------------------------------


def test_check_prints_a_table_and_does_not_run_the_script(tmp_path):
    write(tmp_path, book(common__layers=FORK))
    done = run(tmp_path, "-m", "fastconv", "--check", "train.py")
    rows = table(done.stdout)
    assert rows["common.layers.Convolution"] == ("replaced", "")
    assert rows["common.layers.Pooling"] == ("adopted", "stride=1")
    assert rows["common.layers.Dropout"] == ("left", "inference scales by 1 - ratio in the book, yours does not")
    assert done.stdout.splitlines()[-1] == "17 replaced, 1 adopted, 1 left"
    assert "valid:" not in done.stdout and done.stderr == ""


def test_check_follows_the_scripts_own_path(tmp_path):
    """Scripts of the book lie beside the package's folder, and append its parent to sys.path."""
    files = book()
    files = {key: text for key, text in files.items() if key.startswith("common")}
    path = "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), os.pardir))\n"
    write(tmp_path, {**files, "ch07__train": path + "from helper import *\nraise SystemExit('it ran')\n"})
    write(tmp_path, {"ch07__helper": "from common.layers import *\nfrom common import optimizer\n"})
    rows = table(run(tmp_path, "-m", "fastconv", "--check", "ch07/train.py").stdout)
    assert len(rows) == 19 and {state for state, _ in rows.values()} == {"replaced"}


def test_check_of_a_script_without_anything_known(tmp_path):
    write(tmp_path, {"train": "import numpy\nfrom missing import nothing\n"})
    assert run(tmp_path, "-m", "fastconv", "--check", "train.py").stdout == (
        "fastconv knows nothing of what this program defines.\n"
    )


def test_check_tells_what_cannot_be_imported(tmp_path):
    write(tmp_path, {"common__layers": "raise OSError('no GPU')\n", "train": "import common.layers\n"})
    done = run(tmp_path, "-m", "fastconv", "--check", "train.py")
    assert done.stderr == "common.layers cannot be imported: OSError: no GPU\n"


def test_check_tells_what_is_provided(tmp_path):
    write(tmp_path, {"train": "from common.layers import *\nfrom common.optimizer import SGD\n"})
    rows = table(run(tmp_path, "-m", "fastconv", "--check", "train.py").stdout)
    assert rows["common.optimizer"] == ("provided", "the program has none of its own")


def test_the_report_of_a_run_is_printed_only_when_asked_for(tmp_path):
    write(tmp_path, book(common__layers=FORK))
    assert run(tmp_path, "-m", "fastconv", "train.py").stderr == ""
    assert run(tmp_path, "-m", "fastconv", "train.py", FASTCONV_REPORT="0").stderr == ""
    done = run(tmp_path, "-m", "fastconv", "train.py", FASTCONV_REPORT="1")
    assert table(done.stderr)["common.layers.Dropout"][0] == "left"


@pytest.mark.parametrize("option", ["--fast", "-x"])
def test_an_unknown_option(tmp_path, option):
    done = run(tmp_path, "-m", "fastconv", option, "train.py", check=False)
    assert done.returncode == 2 and f"no such option: {option}" in done.stderr


# --- float32 ----------------------------------------------------------------------------------------------------------


def test_float32_is_said_in_one_line(tmp_path):
    write(tmp_path, book())
    plain, _ = results(tmp_path, "train.py")
    done = run(tmp_path, "-m", "fastconv", "--float32", "train.py")
    ours = json.loads(done.stdout.splitlines()[-1])
    assert done.stderr == "fastconv: computed in float32, as asked; 8 parameters were made float32\n"
    assert set(ours["types"]) == {"float32"} and "float32" not in plain["types"]
    np.testing.assert_allclose(ours["losses"], plain["losses"], rtol=2e-3)
    assert ours["drawn"] == plain["drawn"]


def test_float32_leaves_a_parameter_that_others_refer_to(load, monkeypatch):
    """It would not be theirs any more: it stays float64, is cast for each call, and trains as before."""
    monkeypatch.setattr(_float32, "on", True)
    modules = book()
    layers = load({key: modules[key] for key in ("common__functions", "common__util", "common__layers")})
    optimizer = load({"common__optimizer": modules["common__optimizer"]})
    W = np.ones((3, 2))
    params = {"W": W, "b": np.zeros(2)}
    affine, step = layers.Affine(params["W"], params["b"]), optimizer.Momentum(lr=0.1)
    for _ in range(4):
        y = affine.forward(np.ones((300, 3)))
        affine.backward(np.ones_like(y))
        assert y.dtype == np.float32
        step.update(params, {"W": affine.dW / 300, "b": affine.db / 300})
    assert params["W"] is W and affine.W is W and W.dtype == np.float64
    assert params["b"] is affine.b and affine.b.dtype == np.float32
    np.testing.assert_allclose(W[0], 1 + affine.b, rtol=1e-6)


# --- other doors ------------------------------------------------------------------------------------------------------


def test_load_ext(tmp_path):
    """What a notebook calls, before or behind its imports; the extension may be unloaded."""
    write(tmp_path, book())
    code = """
    import fastconv
    from common.layers import Relu
    from common.functions import softmax
    own = Relu.forward
    fastconv.load_ipython_extension(None)
    from common.layers import Affine
    import common.functions
    print(hasattr(Relu.forward, "__wrapped__"), hasattr(Affine.forward, "__wrapped__"))
    print(common.functions.softmax is not softmax, common.functions.softmax.__wrapped__ is softmax)
    fastconv.unload_ipython_extension(None)
    print(Relu.forward is own, common.functions.softmax is softmax)
    """
    write(tmp_path, {"program": code})
    assert run(tmp_path, "program.py").stdout.split() == ["True"] * 6


def test_in_ipython(tmp_path):
    pytest.importorskip("IPython")
    write(tmp_path, book())
    code = "from common.layers import Relu\n%load_ext fastconv\nprint(hasattr(Relu.forward, '__wrapped__'))\n"
    (tmp_path / "cells.ipy").write_text(code)
    assert run(tmp_path, "-m", "IPython", "cells.ipy").stdout.split()[-1] == "True"


def test_install_is_public():
    assert {"install", "uninstall"} <= set(fastconv.__all__)
    assert programs.installed() is False


@pytest.mark.parametrize("method", METHODS)
def test_children_compute_in_float32_as_their_parent_does(tmp_path, method):
    program = f"""
    import multiprocessing as mp
    import numpy as np
    from common.layers import Affine

    def work(n):
        return str(Affine(np.ones((300, 2)), np.zeros(2)).forward(np.ones((n, 300))).dtype)

    if __name__ == "__main__":
        with mp.get_context("{method}").Pool(1) as pool:
            print(pool.map(work, [2]), work(2))
    """
    write(tmp_path, {**book(), "program": program})
    assert run(tmp_path, "-m", "fastconv", "--float32", "program.py").stdout == "['float32'] float32\n"
    assert run(tmp_path, "-m", "fastconv", "program.py").stdout == "['float64'] float64\n"


def test_the_books_reader_of_mnist_is_there(tmp_path):
    write(tmp_path, {"program": "from dataset.mnist import load_mnist\nprint(load_mnist.__module__)\n"})
    assert run(tmp_path, "-m", "fastconv", "program.py").stdout == "fastconv.datasets.idx\n"
    write(tmp_path, {"dataset__mnist": "def load_mnist():\n    pass\n"})
    assert run(tmp_path, "-m", "fastconv", "program.py").stdout == "dataset.mnist\n"


def test_modules_of_installed_packages_are_not_looked_at():
    from fastconv.programs import _sources

    assert not _sources.is_own(np.__file__) and not _sources.is_own(json.__file__)
    assert not _sources.is_own(fastconv.__file__) and not _sources.is_own(None)
    assert _sources.is_own(__file__)


# --- what is remembered -----------------------------------------------------------------------------------------------


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_editions, "KNOWN", {})  # texts that are proven nowhere
    return tmp_path / "cache" / "programs"


def proofs(monkeypatch):
    """The names that are proven from now on."""
    from fastconv.programs._candidates import Function

    proven, prove = [], Function.prove
    monkeypatch.setattr(Function, "prove", lambda self, theirs: proven.append(theirs.__name__) or prove(self, theirs))
    return proven


def test_a_verdict_is_remembered_by_the_content(load, states, monkeypatch, remembered):
    proven, text = proofs(monkeypatch), book()["common__functions"]
    load({"common__functions": text})
    assert proven == ["softmax", "sigmoid", "relu"]
    load({"common__functions": text})
    assert len(proven) == 3
    assert {state for state, _ in states().values()} == {"replaced"}
    load({"common__functions": text + "\n# changed\n"})
    assert len(proven) == 6
    assert len(list(remembered.iterdir())) == 2


def test_what_a_module_calls_belongs_to_its_content(load, states, remembered):
    modules = book()
    names = ("common__functions", "common__util", "common__layers")
    load({name: modules[name] for name in names})
    assert states()["Convolution"][0] == "replaced"
    modules["common__util"] = changed(modules["common__util"], ("np.pad(images", "np.pad(2 * images"))
    load({name: modules[name] for name in names})
    assert states()["Convolution"][0] == "left"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"softmax": ["replaced", "", 7]}', b"\xff\xfe"])
def test_a_damaged_file_is_proven_again(load, states, monkeypatch, remembered, content):
    proven, text = proofs(monkeypatch), book()["common__functions"]
    load({"common__functions": text})
    (file,) = remembered.iterdir()
    file.write_bytes(content)
    load({"common__functions": text})
    assert len(proven) == 6
    assert {state for state, _ in states().values()} == {"replaced"}


def test_a_folder_that_cannot_be_written(load, states, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTCONV_CACHE", str(tmp_path / "file"))
    load({"common__functions": book()["common__functions"]})
    assert {state for state, _ in states().values()} == {"replaced"}


def test_where_the_folder_is(monkeypatch):
    monkeypatch.delenv("FASTCONV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join(os.sep, "x"))
    assert str(_cache.folder()) == os.path.join(os.sep, "x", "fastconv", "programs")
    monkeypatch.setenv("FASTCONV_CACHE", "")
    assert _cache.folder() is None


def test_every_recogniser_is_quick_and_imports_nothing_that_computes():
    code = "import sys; from fastconv.programs import _finder; _finder.candidates('some.package.module'); "
    code += "print([m for m in sys.modules if m.startswith('fastconv.programs._layers')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""A program's modules in processes that it starts: replaced as in the parent, by every start method and every door."""

import multiprocessing
import os
from pathlib import Path

import pytest
from programs import run, write

import fastconv

METHODS = [m for m in ("spawn", "forkserver", "fork") if m in multiprocessing.get_all_start_methods()]

OWN_LAYERS = """
    class Relu:
        "The program's own, in NumPy."
        def __init__(self):
            self.mask = None
        def forward(self, x):
            self.mask = x <= 0
            out = x.copy()
            out[self.mask] = 0
            return out
        def backward(self, dout):
            dout[self.mask] = 0
            return dout

    class Own:
        "What the book does not have."
        def forward(self, x):
            return x
"""

WORK = """
    from common.layers import Relu, Own

    def origins(_=None):
        return [hasattr(kind.forward, "__wrapped__") for kind in (Relu, Own)]
"""

# {start} makes a list of results of `origins` in children.
PROGRAM = """
    import multiprocessing as mp, sys
    from concurrent.futures import ProcessPoolExecutor
    from common.layers import Relu, Own
    {imports}

    def here(_=None):
        return [hasattr(kind.forward, "__wrapped__") for kind in (Relu, Own)]

    def into(queue):
        queue.put(here())

    def grandchildren(queue, method):
        with mp.get_context(method).Pool(1) as pool:
            queue.put(pool.map(here, [0])[0])

    if __name__ == "__main__":
        {before}
        context = mp.get_context(sys.argv[1])
        found = [here()]
        with context.Pool(2) as pool:
            found += pool.map(here, range(3))
            found += pool.map(work.origins, range(3))
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            found += executor.map(here, range(3))
        for target in (into, grandchildren):
            queue = context.Queue()
            process = context.Process(target=target, args=(queue, sys.argv[1])[: 1 + (target is grandchildren)])
            process.start()
            found.append(queue.get(timeout=60))
            process.join()
        print(sorted(map(list, set(map(tuple, found)))), len(found))
"""

OURS = "[[True, False]] 12"
THEIRS = "[[False, False]] 12"


@pytest.fixture
def tree(tmp_path):
    write(
        tmp_path,
        common__layers=OWN_LAYERS,
        work=WORK,
        program=PROGRAM.format(imports="import work", before="pass"),
    )
    return tmp_path


@pytest.mark.parametrize("method", METHODS)
def test_every_child_of_a_script_has_fastconvs_classes(tree, method):
    assert run(tree, "-m", "fastconv", "program.py", method).stdout.strip() == OURS
    assert run(tree, "program.py", method).stdout.strip() == THEIRS


@pytest.mark.parametrize("method", METHODS)
def test_a_script_without_a_common_of_its_own(tmp_path, method):
    write(
        tmp_path,
        program="""
        import sys
        from multiprocessing import get_context
        from common.layers import Affine
        from common.multi_layer_net import MultiLayerNet

        def work(n):
            return MultiLayerNet(4, [3], 2).predict(__import__("numpy").ones((n, 4))).shape, Affine.__module__

        if __name__ == "__main__":
            with get_context(sys.argv[1]).Pool(2) as pool:
                print(pool.map(work, [1, 2]))
        """,
    )
    done = run(tmp_path, "-m", "fastconv", "program.py", method)
    assert done.stdout.strip() == "[((1, 2), 'fastconv.layers.affine'), ((2, 2), 'fastconv.layers.affine')]"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("early", [True, False], ids=["multiprocessing first", "fastconv first"])
def test_install_inside_of_a_program(tree, method, early):
    """Only the parent runs `install`: children get it from there, whichever module was imported first."""
    imports = ["import fastconv.book", "import multiprocessing.spawn, multiprocessing.util"]
    before = (
        f"{'; '.join(reversed(imports) if early else imports)}; fastconv.book.install(); sys.modules.pop('work', 0); "
        "import importlib; globals()['Relu'] = importlib.import_module('common.layers').Relu; "
        "work = importlib.import_module('work')"
    )
    write(tree, program=PROGRAM.format(imports="", before=before))
    assert run(tree, "program.py", method).stdout.strip() == OURS


@pytest.mark.parametrize("method", METHODS)
def test_after_uninstall_children_are_the_programs_own(tree, method):
    write(
        tree,
        program=PROGRAM.format(
            imports="import work",
            before="import fastconv.book; fastconv.book.install(); fastconv.book.uninstall()",
        ),
    )
    assert run(tree, "program.py", method).stdout.strip() == THEIRS


@pytest.mark.skipif("forkserver" not in METHODS, reason="no fork server on this system")
def test_modules_that_a_fork_server_preloads(tree):
    write(
        tree,
        program="""
        import multiprocessing as mp

        if __name__ == "__main__":
            mp.set_forkserver_preload(["work"])
            import work
            with mp.get_context("forkserver").Pool(1) as pool:
                print(pool.map(work.origins, [0]))
        """,
    )
    done = run(tree, "-m", "fastconv", "program.py", PYTHONSAFEPATH="")
    assert done.stdout.strip() == "[[True, False]]"


def test_a_child_that_cannot_find_fastconv_by_itself(tree, tmp_path):
    """fastconv by a path that only the parent has put into sys.path."""
    write(
        tree,
        starter="""
        import os, runpy, sys
        root = os.environ.pop("FASTCONV_ROOT")
        sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != root]
        sys.path.append(root)
        os.environ.pop("PYTHONPATH", None)
        sys.argv = ["fastconv", "program.py", "spawn"]
        runpy.run_module("fastconv", run_name="__main__", alter_sys=True)
        """,
    )
    root = os.path.realpath(Path(fastconv.__file__).parents[1])
    assert run(tree, "starter.py", FASTCONV_ROOT=root).stdout.strip() == OURS


def test_the_modules_of_multiprocessing_stay_as_they_are(tmp_path):
    code = """
    import fastconv.book
    fastconv.book.install()
    import inspect, multiprocessing.spawn as spawn
    assert type(spawn.__loader__).__name__ == type(spawn.__spec__.loader).__name__ == "SourceFileLoader"
    assert inspect.getsource(spawn.prepare).startswith("def prepare")
    fastconv.book.uninstall()
    assert "fastconv" not in spawn.get_preparation_data("name")
    fastconv.book.install()
    assert "fastconv" in spawn.get_preparation_data("name")
    """
    run(tmp_path, code=code)

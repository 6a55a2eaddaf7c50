"""What is missing or broken around the library is a reason why a backend cannot be used, never an error of another's."""

import textwrap

import pytest
from programs import run

ASK = """
    import io, contextlib, sys
    import numpy as np
    import fastconv as fc
    x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)

    def shown(call, *args):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            call(*args)
        return out.getvalue()

    def ask():
        "Everything that looks at all backends; and that the compiled kernels go on."
        reasons = fc.backends()
        assert reasons["cython"] == reasons["numpy"] == "", reasons
        assert "numba" in shown(fc.show_config)
        assert "-> cython" in shown(fc.explain, "conv2d", x, w), shown(fc.explain, "conv2d", x, w)
        assert (fc.conv2d(x, w) == 27).all()
        from fastconv import cli
        assert "backend cython" in shown(cli.main, ["info"])
        return reasons
"""


def ask(folder, before="", after="", **environment):
    return run(folder, code="\n".join(map(textwrap.dedent, (before, ASK, after))), **environment)


NO_CACHE = """
    import numba.core.caching as caching

    def refuse(self):
        raise OSError(30, "Read-only file system")

    caching._CacheLocator.ensure_cache_path = refuse
"""


@pytest.mark.numba
def test_numba_without_a_folder_for_its_cache(tmp_path):
    pytest.importorskip("numba")
    after = """
    assert ask()["numba"] == ""
    with fc.backend("numba"):
        assert (fc.relu(x - 2) == 0).all()
        assert "compiled in" in shown(fc.explain, "relu", x)
    """
    ask(tmp_path, NO_CACHE, after)


@pytest.mark.numba
def test_numba_whose_cache_cannot_be_written_any_more(tmp_path):
    pytest.importorskip("numba")
    after = """
    import numba.core.caching as caching

    def refuse(self, *args):
        raise OSError(28, "No space left on device")

    caching.IndexDataCacheFile.save = refuse
    assert ask()["numba"] == ""
    with fc.backend("numba"):
        assert (fc.relu(x - 2) == 0).all() and (fc.relu(x.astype(float)) == 1).all()
    """
    ask(tmp_path, "", after, NUMBA_CACHE_DIR=str(tmp_path / "cache"))


@pytest.mark.numba
def test_numba_switched_off(tmp_path):
    pytest.importorskip("numba")
    after = """
    reason = ask()["numba"]
    assert "NUMBA_DISABLE_JIT" in reason, reason
    try:
        fc.set_backend("numba")
    except RuntimeError as error:
        assert "NUMBA_DISABLE_JIT" in str(error)
    else:
        raise AssertionError
    """
    ask(tmp_path, "", after, NUMBA_DISABLE_JIT="1")


@pytest.mark.parametrize(
    "error", ["ImportError", "RuntimeError", "OSError", "AttributeError", "SystemError", "KeyError"]
)
def test_numba_that_fails_on_import(tmp_path, error):
    """As packages do that do not fit NumPy's version, or a driver that is half installed."""
    before = f"""
    import sys
    from importlib.abc import MetaPathFinder

    class Broken(MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name == "numba":
                raise {error}("it does not fit")

    sys.meta_path.insert(0, Broken())
    """
    after = """
    reasons = ask()
    assert "it does not fit" in reasons["numba"] and "it does not fit" in reasons["cuda"], reasons
    try:
        fc.to_device(x)
    except RuntimeError as error:
        assert "it does not fit" in str(error)
    else:
        raise AssertionError
    """
    ask(tmp_path, before, after)


def test_a_system_without_uname(tmp_path):
    before = """
    import os
    import numpy  # which asks for it on Linux
    if hasattr(os, "uname"):
        del os.uname
    """
    ask(tmp_path, before, "ask()")

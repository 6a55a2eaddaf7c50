"""A free-threaded Python is refused when the package is built: nothing here has been tested without the GIL."""

import runpy
import sysconfig
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "setup.py"


def test_the_build_refuses_a_free_threaded_python(monkeypatch):
    asked = sysconfig.get_config_var

    def free_threaded(name):
        return 1 if name == "Py_GIL_DISABLED" else asked(name)

    monkeypatch.setattr(sysconfig, "get_config_var", free_threaded)
    with pytest.raises(
        SystemExit, match=r"cannot be built for this free-threaded Python 3\.\d+.*the usual build"
    ) as error:
        runpy.run_path(str(SETUP))
    assert error.value.code != 0


def test_no_extension_says_that_it_needs_no_gil():
    """A module without Py_mod_gil makes a free-threaded interpreter switch the GIL on: a second line of defence."""
    sources = [*(SETUP.parent / "src").rglob("*.pyx"), *(SETUP.parent / "src").rglob("*.h")]
    assert sources
    declared = [
        path for path in sources for word in ("freethreading_compatible", "Py_MOD_GIL") if word in path.read_text()
    ]
    assert not declared

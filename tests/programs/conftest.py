"""Programs are written into the test's folder, and run by a process of their own or looked at in this one."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fastconv
from fastconv import programs
from fastconv.programs import _finder, _report


def write(folder, files):
    """Modules by name, with __ for a folder: common__layers is common/layers.py."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))


def run(folder, *arguments, check=True, **environment):
    """A Python process in a folder, with this fastconv importable."""
    paths = [str(Path(fastconv.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "FASTCONV_REPORT"))}
    variables |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "FASTCONV_CACHE": "", **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=120
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def results(folder, *arguments, **environment):
    """The JSON in the last line that a program prints, and the lines before it."""
    *lines, last = run(folder, *arguments, **environment).stdout.splitlines()
    return json.loads(last), lines


def table(text):
    """The report's lines: name -> (state, why)."""
    rows = (line.split(None, 2) for line in text.splitlines() if line.startswith("common"))
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setenv("FASTCONV_CACHE", "")


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import modules of a program in this process, each looked at: load(files) -> the last module."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    _report.forget()

    def load(files, look=True):
        write(tmp_path, files)
        module = None
        for name in files:
            full = name.replace("__", ".")
            spec = importlib.util.spec_from_file_location(full, tmp_path / f"{name.replace('__', '/')}.py")
            module = sys.modules[full] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            if look:
                programs.recognise(module)
        return module

    yield load
    while _finder._UNDO:
        _finder._UNDO.pop()()
    _report.forget()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("common", "network"):
            del sys.modules[name]


@pytest.fixture
def states():
    """What the report says: name -> (state, why), without the module."""
    return lambda: {line.name: (line.state, line.why) for line in programs.report()}

"""Programs for the tests of processes: written to a folder, run with this fastconv importable, and not waited for ever."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import fastconv


def write(folder, **files):
    """Modules by name, with __ for a folder: common__layers is common/layers.py."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))


def run(folder, *arguments, seconds=120, check=True, code=None, **environment):
    """A Python process in a folder; `code` instead of arguments is a program by itself."""
    if code is not None:
        write(folder, program=code)
        arguments = ("program.py",)
    paths = [str(Path(fastconv.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    variables |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done

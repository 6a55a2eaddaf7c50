"""``python -m fastconv SCRIPT [ARGS]``: run a program on fastconv, unchanged.

The script runs as ``__main__`` with its own arguments, import path, working directory and tracebacks; only the classes
and functions of its modules, and functions of its own, that prove equal to fastconv's compute with fastconv (see
`fastconv.programs`), and modules of the book's that it does not have come from fastconv (see `fastconv.book`).

``python -m fastconv COMMAND [ARGS]`` is the program ``fastconv``, where no file has the command's name.
"""

import atexit
import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType

from . import programs

_USAGE = """\
usage: python -m fastconv [--float32] SCRIPT [ARGS ...]
       python -m fastconv --check SCRIPT

Runs SCRIPT with fastconv in place of those classes and functions of its own modules (common.layers and its kin) that do
the same as fastconv's: layers, optimisers, im2col, ... Everything else stays the script's own. The modules common.* and
dataset.mnist of the book come from fastconv where the script has none.

--check     do not run SCRIPT, but print what of its modules is replaced, adopted or left, and why
--float32   compute in float32, and make parameters float32

FASTCONV_REPORT=1 prints that table at the end of a run.

usage: python -m fastconv {train,predict,info,bench} [ARGS ...]

The commands of the program `fastconv`.
"""
_COMMANDS = "train", "predict", "info", "bench"


def main(arguments: list[str]) -> None:
    """Run the script named by the first argument that is no option; the others are the script's."""
    options = []
    while arguments and arguments[0] in ("--float32", "--check"):
        options.append(arguments[0])
        arguments = arguments[1:]
    match arguments:
        case ["-h" | "--help", *_]:
            print(_USAGE, end="")
        case []:
            sys.exit(_refuse("no script given"))
        case [command, *_] if command in _COMMANDS and not os.path.isfile(command):
            from .cli import main as program  # with all that it imports, which a script need not wait for

            sys.exit(program(arguments))
        case [option, *_] if option.startswith("-") and not os.path.isfile(option):
            sys.exit(_refuse(f"no such option: {option}"))
        case [script, *_] if not os.path.isfile(script):
            sys.exit(_refuse(f"no such script: {script}"))
        case [script, *_]:
            programs.install(float32="--float32" in options)
            if "--check" in options:
                _check(script, arguments)
            else:
                if "--float32" in options:
                    atexit.register(_say_float32)
                _run(script, arguments)


def _check(script: str, arguments: list[str]) -> None:
    _be_script(script, arguments)
    failed = programs.check(script)
    print(programs.table(), end="")
    for line in failed:
        print(line, file=sys.stderr)


def _say_float32() -> None:
    print(programs.float32_summary(), file=sys.stderr)


def _refuse(why: str) -> int:
    print(f"{_USAGE}\npython -m fastconv: error: {why}", file=sys.stderr)
    return 2


def _be_script(script: str, arguments: list[str]) -> str:
    """Give the process the arguments and the import path of a script; its absolute path."""
    path = os.path.abspath(script)
    sys.argv[:] = arguments
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    return path


def _run(script: str, arguments: list[str]) -> None:
    """What ``python SCRIPT ARGS`` does."""
    path = _be_script(script, arguments)
    loader = SourceFileLoader("__main__", path)
    module = ModuleType("__main__")
    vars(module).update(__file__=path, __loader__=loader, __builtins__=builtins)
    sys.modules["__main__"] = module
    _show_tracebacks_from(path)
    source = loader.get_data(path)
    code = programs.script_code(source, path, vars(module))
    exec(loader.source_to_code(source, path) if code is None else code, vars(module))


def _show_tracebacks_from(path: str) -> None:
    """Leave the frames above the script out of the traceback of an error that ends it."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        while traceback and traceback.tb_frame.f_code.co_filename != path:
            traceback = traceback.tb_next
        shown(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = hook


if __name__ == "__main__":
    main(sys.argv[1:])

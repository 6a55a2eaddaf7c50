"""``python -m fastconv SCRIPT [ARGS]``: run a program of the book's kind on fastconv, unchanged.

``python -m fastconv COMMAND [ARGS]`` is the program ``fastconv``, where no file has the command's name.

The script runs as ``__main__`` with its own arguments, import path, working directory and tracebacks; only
the book's modules (``common.layers`` and its kin, see `fastconv.book`) are fastconv's.
"""

import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType

from . import book

_USAGE = """\
usage: python -m fastconv SCRIPT [ARGS ...]

Runs SCRIPT with the book's modules common.layers, common.functions, common.util, common.gradient,
common.optimizer, common.trainer and common.multi_layer_net* taken from fastconv.

usage: python -m fastconv {train,predict,info,bench} [ARGS ...]

The commands of the program `fastconv`.
"""
_COMMANDS = "train", "predict", "info", "bench"


def main(arguments: list[str]) -> None:
    """Run the script named by the first argument; the others are the script's."""
    match arguments:
        case ["-h" | "--help", *_]:
            print(_USAGE, end="")
        case []:
            sys.exit(_refuse("no script given"))
        case [command, *_] if command in _COMMANDS and not os.path.isfile(command):
            from .cli import main as program  # with all that it imports, which a script need not wait for

            sys.exit(program(arguments))
        case [script, *_] if not os.path.isfile(script):
            sys.exit(_refuse(f"no such script: {script}"))
        case [script, *_]:
            book.install()
            _run(script, arguments)


def _refuse(why: str) -> int:
    print(f"{_USAGE}\npython -m fastconv: error: {why}", file=sys.stderr)
    return 2


def _run(script: str, arguments: list[str]) -> None:
    """What ``python SCRIPT ARGS`` does."""
    path = os.path.abspath(script)
    sys.argv[:] = arguments
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    loader = SourceFileLoader("__main__", path)
    module = ModuleType("__main__")
    vars(module).update(__file__=path, __loader__=loader, __builtins__=builtins)
    sys.modules["__main__"] = module
    _show_tracebacks_from(path)
    exec(loader.source_to_code(loader.get_data(path), path), vars(module))


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

"""python tools/editions.py FOLDER...: the lines of fastconv/programs/_known_texts.py for programs of the book's kind.

Each folder is one that a program's ``common`` lies in. Its modules are imported and tried, so that only what has proven
equal becomes known. Printed are hashes and verdicts; no text of the program is kept.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

MODULES = ("functions", "util", "layers", "optimizer")


def lines(folder: str) -> None:
    """Print the lines of one program."""
    import fastconv
    from fastconv import programs
    from fastconv.programs import _editions

    _editions.KNOWN.clear()
    sys.path.insert(0, folder)
    fastconv.install()
    for name in MODULES:
        try:
            importlib.import_module(f"common.{name}")
        except Exception as error:  # of a program of somebody
            print(f"common.{name}: {error}", file=sys.stderr)
    for line in programs.report():
        if line.state in ("replaced", "adopted"):
            module = sys.modules[line.module]
            try:
                text = _editions.fingerprint(module, line.name)
                print(f'    "{text}": ("{line.state}", "{line.why}", {line.variant}),  # {line.name}')
            except (LookupError, TypeError, ValueError) as error:
                print(f"{line.name}: {error!r}", file=sys.stderr)


def main() -> None:
    folders = sys.argv[1:]
    if len(folders) == 1:
        lines(folders[0])
        return
    found = set()
    for folder in folders:
        done = subprocess.run([sys.executable, Path(__file__), folder], capture_output=True, text=True,
                              env={**os.environ, "FASTCONV_CACHE": ""})  # fmt: skip
        found |= set(done.stdout.splitlines())
    print("\n".join(sorted(found, key=lambda line: (line.partition("#")[2], line))))


if __name__ == "__main__":
    main()

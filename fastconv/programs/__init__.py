"""Other people's programs, faster without one changed line and without one changed digit.

A program's own module is executed first. Then each class and function under a known name is compared with what
fastconv has for it; only what has proven equal computes with fastconv from then on.

`recognisers/` is the table of what is known: one file for each kind of program (the book, ...), which gives candidates
by the modules' names. `_candidates.py` proves a candidate (`Function`, `Class`) by `_proof.py`, which runs a trial on
both sides and compares step by step. `_finder.py` is the hook in the import system, `_report.py` the table of what was
replaced, adopted or left.
`_check.py` finds out without running the script. `_scripts.py` is for what the script itself defines.
"""

from ._check import check
from ._finder import install, installed, recognise, uninstall
from ._float32 import summary as float32_summary
from ._report import report, table
from ._scripts import code as script_code
from ._scripts import forget_cells, watch_cells

__all__ = [
    "check",
    "float32_summary",
    "forget_cells",
    "install",
    "installed",
    "recognise",
    "report",
    "script_code",
    "table",
    "uninstall",
    "watch_cells",
]

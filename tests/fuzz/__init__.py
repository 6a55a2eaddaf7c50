"""Fuzzing: random calls in one long-lived process, each compared with a process that remembers and shares nothing.

`python -m tests.fuzz --minutes 5` makes random calls of every public operation (`operations`, `draw`) in one process
(`worker`), and the same calls in a second one that forgets everything first and is given unshared copies of the
arguments. Two outcomes that differ (`outcome`), or a process that dies, are a finding: the history is shrunk (`shrink`)
and printed as a snippet of plain Python. `networks` does the same for layers and networks, `files` for file formats.
"""

"""Its import is `fastconv.book.install`: for a fork server, which can be told what to import and nothing else."""

from . import book

book.install()

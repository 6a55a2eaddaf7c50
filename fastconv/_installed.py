"""Its import is `fastconv.install`: for a fork server, which can be told what to import and nothing else."""

from . import programs

programs.install()

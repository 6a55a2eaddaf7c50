"""The program ``fastconv``. The process named by FASTCONV_TEST_FAILS cannot read its data."""

import os
import sys

from fastconv import cli
from fastconv.datasets import load_digits


def failing(*args, **kwargs):
    from mpi4py import MPI

    if os.environ["FASTCONV_TEST_FAILS"] == str(MPI.COMM_WORLD.rank):
        raise OSError("the disk is gone")
    return load_digits(*args, **kwargs)


if "FASTCONV_TEST_FAILS" in os.environ:
    cli._DATASETS["digits"] = failing
sys.exit(cli.main())

"""Training on several processes and machines, on MPI (``pip install 'fastconv[mpi]'``).

::

    mpiexec -n 4 python train.py
    mpiexec -n 4 fastconv train --distributed

=================  ==========================================================================================
`parallel`         `DataParallel`: a network whose gradients are those of all processes' samples
`_buckets`         gradients in one row of memory, sent in pieces during the backward pass
`_normalization`   statistics of batch normalisation over all processes
`_shards`          which samples are whose
`_threads`         the share of a node's CPUs that a process takes
`_ending`          Ctrl-C, and an exception of one process, end all of them
`_mpi`             mpi4py, imported when it is asked for
`_job`             the processes of ``fastconv train --distributed``
`_team`            what a Trainer needs of its processes: one, or several
=================  ==========================================================================================
"""

from ._shards import shard
from .parallel import DataParallel

__all__ = ["DataParallel", "shard"]

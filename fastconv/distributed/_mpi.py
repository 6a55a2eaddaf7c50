"""MPI through mpi4py: imported when it is asked for, and a communicator of our own beside the user's."""

from typing import Any

from .._extras import require

_key: Any = None


def mpi() -> Any:
    """The module `mpi4py.MPI`.

    Raises
    ------
    ModuleNotFoundError
        If mpi4py is not installed, naming the command that installs it.
    RuntimeError
        If there is no MPI library for it.
    """
    purpose = "training on several processes"
    try:
        return require("mpi4py.MPI", "mpi", purpose)
    except (ImportError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RuntimeError(
            f"{purpose} needs an MPI library ({reason}): pip install 'fastconv[mpi]' brings MPICH's"
        ) from error


def own(comm: Any = None) -> Any:
    """A duplicate of a communicator for fastconv's messages alone: the same one for every call with that communicator.

    Collective where it is the first call.

    Raises
    ------
    TypeError
        If comm is no communicator of mpi4py.
    """
    global _key
    MPI = mpi()
    comm = MPI.COMM_WORLD if comm is None else comm
    if not isinstance(comm, MPI.Intracomm):
        raise TypeError(f"comm: expected an mpi4py.MPI.Intracomm, got {type(comm).__name__}")
    if comm == MPI.COMM_NULL:
        raise ValueError("comm: expected a communicator that this process belongs to, got COMM_NULL")
    if _key is None:
        _key = MPI.Comm.Create_keyval()
    found = comm.Get_attr(_key)
    if found is None:
        found = comm.Dup()
        comm.Set_attr(_key, found)
        found.Set_attr(_key, found)  # given this one, use it as it is
    return found


def together(comm: Any, work: Any) -> Any:
    """What `work()` gives on the first process, on all of them; what it raises is raised by all.

    For files that one process reads or writes: nobody waits for one that failed.
    """
    outcome: tuple[Any, BaseException | None] = None, None
    if comm.rank == 0:
        try:
            outcome = work(), None
        except Exception as error:
            outcome = None, error
    value, error = comm.bcast(outcome)
    if error is not None:
        raise error
    return value

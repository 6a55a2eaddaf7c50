"""Which samples of a batch are whose."""

import operator


def bounds(count: int, rank: int, size: int) -> tuple[int, int]:
    """Where the part of a process of `count` things in a row begins and ends: the first parts have one more."""
    each, more = divmod(operator.index(count), size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)


def shard(count: int, rank: int, size: int) -> slice:
    """The part of one process of a batch.

    Parameters
    ----------
    count : int
        Samples of the batch.
    rank : int
        The process, from 0.
    size : int
        The number of processes.

    Returns
    -------
    slice
        Some samples in a row; none, where there are fewer samples than processes. Those of all processes are the whole
        batch, in order.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> [shard(10, rank, 4) for rank in range(4)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None), slice(8, 10, None)]
    """
    if count < 0 or size < 1 or not 0 <= rank < size:
        raise ValueError(f"expected count >= 0 and 0 <= rank < size, got count={count}, rank={rank}, size={size}")
    return slice(*bounds(count, rank, size))

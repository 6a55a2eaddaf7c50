"""Prepared steps run in a row, and a watch over what they were prepared from: see isa.cpp."""

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from fastconv.kernels._cpu.engine cimport lookup, new_array

cnp.import_array()

cdef struct Link:
    const CStep* step
    int64_t input_bytes, result_bytes

ctypedef void (*Run)(void* out, const void* x, const Link* links, int64_t count, int64_t N) except + nogil
ctypedef uint64_t (*Fingerprint)(const void* data, int64_t bytes) except + nogil

cdef Run _run = <Run>lookup("chain", "run")
cdef Fingerprint _fingerprint = <Fingerprint>lookup("chain", "fingerprint")


cdef class Step:
    """An operation of which everything is decided and packed but its input and the number of images."""

    def __dealloc__(self):
        del self.step

    @property
    def copies(self):
        """Whether it keeps a copy of its weights; else it reads them in place."""
        return self.step.copies()


cdef Step prepared(CStep* step, tuple arrays, int64_t input_size, int64_t result_size):
    cdef Step self = Step.__new__(Step)
    self.step = step
    self.arrays = arrays
    self.input_size, self.result_size = input_size, result_size
    return self


cdef class WeightsStep:
    """The gradients of a convolution's filters and bias, of which everything is decided but the arrays."""

    def __dealloc__(self):
        del self.step


cdef WeightsStep prepared_weights(CWeightsStep* step):
    cdef WeightsStep self = WeightsStep.__new__(WeightsStep)
    self.step = step
    return self


cdef class BackwardStep:
    """The gradients of filters, bias and input, by one kernel."""

    def __dealloc__(self):
        del self.step


cdef BackwardStep prepared_backward(CBackwardStep* step, tuple arrays):
    cdef BackwardStep self = BackwardStep.__new__(BackwardStep)
    self.step = step
    self.arrays = arrays
    return self


cdef class Chain:
    """Steps in a row, for arrays of one shape and type.

    Parameters
    ----------
    steps : sequence of Step
    x : ndarray
        An input like those to come.
    shape : tuple of int
        Of the result.
    """

    cdef readonly tuple steps
    cdef Link* links
    cdef int64_t N
    cdef readonly double nanoseconds  # that one thread needs for all steps, roughly
    cdef int ndim, result_ndim, kind
    cdef cnp.npy_intp dims[8]
    cdef cnp.npy_intp result_dims[8]

    def __init__(self, steps, cnp.ndarray x, tuple shape):
        cdef Step step
        cdef int64_t itemsize = cnp.PyArray_ITEMSIZE(x)
        cdef int i
        self.steps = tuple(steps)
        self.links = <Link*>malloc(len(self.steps) * sizeof(Link))
        if self.links == NULL:
            raise MemoryError
        for i, item in enumerate(self.steps):
            step = item
            self.nanoseconds += step.step.nanoseconds(x.shape[0])
            self.links[i] = Link(step.step, step.input_size * itemsize, step.result_size * itemsize)
        self.N, self.kind = x.shape[0], cnp.PyArray_TYPE(x)
        self.ndim, self.result_ndim = cnp.PyArray_NDIM(x), len(shape)
        for i in range(self.ndim):
            self.dims[i] = cnp.PyArray_DIM(x, i)
        for i in range(self.result_ndim):
            self.result_dims[i] = shape[i]

    def __dealloc__(self):
        free(self.links)

    def __call__(self, x, cnp.ndarray out=None):
        """The result, or None for an array unlike the one that the chain was made for.

        out: a dense array of the result's size and type to write instead of a new one.
        """
        cdef cnp.ndarray source, result
        cdef int i
        cdef void* result_data
        cdef void* source_data
        cdef int64_t size, count = len(self.steps)
        if type(x) is not cnp.ndarray:
            return None
        source = <cnp.ndarray>x
        if (
            not cnp.PyArray_ISCARRAY_RO(source) or cnp.PyArray_TYPE(source) != self.kind
            or cnp.PyArray_NDIM(source) != self.ndim
        ):
            return None
        for i in range(self.ndim):
            if cnp.PyArray_DIM(source, i) != self.dims[i]:
                return None
        if out is None:
            result = new_array(self.result_ndim, self.result_dims, self.kind)
        else:
            result = out
            size = 1
            for i in range(self.result_ndim):
                size *= self.result_dims[i]
            if not cnp.PyArray_ISCARRAY(out) or cnp.PyArray_TYPE(out) != self.kind or cnp.PyArray_SIZE(out) != size:
                raise ValueError("out: expected a dense, writeable array of the result's size and type")
        result_data, source_data = cnp.PyArray_DATA(result), cnp.PyArray_DATA(source)
        with nogil:
            _run(result_data, source_data, self.links, count, self.N)
        return result


_NOTHING = object()  # where a dict has no such entry


cdef class Watch:
    """Notices changes of attributes, by identity, and of numbers in arrays, by fingerprint.

    Parameters
    ----------
    bindings : sequence of (dict, name)
        Entries of dicts, there or not, that must stay as they are.
    copied : sequence of ndarray
        Dense arrays whose numbers must stay as they are.
    in_place : sequence of ndarray
        Arrays that must stay where they are in memory, and as large.
    holders : sequence of list or dict
        Whose items must stay the same objects.
    """

    cdef list wheres, names, values, copied, prints, in_place, places, holders, items

    def __init__(self, bindings, copied=(), in_place=(), holders=()):
        self.wheres = [where for where, _ in bindings]
        self.names = [name for _, name in bindings]
        self.values = [where.get(name, _NOTHING) for where, name in bindings]
        self.copied, self.in_place = list(copied), list(in_place)
        self.prints = [_print(a) for a in self.copied]
        self.places = [_place(a) for a in self.in_place]
        self.holders = list(holders)
        self.items = [_items_of(holder) for holder in self.holders]

    def unchanged(self):
        """Whether nothing has changed."""
        cdef Py_ssize_t i
        cdef PyObject* value
        for i in range(len(self.names)):
            value = PyDict_GetItemWithError(self.wheres[i], self.names[i])
            if value != <PyObject*>self.values[i] and (value != NULL or self.values[i] is not _NOTHING):
                return False
        for i in range(len(self.holders)):
            if not _are_the_same(_items_of(self.holders[i]), <list>self.items[i]):
                return False
        for i in range(len(self.places)):
            if _place(<cnp.ndarray>self.in_place[i]) != <uint64_t>self.places[i]:
                return False
        for i in range(len(self.prints)):
            if _print(<cnp.ndarray>self.copied[i]) != <uint64_t>self.prints[i]:
                return False
        return True


cdef list _items_of(holder):
    if type(holder) is list:
        return holder[:]
    return list(holder.values() if hasattr(holder, "values") else holder)


cdef bint _are_the_same(list a, list b):
    """Whether two lists hold the same objects."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if a[i] is not b[i]:
            return False
    return True


cdef uint64_t _place(cnp.ndarray array):
    """Where the array is and how large; 0 for one that is not dense any more."""
    if not cnp.PyArray_ISCARRAY_RO(array):
        return 0
    cdef uint64_t address = <uint64_t>cnp.PyArray_DATA(array)
    return address ^ <uint64_t>cnp.PyArray_NBYTES(array) << 48 ^ <uint64_t>array.shape[0] << 32


cdef uint64_t _print(cnp.ndarray array):
    cdef const void* data = cnp.PyArray_DATA(array)
    cdef int64_t size = cnp.PyArray_NBYTES(array)
    if size < 4096:  # giving the GIL away costs more
        return _fingerprint(data, size)
    with nogil:
        return _fingerprint(data, size)


def fingerprint(array):
    """A number that changes with any number of an array; None for one that is not dense, or no ndarray."""
    if isinstance(array, cnp.ndarray) and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>array):
        return _print(<cnp.ndarray>array)
    return None

"""Checks remembered: a call whose arguments look like an earlier one's gets that call's Problem at once.

The full check of a convolution costs 10 us in Python, more than many kernels. What a check decides depends on the
arrays' dtypes, shapes and layouts and on the other arguments' values, never on the numbers in a float array; so these
are written into a row of 64-bit words, and an earlier call with the same words had the same outcome.

An argument that does not fit the words (a list, a strided array, an array of integers, whose values a check may look
at) sends the call to the check itself, as does a result that is not made of the arguments themselves and of constants.

Which argument each array of a result is, is found by comparing addresses. A call in which two arguments begin at one
address (`affine(A, A)`, `affine(x, x.T)`) cannot tell, so it is never remembered; it may be answered by a call that is.
"""

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

import weakref

cdef extern from "numpy/arrayobject.h":
    bint PyArray_SAMESHAPE(cnp.ndarray a, cnp.ndarray b)

cnp.import_array()

cdef enum Kind:
    NOTHING = 1
    NO = 2
    YES = 3
    ARRAY = 4
    INTEGER = 5
    REAL = 6
    TUPLE = 7
    TEXT = 8

_all = weakref.WeakSet()


cdef watch(check):
    _all.add(check)


cdef int slot_of(const int64_t* words, int n) noexcept:
    cdef uint64_t hashed = 0
    cdef int i
    for i in range(n):
        hashed = (hashed ^ <uint64_t>words[i]) * <uint64_t>0x9E3779B97F4A7C15
        hashed ^= hashed >> 29
    return <int>(hashed & (SLOTS - 1))


def forget():
    """Forget all calls: needed when something else that a check reads has changed."""
    for check in _all:
        check.forget()


cdef int encode(object a, int64_t* words, int n) except -2:
    """Write what a check may depend on behind words[:n]; the new n, or -1 if the words cannot say it."""
    cdef cnp.ndarray array
    cdef double real
    cdef int i, flags
    if n + 8 > MOST_WORDS:
        return -1
    if a is None:
        words[n] = NOTHING
    elif type(a) is cnp.ndarray:
        array = <cnp.ndarray>a
        flags = cnp.PyArray_FLAGS(array)
        if not (flags & cnp.NPY_ARRAY_C_CONTIGUOUS and flags & cnp.NPY_ARRAY_ALIGNED) or cnp.PyArray_NDIM(array) > 7:
            return -1
        if cnp.PyArray_TYPE(array) not in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE) or not cnp.PyArray_ISNOTSWAPPED(array):
            return -1
        words[n] = (
            ARRAY | cnp.PyArray_TYPE(array) << 8 | cnp.PyArray_NDIM(array) << 16
            | ((flags & cnp.NPY_ARRAY_WRITEABLE) != 0) << 24
        )
        for i in range(cnp.PyArray_NDIM(array)):
            n += 1
            words[n] = cnp.PyArray_DIMS(array)[i]
    elif a is True:
        words[n] = YES
    elif a is False:
        words[n] = NO
    elif type(a) is int:
        if not -(1 << 62) < a < 1 << 62:
            return -1
        words[n] = INTEGER
        n += 1
        words[n] = a
    elif type(a) is float:
        words[n] = REAL
        n += 1
        real = a
        memcpy(&words[n], &real, sizeof(real))
    elif type(a) is str:
        words[n] = TEXT
        n += 1
        words[n] = <int64_t><void*>a  # the same object, kept alive by the call remembered
    elif type(a) is tuple:
        words[n] = TUPLE | PyTuple_GET_SIZE(a) << 8
        n += 1
        for i in range(<int>PyTuple_GET_SIZE(a)):
            n = encode(<object>PyTuple_GET_ITEM(a, i), words, n)
            if n < 0:
                return -1
        return n
    else:
        return -1
    return n + 1


cdef class Call:
    """One call: its words, and its result as constants and places of arguments."""

    cdef int n
    cdef int64_t words[MOST_WORDS]
    cdef int places[16]  # of the argument that the result's item is, or -1: a constant
    cdef tuple constants, shapes
    cdef object alive

    cdef tuple result(self, tuple args):
        cdef Py_ssize_t i, size = PyTuple_GET_SIZE(self.constants)
        cdef tuple out = PyTuple_New(size)
        for i in range(size):
            if self.places[i] < 0:
                item = <object>PyTuple_GET_ITEM(self.constants, i)
            else:
                item = <object>PyTuple_GET_ITEM(args, self.places[i])
                shape = <object>PyTuple_GET_ITEM(self.shapes, i)
                if shape is not None:
                    item = item.reshape(shape)
            Py_INCREF(item)
            PyTuple_SET_ITEM(out, i, item)
        return out


cdef class Remembered:
    """A check, called with positional arguments, that remembers its calls.

    Parameters
    ----------
    check : callable
        Returns a tuple: the Problem first, then its arguments, as they were or made dense, and constants.
    """

    cdef readonly object __wrapped__
    cdef readonly str __name__, __doc__
    cdef list calls
    cdef object __weakref__

    def __init__(self, check):
        self.__wrapped__ = check
        self.__name__ = check.__name__
        self.__doc__ = check.__doc__
        self.forget()
        watch(self)

    def forget(self):
        """Forget the calls of this check."""
        self.calls = [None] * SLOTS

    def __call__(self, *args, **kwargs):
        cdef int64_t words[MOST_WORDS]
        cdef int i, n = 0
        cdef Call call
        if kwargs:
            return self.__wrapped__(*args, **kwargs)
        for i in range(<int>PyTuple_GET_SIZE(args)):
            n = encode(<object>PyTuple_GET_ITEM(args, i), words, n)
            if n < 0:
                return self.__wrapped__(*args)
        slot = slot_of(words, n)
        known = self.calls[slot]
        if known is not None:
            call = <Call>known
            if call.n == n and memcmp(call.words, words, n * sizeof(int64_t)) == 0:
                return call.result(args)
        result = self.__wrapped__(*args)
        self.calls[slot] = remembered(args, result, words, n)
        return result


cdef bint share_an_address(tuple args):
    """Whether two of the arguments are arrays that begin at the same address."""
    cdef Py_ssize_t i, j, count = PyTuple_GET_SIZE(args)
    for i in range(count):
        a = <object>PyTuple_GET_ITEM(args, i)
        if type(a) is not cnp.ndarray:
            continue
        for j in range(i):
            b = <object>PyTuple_GET_ITEM(args, j)
            if type(b) is cnp.ndarray and cnp.PyArray_DATA(<cnp.ndarray>a) == cnp.PyArray_DATA(<cnp.ndarray>b):
                return True
    return False


cdef bint same_numbers(cnp.ndarray item, a):
    """Whether item is the array a, or a's numbers in another shape. (The arguments are dense here.)"""
    return type(a) is cnp.ndarray and (item is a or (
        cnp.PyArray_DATA(item) == cnp.PyArray_DATA(<cnp.ndarray>a) and cnp.PyArray_SIZE(item) == cnp.PyArray_SIZE(a)
        and cnp.PyArray_SIZE(item) > 0 and cnp.PyArray_TYPE(item) == cnp.PyArray_TYPE(<cnp.ndarray>a)
    ))


def all_below(cnp.ndarray numbers, int64_t limit):
    """Whether every number of a dense array of int64 is in [0, limit)."""
    cdef const int64_t* data = <const int64_t*>cnp.PyArray_DATA(numbers)
    cdef Py_ssize_t i
    cdef bint outside = False
    for i in range(cnp.PyArray_SIZE(numbers)):
        outside |= <uint64_t>data[i] >= <uint64_t>limit
    return not outside


cdef void extent(cnp.ndarray a, char** first, char** end) noexcept:
    """The memory from an array's lowest byte to behind its highest."""
    cdef int i
    cdef cnp.npy_intp reach
    first[0] = <char*>cnp.PyArray_DATA(a)
    end[0] = first[0] + cnp.PyArray_ITEMSIZE(a)
    for i in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, i) - 1) * cnp.PyArray_STRIDE(a, i)
        if reach < 0:
            first[0] += reach
        else:
            end[0] += reach


def share_memory(tuple written, tuple read):
    """Whether an array of the first tuple may lie in the memory of one of the second. Other objects share nothing."""
    cdef char* first
    cdef char* end
    cdef char* other
    cdef char* other_end
    for a in written:
        if not isinstance(a, cnp.ndarray) or cnp.PyArray_SIZE(<cnp.ndarray>a) == 0:
            continue
        extent(<cnp.ndarray>a, &first, &end)
        for b in read:
            if not isinstance(b, cnp.ndarray) or cnp.PyArray_SIZE(<cnp.ndarray>b) == 0:
                continue
            extent(<cnp.ndarray>b, &other, &other_end)
            if first < other_end and other < end:
                return True
    return False


def listed_twice(list arrays):
    """Whether two arrays of a list begin at one address."""
    cdef Py_ssize_t i, j
    for i in range(len(arrays)):
        a = arrays[i]
        if isinstance(a, cnp.ndarray) and cnp.PyArray_SIZE(<cnp.ndarray>a):
            for j in range(i):
                b = arrays[j]
                if isinstance(b, cnp.ndarray) and cnp.PyArray_DATA(<cnp.ndarray>b) == cnp.PyArray_DATA(<cnp.ndarray>a):
                    return True
    return False


def is_dense_int64(a):
    """Whether it is a dense array of int64 in the machine's byte order."""
    return (
        type(a) is cnp.ndarray and cnp.PyArray_TYPE(<cnp.ndarray>a) in (cnp.NPY_LONG, cnp.NPY_LONGLONG)
        and cnp.PyArray_ITEMSIZE(<cnp.ndarray>a) == 8 and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>a)
    )


def paired(params, grads):
    """The names, the arrays and the gradients of two dicts, where all are ndarrays and no array stands under two names;
    else None."""
    cdef list names, arrays, slopes
    cdef PyObject* slope
    cdef Py_ssize_t i, j
    if not isinstance(params, dict) or not isinstance(grads, dict):
        return None
    names, arrays, slopes = list(params), [], []
    for i in range(len(names)):
        array = (<dict>params)[names[i]]
        slope = PyDict_GetItemWithError(grads, names[i])
        if type(array) is not cnp.ndarray or slope == NULL or type(<object>slope) is not cnp.ndarray:
            return None
        for j in range(i):
            if arrays[j] is array:
                return None
        arrays.append(array)
        slopes.append(<object>slope)
    return names, arrays, slopes


def dense_lists(list lists):
    """The dtype of lists of arrays that belong together, when all are dense, writeable and of one float dtype, and the
    arrays of a row have one shape; else None."""
    cdef Py_ssize_t i, rows
    cdef cnp.ndarray array, first
    cdef int kind = -1
    cdef list group
    rows = len(<list>lists[0])
    for group in lists:
        if len(group) != rows:
            return None
        for i in range(rows):
            if type(group[i]) is not cnp.ndarray:
                return None
            array, first = <cnp.ndarray>group[i], <cnp.ndarray>(<list>lists[0])[i]
            if kind < 0:
                kind = cnp.PyArray_TYPE(array)
            if not cnp.PyArray_ISCARRAY(array) or cnp.PyArray_TYPE(array) != kind:
                return None
            if not PyArray_SAMESHAPE(array, first):
                return None
    if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE:
        return (<cnp.ndarray>(<list>lists[0])[0]).dtype
    return None


cdef Call remembered(tuple args, result, int64_t* words, int n):
    """The call, or None when its result holds something new, or an array that may be either of two arguments."""
    cdef Call call = Call()
    cdef Py_ssize_t i, j
    if type(result) is not tuple or len(result) > 16 or share_an_address(args):
        return None
    constants, shapes = [], []
    for i in range(len(result)):
        item = result[i]
        call.places[i] = -1
        shape = None
        if type(item) is cnp.ndarray:
            for j in range(len(args)):
                if same_numbers(item, args[j]):
                    call.places[i] = <int>j
                    shape = None if item.shape == args[j].shape else item.shape
                    break
        if call.places[i] < 0 and isinstance(item, (cnp.ndarray, list, dict)):
            return None
        constants.append(item if call.places[i] < 0 else None)
        shapes.append(shape)
    call.n = n
    memcpy(call.words, words, n * sizeof(int64_t))
    call.constants, call.shapes = tuple(constants), tuple(shapes)
    call.alive = tuple(a for a in args if type(a) is not cnp.ndarray)
    return call

"""The straight way to a kernel, for operations that make one array: checked once, then remembered whole.

`remember` keeps what a check decided; here the rest of the road is kept too: which kernel dispatch chose, what it
takes, and the shape of the result. A call like an earlier one allocates and calls the kernel: 0.4 us from Python
instead of 2. Everything else takes the road: unlike arguments, a result in `out`, another dtype than the kernel
computes in, and every call while a backend is forced.
"""

import inspect
from functools import wraps

cimport numpy as cnp
from cpython.dict cimport PyDict_Size
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from fastconv.kernels._cpu.engine cimport forced_backends, new_array
from fastconv.kernels._cpu.remember cimport MOST_WORDS, SLOTS, encode, same_numbers, share_an_address, slot_of, watch

cnp.import_array()


cdef class Way:
    """One call remembered: its words, its kernel and what the kernel takes."""

    cdef int n, ndim, kind
    cdef int64_t words[MOST_WORDS]
    cdef cnp.npy_intp dims[8]
    cdef int places[8]  # of the argument that is the kernel's i-th, or -1: a constant
    cdef tuple constants, shapes  # shapes: in which the kernel takes an argument, None for its own
    cdef object kernel, alive  # kernel None: a call that takes the road


def straight(road, check, choose):
    """The operation `road` with a straight way past its check.

    Parameters
    ----------
    road : function
        The operation, which makes one array.
    check : callable
        Its check: the Problem, then the kernel's arguments.
    choose : callable
        The kernel for a Problem.

    Returns
    -------
    function
        As road.
    """
    cdef Ways ways = Ways(road, check, choose)

    @wraps(road)
    def call(*args, **kwargs):
        return ways.go(args, kwargs)

    return call


cdef class Ways:
    """The calls of one operation."""

    cdef object road, check, choose
    cdef list names, ways
    cdef dict others  # the operation's arguments that the check does not see, with their defaults
    cdef object __weakref__

    def __init__(self, road, check, choose):
        self.road, self.check, self.choose = road, check, choose
        known = inspect.signature(road).parameters
        self.names = [name for name in inspect.signature(check).parameters if name in known]
        self.others = {name: p.default for name, p in known.items() if name not in self.names}
        self.forget()
        watch(self)

    def forget(self):
        """Forget the calls."""
        self.ways = [None] * SLOTS

    cdef go(self, tuple args, dict kwargs):
        cdef int64_t words[MOST_WORDS]
        cdef int n = 0, i
        cdef Py_ssize_t count
        cdef Way way
        if forced_backends[0] != 0:
            return self.road(*args, **kwargs)
        for i in range(<int>PyTuple_GET_SIZE(args)):
            n = encode(<object>PyTuple_GET_ITEM(args, i), words, n)
            if n < 0:
                return self.road(*args, **kwargs)
        if PyDict_Size(kwargs):
            for name, value in kwargs.items():
                n = encode(name, words, n)
                n = encode(value, words, n) if n >= 0 else n
                if n < 0:
                    return self.road(*args, **kwargs)
        slot = slot_of(words, n)
        known = self.ways[slot]
        if known is not None:
            way = <Way>known
            if way.n == n and memcmp(way.words, words, n * sizeof(int64_t)) == 0:
                if way.kernel is None:
                    return self.road(*args, **kwargs)
                y = new_array(way.ndim, way.dims, way.kind)
                count = PyTuple_GET_SIZE(way.constants)
                passed = PyTuple_New(count)
                for i in range(<int>count):
                    if i == 0:
                        item = y
                    elif way.places[i] < 0:
                        item = <object>PyTuple_GET_ITEM(way.constants, i)
                    else:
                        item = <object>PyTuple_GET_ITEM(args, way.places[i])
                        shape = <object>PyTuple_GET_ITEM(way.shapes, i)
                        if shape is not None:
                            item = item.reshape(shape)
                    Py_INCREF(item)
                    PyTuple_SET_ITEM(passed, i, item)
                way.kernel(*<tuple>passed)
                return y
        y = self.road(*args, **kwargs)
        if not share_an_address(args):
            self.ways[slot] = self.way(y, args, kwargs, words, n)
        return y

    cdef Way way(self, y, tuple args, dict kwargs, int64_t* words, int n):
        """The way of a call; one without a kernel when it is not that simple."""
        cdef Way way = Way()
        cdef int i
        way.n = n
        memcpy(way.words, words, n * sizeof(int64_t))
        way.alive = tuple(a for a in (*args, *kwargs, *kwargs.values()) if type(a) is not cnp.ndarray)
        bound = inspect.signature(self.road).bind(*args, **kwargs)
        bound.apply_defaults()
        if any(bound.arguments[name] is not default for name, default in self.others.items()):
            return way
        if type(y) is not cnp.ndarray or cnp.PyArray_NDIM(y) > 7:
            return way
        problem, *arrays = self.check(*(bound.arguments[name] for name in self.names))
        constants = [None, *arrays, problem]
        if y.dtype != problem.dtype or problem.unbatched or len(constants) > 8 or not find(constants, args, way):
            return way
        way.ndim, way.kind = cnp.PyArray_NDIM(y), cnp.PyArray_TYPE(y)
        for i in range(way.ndim):
            way.dims[i] = cnp.PyArray_DIM(y, i)
        way.constants = tuple(constants)
        way.kernel = self.choose(problem)
        return way


cdef bint find(list constants, tuple args, Way way):
    """Replace the arguments among the constants by their places; whether no other array is left: a copy that the check
    made, or an array given by name."""
    cdef int i, j
    shapes = [None] * len(constants)
    for i in range(len(constants)):
        item = constants[i]
        way.places[i] = -1
        if type(item) is not cnp.ndarray:
            continue
        for j in range(len(args)):
            if same_numbers(item, args[j]):
                way.places[i] = j
                constants[i] = None
                shapes[i] = None if item.shape == args[j].shape else item.shape
                break
        if way.places[i] < 0:
            return False
    way.shapes = tuple(shapes)
    return True

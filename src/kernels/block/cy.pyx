"""Convolutions in a row, each with its ReLU, and a maximum pooling behind them, in training: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window, window
from fastconv.kernels.chain.cy cimport BackwardStep, CBackwardStep, CStep, CWeightsStep, Step, WeightsStep

cnp.import_array()

cdef struct Convolution:
    const CStep* forward
    const CStep* data
    const CWeightsStep* weights
    const CBackwardStep* both
    const void* x
    void* y
    void* dw
    void* db
    int64_t in_size, out_size, dw_size, db_size

cdef struct Row:
    const Convolution* begin
    const Convolution* end
    Window pool

ctypedef void (*Forward)(void* out, void* indices, const Row* row, void* max_forward) except + nogil
ctypedef bint (*Backward)(
    void* dx, const void* dout, const void* indices, const void* y, const Row* row, void* max_backward,
    void* relu_backward
) except + nogil

cdef Forward _forward[2]
cdef Backward _backward[2]
cdef void* _max_forward[2]
cdef void* _max_backward[2]
cdef void* _relu_backward[2]

lookup_floats("block", "forward", <void**>_forward)
lookup_floats("block", "backward", <void**>_backward)
lookup_floats("pool2d", "max_forward", _max_forward)
lookup_floats("pool2d", "max_backward", _max_backward)
lookup_floats("activations", "relu_backward", _relu_backward)


cdef void* _data(cnp.ndarray a) noexcept:
    return NULL if a is None else cnp.PyArray_DATA(a)


cdef class _Row:
    """The convolutions as the kernels take them: sources[i] is the i-th one's input, and the next one's result."""

    cdef Row row
    cdef Convolution* convolutions

    def __cinit__(self, sources, steps, p):
        cdef Step step
        cdef int i, count = len(steps)
        self.convolutions = <Convolution*>calloc(count, sizeof(Convolution))
        if self.convolutions == NULL:
            raise MemoryError
        for i in range(count):
            step = steps[i]
            self.convolutions[i].forward = step.step
            self.convolutions[i].in_size, self.convolutions[i].out_size = step.input_size, step.result_size
            self.convolutions[i].x = _data(sources[i])
            self.convolutions[i].y = _data(sources[i + 1]) if i + 1 < count else NULL
        self.row.begin, self.row.end = self.convolutions, self.convolutions + count
        self.row.pool = window(p)

    def __dealloc__(self):
        free(self.convolutions)


def forward(cnp.ndarray out, cnp.ndarray indices, sources, steps, p):
    """The pooled result and its indices; sources from the second on are results as well."""
    cdef _Row row = _Row(sources, steps, p)
    cdef int kind = precision(out)
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* indices_data = cnp.PyArray_DATA(indices)
    with nogil:
        _forward[kind](out_data, indices_data, &row.row, _max_forward[kind])


def backward(
    cnp.ndarray dx, dw, db, cnp.ndarray dout, cnp.ndarray indices, cnp.ndarray y, sources, forward_steps,
    backward_steps, p
):
    """The gradients; False if an index was outside of its plane.

    backward_steps: for each convolution (data, weights, both), of which both or the others are None; data is None as
    well for the first one where dx is.
    """
    cdef _Row row = _Row(sources, forward_steps, p)
    cdef Convolution* convolution = row.convolutions
    cdef Step data
    cdef WeightsStep weights
    cdef BackwardStep both
    cdef bint inside
    for (data, weights, both), filters, bias in zip(backward_steps, dw, db, strict=True):
        if data is not None:
            convolution.data = data.step
        if weights is not None:
            convolution.weights = weights.step
        if both is not None:
            convolution.both = both.step
        convolution.dw, convolution.db = _data(filters), _data(bias)
        convolution.dw_size = cnp.PyArray_SIZE(filters)
        convolution.db_size = 0 if bias is None else cnp.PyArray_SIZE(bias)
        convolution += 1
    cdef int kind = precision(dout)
    cdef void* dx_data = _data(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* indices_data = cnp.PyArray_DATA(indices)
    cdef void* y_data = cnp.PyArray_DATA(y)
    with nogil:
        inside = _backward[kind](
            dx_data, dout_data, indices_data, y_data, &row.row, _max_backward[kind], _relu_backward[kind]
        )
    return inside

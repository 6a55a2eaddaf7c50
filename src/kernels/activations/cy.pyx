"""Element-wise activations, compiled: the entry points of isa.cpp's kernels."""

from functools import wraps

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport forced_backends, lookup_floats, new_array, precision
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

ctypedef void (*Forward)(void* out, const void* x, int64_t count, double slope) except + nogil
ctypedef void (*Backward)(void* dx, const void* dout, const void* x, int64_t count, double slope) except + nogil
ctypedef void (*AddActivation)(
    void* out, const void* x, const void* y, int64_t count, Forward activation, double slope
) except + nogil
ctypedef void (*MaskedForward)(void* out, void* bits, const void* x, int64_t count) except + nogil
ctypedef void (*MaskedBackward)(void* dx, const void* dout, const void* bits, int64_t count) except + nogil
ctypedef CStep* (*Prepare)(Forward kernel, int64_t size, double slope) except + nogil

cdef Forward[2] _relu_forward, _leaky_relu_forward, _sigmoid_forward, _tanh_forward
cdef Backward[2] _relu_backward, _leaky_relu_backward, _sigmoid_backward, _tanh_backward
cdef MaskedForward[2] _relu_masked_forward
cdef MaskedBackward[2] _relu_masked_backward
cdef Prepare[2] _prepare
cdef AddActivation[2] _add_activation

lookup_floats("activations", "relu_forward", <void**>_relu_forward)
lookup_floats("activations", "relu_backward", <void**>_relu_backward)
lookup_floats("activations", "relu_masked_forward", <void**>_relu_masked_forward)
lookup_floats("activations", "relu_masked_backward", <void**>_relu_masked_backward)
lookup_floats("activations", "leaky_relu_forward", <void**>_leaky_relu_forward)
lookup_floats("activations", "leaky_relu_backward", <void**>_leaky_relu_backward)
lookup_floats("activations", "sigmoid_forward", <void**>_sigmoid_forward)
lookup_floats("activations", "sigmoid_backward", <void**>_sigmoid_backward)
lookup_floats("activations", "tanh_forward", <void**>_tanh_forward)
lookup_floats("activations", "tanh_backward", <void**>_tanh_backward)
lookup_floats("activations", "prepare", <void**>_prepare)
lookup_floats("activations", "add_activation", <void**>_add_activation)


cdef _forward(Forward* kernels, cnp.ndarray out, cnp.ndarray x, double slope=0):
    cdef Forward kernel = kernels[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(out_data, x_data, count, slope)


cdef _backward(Backward* kernels, cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, double slope=0):
    cdef Backward kernel = kernels[precision(x)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(dx_data, dout_data, x_data, count, slope)


def relu_forward(out, x, p):
    _forward(_relu_forward, out, x)


def relu_backward(dx, dout, x, p):
    _backward(_relu_backward, dx, dout, x)


def relu_masked_forward(cnp.ndarray out, cnp.ndarray bits, cnp.ndarray x, p):
    cdef MaskedForward kernel = _relu_masked_forward[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* bits_data = cnp.PyArray_DATA(bits)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(out_data, bits_data, x_data, count)


def relu_masked_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray bits, p):
    cdef MaskedBackward kernel = _relu_masked_backward[precision(dout)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* bits_data = cnp.PyArray_DATA(bits)
    cdef int64_t count = cnp.PyArray_SIZE(dout)
    with nogil:
        kernel(dx_data, dout_data, bits_data, count)


def leaky_relu_forward(out, x, p):
    _forward(_leaky_relu_forward, out, x, p.negative_slope)


def leaky_relu_backward(dx, dout, x, p):
    _backward(_leaky_relu_backward, dx, dout, x, p.negative_slope)


def sigmoid_forward(out, x, p):
    _forward(_sigmoid_forward, out, x)


def sigmoid_backward(dx, dout, y, p):
    _backward(_sigmoid_backward, dx, dout, y)


def tanh_forward(out, x, p):
    _forward(_tanh_forward, out, x)


def tanh_backward(dx, dout, y, p):
    _backward(_tanh_backward, dx, dout, y)


cdef class ForwardOf:
    """A forward kernel by its name: (out, x, p). `out` may be x."""

    cdef Forward kernels[2]

    def __init__(self, str name):
        lookup_floats("activations", name.encode(), <void**>self.kernels)

    def __call__(self, cnp.ndarray out, cnp.ndarray x, p):
        _forward(self.kernels, out, x, p.negative_slope)


cdef class BackwardOf:
    """A backward kernel by its name: (dx, dout, x, p)."""

    cdef Backward kernels[2]

    def __init__(self, str name):
        lookup_floats("activations", name.encode(), <void**>self.kernels)

    def __call__(self, cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, p):
        _backward(self.kernels, dx, dout, x)


relu6_forward, relu6_backward = ForwardOf("relu6_forward"), BackwardOf("relu6_backward")
hard_sigmoid_forward, hard_sigmoid_backward = ForwardOf("hard_sigmoid_forward"), BackwardOf("hard_sigmoid_backward")
hard_swish_forward, hard_swish_backward = ForwardOf("hard_swish_forward"), BackwardOf("hard_swish_backward")
silu_forward, silu_backward = ForwardOf("silu_forward"), BackwardOf("silu_backward")
gelu_forward, gelu_backward = ForwardOf("gelu_forward"), BackwardOf("gelu_backward")
gelu_tanh_forward, gelu_tanh_backward = ForwardOf("gelu_tanh_forward"), BackwardOf("gelu_tanh_backward")

cdef dict _forwards = {
    name: ForwardOf(f"{name}_forward")
    for name in (
        "relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "tanh", "hard_swish", "silu", "gelu", "gelu_tanh"
    )
}


def add_activation(cnp.ndarray out, cnp.ndarray x, cnp.ndarray y, p):
    """out = f(x + y), f the Problem's activation; `out` may be x or y."""
    cdef int kind = precision(x)
    cdef AddActivation kernel = _add_activation[kind]
    cdef Forward activation = NULL
    cdef double slope = p.negative_slope
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    if p.activation is not None:
        activation = (<ForwardOf>_forwards[p.activation]).kernels[kind]
    with nogil:
        kernel(out_data, x_data, y_data, count, activation, slope)


cdef _step(Forward* kernels, p, int64_t size, double slope=0):
    cdef bint double_precision = p.dtype == "float64"
    return prepared(_prepare[double_precision](kernels[double_precision], size, slope), (), size, size)


def prepare_relu(p, size):
    """Forward, for images of `size` numbers; so are the others."""
    return _step(_relu_forward, p, size)


def prepare_leaky_relu(p, size):
    return _step(_leaky_relu_forward, p, size, p.negative_slope)


def prepare_sigmoid(p, size):
    return _step(_sigmoid_forward, p, size)


def prepare_tanh(p, size):
    return _step(_tanh_forward, p, size)


cdef class StepOf:
    """The prepared form of a forward kernel, for images of `size` numbers: (p, size)."""

    cdef ForwardOf forward

    def __init__(self, ForwardOf forward):
        self.forward = forward

    def __call__(self, p, size):
        return _step(self.forward.kernels, p, size)


prepare_relu6, prepare_hard_sigmoid = StepOf(relu6_forward), StepOf(hard_sigmoid_forward)
prepare_hard_swish = StepOf(hard_swish_forward)
prepare_silu, prepare_gelu, prepare_gelu_tanh = map(StepOf, (silu_forward, gelu_forward, gelu_tanh_forward))


def straight_unary(road):
    """The public operation `road`, with a straight way for what needs no check: a dense float array and no options.

    A call on ten numbers costs 0.1 us this way and over 1 us by the road, which everything else takes: other arrays and
    types, results in `out`, and every call while some backend is forced.
    """
    cdef ForwardOf forward = ForwardOf(f"{road.__name__}_forward")
    cdef Forward f32 = forward.kernels[0], f64 = forward.kernels[1]

    @wraps(road)
    def call(x, *, out=None):
        cdef cnp.ndarray array, result
        cdef int kind
        if type(x) is cnp.ndarray and out is None and forced_backends[0] == 0:
            array = <cnp.ndarray>x
            kind = cnp.PyArray_TYPE(array)
            if (kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE) and cnp.PyArray_ISCARRAY_RO(array):
                result = new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), kind)
                run(f64 if kind == cnp.NPY_DOUBLE else f32, result, array)
                return result
        return road(x, out=out)

    return call


cdef int run(Forward kernel, cnp.ndarray out, cnp.ndarray x) except -1:
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    if count < 4096:  # giving the GIL away costs more than the kernel
        kernel(out_data, x_data, count, 0)
    else:
        with nogil:
            kernel(out_data, x_data, count, 0)
    return 0


def straight_masked(road):
    """As `straight_unary`, for relu with the bits of its mask: x to (y, bits)."""

    @wraps(road)
    def call(x):
        cdef cnp.npy_intp count
        cdef cnp.ndarray array
        if type(x) is cnp.ndarray and is_plain(<cnp.ndarray>x):
            array = <cnp.ndarray>x
            count = (cnp.PyArray_SIZE(array) + 7) // 8
            out = new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array))
            bits = new_array(1, &count, cnp.NPY_UINT8)
            relu_masked_forward(out, bits, array, None)
            return out, bits
        return road(x)

    return call


def straight_masked_backward(road):
    """As `straight_unary`, for the gradient of relu from the bits of its mask."""

    @wraps(road)
    def call(dout, bits, shape):
        cdef cnp.ndarray array
        if type(dout) is cnp.ndarray and type(bits) is cnp.ndarray and is_plain(<cnp.ndarray>dout):
            array = <cnp.ndarray>dout
            if dout.shape == shape:
                dx = new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array))
                relu_masked_backward(dx, array, bits, None)
                return dx
        return road(dout, bits, shape)

    return call


cdef bint is_plain(cnp.ndarray a) noexcept:
    """Whether it needs no check: a dense float array, and no backend is forced."""
    cdef int kind = cnp.PyArray_TYPE(a)
    return (
        forced_backends[0] == 0 and (kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE) and cnp.PyArray_ISCARRAY_RO(a)
    )

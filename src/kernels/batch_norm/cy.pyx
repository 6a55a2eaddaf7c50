"""Batch normalisation and local response normalisation, compiled: see isa.cpp and response.h."""

from math import inf

cimport numpy as cnp
from libc.stdint cimport int64_t
from libcpp cimport bool as cbool

from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

cdef extern from "sizes.h" namespace "fc" nogil:
    ctypedef struct BatchNorm:
        int64_t N, C, P
        double momentum, eps, degrees_lost, least, most
    ctypedef struct LocalResponse:
        int64_t N, C, P, size
        double alpha, beta, k

ctypedef CStep* (*Prepare)(
    const void* gamma, const void* beta, const void* mean, const void* var, const BatchNorm* p
) except + nogil
ctypedef void (*ResponseForward)(void* out, const void* x, const LocalResponse* sizes) except + nogil
ctypedef void (*ResponseBackward)(
    void* dx, const void* dout, const void* x, const LocalResponse* sizes
) except + nogil
ctypedef void (*Training)(
    void* out, void* mean, void* inv_std, const void* x, const void* gamma, const void* beta, void* running_mean,
    void* running_var, const BatchNorm* sizes
) except + nogil
ctypedef void (*Inference)(
    void* out, const void* x, const void* gamma, const void* beta, const void* mean, const void* var,
    const BatchNorm* sizes
) except + nogil
ctypedef void (*Backward)(
    void* dx, void* dgamma, void* dbeta, const void* dout, const void* x, const void* gamma, const void* mean,
    const void* inv_std, cbool batch_statistics, const BatchNorm* sizes
) except + nogil

cdef Training _training[2]
cdef Inference _inference[2]
cdef Backward _backward[2]
cdef ResponseForward _response_forward[2]
cdef ResponseBackward _response_backward[2]
cdef Prepare _prepare[2]

lookup_floats("batch_norm", "training", <void**>_training)
lookup_floats("batch_norm", "inference", <void**>_inference)
lookup_floats("batch_norm", "backward", <void**>_backward)
lookup_floats("batch_norm", "local_response_forward", <void**>_response_forward)
lookup_floats("batch_norm", "local_response_backward", <void**>_response_backward)
lookup_floats("batch_norm", "prepare", <void**>_prepare)


cdef dict _bounds = {"relu": (0, inf), "relu6": (0, 6)}


cdef BatchNorm _sizes(p, activation):
    cdef double least, most
    least, most = (-inf, inf) if activation is None else _bounds[activation]
    return BatchNorm(
        N=p.N, C=p.C, P=p.P, momentum=p.momentum, eps=p.eps, degrees_lost=p.unbiased, least=least, most=most
    )


cdef inline void* _data(cnp.ndarray array) noexcept nogil:
    return NULL if array is None else cnp.PyArray_DATA(array)


def training(
    cnp.ndarray out, cnp.ndarray mean, cnp.ndarray inv_std, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta,
    cnp.ndarray running_mean, cnp.ndarray running_var, p,
):
    cdef BatchNorm sizes = _sizes(p, p.activation)
    cdef Training kernel = _training[precision(x)]
    with nogil:
        kernel(
            _data(out), _data(mean), _data(inv_std), _data(x), _data(gamma), _data(beta), _data(running_mean),
            _data(running_var), &sizes,
        )


def inference(
    cnp.ndarray out, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray mean, cnp.ndarray var, p
):
    cdef BatchNorm sizes = _sizes(p, p.activation)
    cdef Inference kernel = _inference[precision(x)]
    with nogil:
        kernel(_data(out), _data(x), _data(gamma), _data(beta), _data(mean), _data(var), &sizes)


def prepare(cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray mean, cnp.ndarray var, p):
    """Inference; the arrays are read in place."""
    cdef BatchNorm sizes = _sizes(p, p.activation)
    cdef CStep* step = _prepare[precision(gamma)](_data(gamma), _data(beta), _data(mean), _data(var), &sizes)
    return prepared(step, (gamma, beta, mean, var), p.C * p.P, p.C * p.P)


def backward(
    cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray gamma,
    cnp.ndarray mean, cnp.ndarray inv_std, p,
):
    cdef BatchNorm sizes = _sizes(p, None)
    cdef Backward kernel = _backward[precision(x)]
    cdef cbool batch_statistics = p.training
    with nogil:
        kernel(
            _data(dx), _data(dgamma), _data(dbeta), _data(dout), _data(x), _data(gamma), _data(mean), _data(inv_std),
            batch_statistics, &sizes,
        )


cdef LocalResponse _response(p):
    return LocalResponse(N=p.N, C=p.C, P=p.P, size=p.size, alpha=p.alpha, beta=p.beta, k=p.k)


def local_response_forward(cnp.ndarray out, cnp.ndarray x, p):
    cdef LocalResponse sizes = _response(p)
    cdef ResponseForward kernel = _response_forward[precision(x)]
    with nogil:
        kernel(_data(out), _data(x), &sizes)


def local_response_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, p):
    cdef LocalResponse sizes = _response(p)
    cdef ResponseBackward kernel = _response_backward[precision(x)]
    with nogil:
        kernel(_data(dx), _data(dout), _data(x), &sizes)

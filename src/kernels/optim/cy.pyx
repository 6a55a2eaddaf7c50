"""Optimiser steps, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

cdef extern from "step.h" namespace "fc" nogil:
    ctypedef struct Hyper:
        double lr, weight_decay, momentum, decay, rho, beta1, beta2, eps, step
    ctypedef struct Parameter:
        void* param
        const void* grad
        void* state[2]
        int64_t size

ctypedef void (*Step)(const Parameter* parameters, int64_t count, const Hyper* hyper) except + nogil

cdef Step _sgd[2]
cdef Step _momentum[2]
cdef Step _nesterov[2]
cdef Step _adagrad[2]
cdef Step _rmsprop[2]
cdef Step _adadelta[2]
cdef Step _adam[2]

lookup_floats("optim", "sgd", <void**>_sgd)
lookup_floats("optim", "momentum", <void**>_momentum)
lookup_floats("optim", "nesterov", <void**>_nesterov)
lookup_floats("optim", "adagrad", <void**>_adagrad)
lookup_floats("optim", "rmsprop", <void**>_rmsprop)
lookup_floats("optim", "adadelta", <void**>_adadelta)
lookup_floats("optim", "adam", <void**>_adam)


cdef Hyper _rates(dict hyper):
    cdef Hyper h
    h.lr, h.weight_decay, h.eps = hyper["lr"], hyper["weight_decay"], hyper.get("eps", 0.0)
    h.momentum, h.decay, h.rho = hyper.get("momentum", 0.0), hyper.get("decay", 0.0), hyper.get("rho", 0.0)
    h.beta1, h.beta2, h.step = hyper.get("beta1", 0.0), hyper.get("beta2", 0.0), hyper.get("step", 0.0)
    return h


cdef _step(Step* kernels, dict hyper, list params, list grads, list first=None, list second=None):
    cdef vector[Parameter] parameters
    cdef Parameter parameter
    cdef Hyper rates = _rates(hyper)
    cdef Py_ssize_t i
    if not params:
        return
    parameters.reserve(len(params))
    for i in range(len(params)):
        parameter.param = cnp.PyArray_DATA(<cnp.ndarray?>params[i])
        parameter.grad = cnp.PyArray_DATA(<cnp.ndarray?>grads[i])
        parameter.state[0] = NULL if first is None else cnp.PyArray_DATA(<cnp.ndarray?>first[i])
        parameter.state[1] = NULL if second is None else cnp.PyArray_DATA(<cnp.ndarray?>second[i])
        parameter.size = cnp.PyArray_SIZE(<cnp.ndarray>params[i])
        parameters.push_back(parameter)
    cdef Step kernel = kernels[precision(params[0])]
    with nogil:
        kernel(parameters.data(), <int64_t>parameters.size(), &rates)


def sgd(list params, list grads, dict hyper, p):
    _step(_sgd, hyper, params, grads)


def momentum(list params, list grads, list velocities, dict hyper, p):
    _step(_momentum, hyper, params, grads, velocities)


def nesterov(list params, list grads, list velocities, dict hyper, p):
    _step(_nesterov, hyper, params, grads, velocities)


def adagrad(list params, list grads, list sums, dict hyper, p):
    _step(_adagrad, hyper, params, grads, sums)


def rmsprop(list params, list grads, list sums, dict hyper, p):
    _step(_rmsprop, hyper, params, grads, sums)


def adadelta(list params, list grads, list sums, list deltas, dict hyper, p):
    _step(_adadelta, hyper, params, grads, sums, deltas)


def adam(list params, list grads, list m, list v, dict hyper, p):
    _step(_adam, hyper, params, grads, m, v)

"""Optimiser steps on Numba: one pass over each parameter and its states. The formulas are in ref.py."""

import math

from numba import prange

from .._numba.jit import inline, kernel, share, workers_for

NANOSECONDS = 0.4  # that one thread needs for an element


@inline
def _decayed(param, grad, weight_decay):
    """The gradient with its L2 term; without one, an infinite parameter does not turn into NaN."""
    return grad + weight_decay * param if weight_decay != 0 else grad


@kernel
def _sgd(workers, param, grad, lr, weight_decay):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw = param[begin:end], grad[begin:end]
        for i in range(w.size):
            w[i] -= lr * _decayed(w[i], dw[i], weight_decay)


@kernel
def _momentum(workers, param, grad, velocity, lr, weight_decay, momentum):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, v = param[begin:end], grad[begin:end], velocity[begin:end]
        for i in range(w.size):
            v[i] = momentum * v[i] - lr * _decayed(w[i], dw[i], weight_decay)
            w[i] += v[i]


@kernel
def _nesterov(workers, param, grad, velocity, lr, weight_decay, momentum, square, lead):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, v = param[begin:end], grad[begin:end], velocity[begin:end]
        for i in range(w.size):
            step = lr * _decayed(w[i], dw[i], weight_decay)
            w[i] += square * v[i] - lead * step
            v[i] = momentum * v[i] - step


@kernel
def _adagrad(workers, param, grad, sums, lr, weight_decay, eps):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, h = param[begin:end], grad[begin:end], sums[begin:end]
        for i in range(w.size):
            g = _decayed(w[i], dw[i], weight_decay)
            h[i] += g * g
            w[i] -= lr * g / (math.sqrt(h[i]) + eps)


@kernel
def _rmsprop(workers, param, grad, sums, lr, weight_decay, decay, rest, eps):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, h = param[begin:end], grad[begin:end], sums[begin:end]
        for i in range(w.size):
            g = _decayed(w[i], dw[i], weight_decay)
            h[i] = decay * h[i] + rest * g * g
            w[i] -= lr * g / (math.sqrt(h[i]) + eps)


@kernel
def _adadelta(workers, param, grad, sums, deltas, lr, weight_decay, rho, rest, eps):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, h, s = param[begin:end], grad[begin:end], sums[begin:end], deltas[begin:end]
        for i in range(w.size):
            g = _decayed(w[i], dw[i], weight_decay)
            h[i] = rho * h[i] + rest * g * g
            delta = math.sqrt(s[i] + eps) / math.sqrt(h[i] + eps) * g
            s[i] = rho * s[i] + rest * delta * delta
            w[i] -= lr * delta


@kernel
def _adam(workers, param, grad, first, second, rate, weight_decay, rest1, rest2, root, eps):
    for worker in prange(workers):
        begin, end = share(worker, workers, param.size)
        w, dw, m, v = param[begin:end], grad[begin:end], first[begin:end], second[begin:end]
        for i in range(w.size):
            g = _decayed(w[i], dw[i], weight_decay)
            m[i] += rest1 * (g - m[i])
            v[i] += rest2 * (g * g - v[i])
            w[i] -= rate * m[i] / (math.sqrt(v[i]) / root + eps)


def _step(kernel, lists, *numbers):
    """The kernel over each parameter with its gradient and states, the numbers in the parameter's precision."""
    for arrays in zip(*lists, strict=True):
        size, number = arrays[0].size, arrays[0].dtype.type
        kernel(workers_for(NANOSECONDS * size), *(a.reshape(-1) for a in arrays), *map(number, numbers))


def sgd(params, grads, hyper, p):
    _step(_sgd, (params, grads), hyper["lr"], hyper["weight_decay"])


def momentum(params, grads, velocities, hyper, p):
    _step(_momentum, (params, grads, velocities), hyper["lr"], hyper["weight_decay"], hyper["momentum"])


def nesterov(params, grads, velocities, hyper, p):
    mu = hyper["momentum"]
    _step(_nesterov, (params, grads, velocities), hyper["lr"], hyper["weight_decay"], mu, mu * mu, 1 + mu)


def adagrad(params, grads, sums, hyper, p):
    _step(_adagrad, (params, grads, sums), hyper["lr"], hyper["weight_decay"], hyper["eps"])


def rmsprop(params, grads, sums, hyper, p):
    decay = hyper["decay"]
    _step(_rmsprop, (params, grads, sums), hyper["lr"], hyper["weight_decay"], decay, 1 - decay, hyper["eps"])


def adadelta(params, grads, sums, deltas, hyper, p):
    rho = hyper["rho"]
    _step(_adadelta, (params, grads, sums, deltas), hyper["lr"], hyper["weight_decay"], rho, 1 - rho, hyper["eps"])


def adam(params, grads, m, v, hyper, p):
    b1, b2, t = hyper["beta1"], hyper["beta2"], hyper["step"]
    rate, root = hyper["lr"] / (1 - b1**t), (1 - b2**t) ** 0.5
    _step(_adam, (params, grads, m, v), rate, hyper["weight_decay"], 1 - b1, 1 - b2, root, hyper["eps"])

"""Optimiser steps over lists of parameters, in place; the readable truth. g = grad + weight_decay*p throughout.

SGD        p -= lr*g
Momentum   v = momentum*v - lr*g;  p += v
Nesterov   v' = momentum*v - lr*g; p += momentum^2*v - (1 + momentum)*lr*g       (Bengio et al., 2013; the book's form)
AdaGrad    h += g^2; p -= lr*g/(sqrt(h) + eps)                                   (Duchi et al., 2011)
RMSprop    h = decay*h + (1 - decay)*g^2; p -= lr*g/(sqrt(h) + eps)              (Tieleman and Hinton, 2012)
AdaDelta   h = rho*h + (1 - rho)*g^2; d = sqrt(s + eps)/sqrt(h + eps)*g; s = rho*s + (1 - rho)*d^2; p -= lr*d
                                                                                 (Zeiler, 2012)
Adam       m = b1*m + (1 - b1)*g; v = b2*v + (1 - b2)*g^2;
           p -= lr/(1 - b1^t) * m/(sqrt(v/(1 - b2^t)) + eps)                     (Kingma and Ba, 2015, algorithm 1)
"""

import numpy as np
import numpy.typing as npt

from ..._problem import Update

Arrays = list[npt.NDArray[np.floating]]
Hyper = dict[str, float]


def _decayed(param: npt.NDArray, grad: npt.NDArray, hyper: Hyper) -> npt.NDArray:
    return grad + hyper["weight_decay"] * param if hyper["weight_decay"] else grad


def sgd(params: Arrays, grads: Arrays, hyper: Hyper, p: Update) -> None:
    for param, grad in zip(params, grads, strict=True):
        param -= hyper["lr"] * _decayed(param, grad, hyper)


def momentum(params: Arrays, grads: Arrays, velocities: Arrays, hyper: Hyper, p: Update) -> None:
    for param, grad, v in zip(params, grads, velocities, strict=True):
        v *= hyper["momentum"]
        v -= hyper["lr"] * _decayed(param, grad, hyper)
        param += v


def nesterov(params: Arrays, grads: Arrays, velocities: Arrays, hyper: Hyper, p: Update) -> None:
    mu, lr = hyper["momentum"], hyper["lr"]
    for param, grad, v in zip(params, grads, velocities, strict=True):
        step = lr * _decayed(param, grad, hyper)
        param += mu * mu * v - (1 + mu) * step
        v *= mu
        v -= step


def adagrad(params: Arrays, grads: Arrays, sums: Arrays, hyper: Hyper, p: Update) -> None:
    for param, grad, h in zip(params, grads, sums, strict=True):
        g = _decayed(param, grad, hyper)
        h += g * g
        param -= hyper["lr"] * g / (np.sqrt(h) + hyper["eps"])


def rmsprop(params: Arrays, grads: Arrays, sums: Arrays, hyper: Hyper, p: Update) -> None:
    decay = hyper["decay"]
    for param, grad, h in zip(params, grads, sums, strict=True):
        g = _decayed(param, grad, hyper)
        h *= decay
        h += (1 - decay) * g * g
        param -= hyper["lr"] * g / (np.sqrt(h) + hyper["eps"])


def adadelta(params: Arrays, grads: Arrays, sums: Arrays, deltas: Arrays, hyper: Hyper, p: Update) -> None:
    rho, eps = hyper["rho"], hyper["eps"]
    for param, grad, h, s in zip(params, grads, sums, deltas, strict=True):
        g = _decayed(param, grad, hyper)
        h *= rho
        h += (1 - rho) * g * g
        delta = np.sqrt(s + eps) / np.sqrt(h + eps) * g
        s *= rho
        s += (1 - rho) * delta * delta
        param -= hyper["lr"] * delta


def adam(params: Arrays, grads: Arrays, m: Arrays, v: Arrays, hyper: Hyper, p: Update) -> None:
    b1, b2, t = hyper["beta1"], hyper["beta2"], hyper["step"]
    rate, root = hyper["lr"] / (1 - b1**t), (1 - b2**t) ** 0.5
    for param, grad, mi, vi in zip(params, grads, m, v, strict=True):
        g = _decayed(param, grad, hyper)
        mi += (1 - b1) * (g - mi)
        vi += (1 - b2) * (g * g - vi)
        param -= rate * mi / (np.sqrt(vi) / root + hyper["eps"])

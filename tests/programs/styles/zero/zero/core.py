"""Variables that remember the function which made them."""

import weakref

import numpy as np


class Config:
    enable_backprop = True
    calls = 0


class Variable:
    def __init__(self, data):
        self.data, self.grad, self.creator, self.generation = data, None, None, 0

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)

    def backward(self):
        self.grad = Variable(np.ones_like(self.data))
        waiting, seen = [self.creator], {self.creator}
        while waiting:
            waiting.sort(key=lambda f: f.generation)
            f = waiting.pop()
            gradients = f.backward(*[y().grad for y in f.outputs])
            for x, gx in zip(f.inputs, gradients if isinstance(gradients, tuple) else (gradients,), strict=True):
                if gx is None:
                    continue
                x.grad = gx if x.grad is None else Variable(x.grad.data + gx.data)
                if x.creator is not None and x.creator not in seen:
                    seen.add(x.creator)
                    waiting.append(x.creator)


class Parameter(Variable):
    pass


def as_variable(x):
    return x if isinstance(x, Variable) else Variable(x)


class Function:
    def __call__(self, *inputs):
        inputs = [as_variable(x) for x in inputs]
        ys = self.forward(*[x.data for x in inputs])
        outputs = [Variable(y) for y in (ys if isinstance(ys, tuple) else (ys,))]
        Config.calls += 1
        if Config.enable_backprop:
            self.generation = max(x.generation for x in inputs)
            for output in outputs:
                output.creator, output.generation = self, self.generation + 1
            self.inputs, self.outputs = inputs, [weakref.ref(output) for output in outputs]
        return outputs if len(outputs) > 1 else outputs[0]

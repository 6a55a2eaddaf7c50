"""Whole training steps and predictions of the seeds' networks: ours, PyTorch's, ONNX Runtime's and the book's NumPy."""

import io
from collections.abc import Iterator

import numpy as np
from work import Work, book_conv, book_im2col

from fastconv.testing import normal

NETS = {
    # name: (input, layers); a layer is ("conv", FN, size, pad), ("pool",), ("affine", out), ("relu",), ("dropout",)
    "SimpleConvNet": ((1, 28, 28), "c30.5.0 r p a100 r a10"),
    "DeepConvNet": ((1, 28, 28), "c16.3.1 r c16.3.1 r p c32.3.1 r c32.3.2 r p c64.3.1 r c64.3.1 r p a50 r d a10 d"),
    "LeNet": ((3, 32, 32), "c6.5.0 r p c16.5.0 r p a120 r a84 r a10"),
}


def data(net: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    return normal((batch, *NETS[net][0]), np.float32), np.random.default_rng(0).integers(0, 10, batch)


def torch_net(net: str):
    """The network in PyTorch, from its one-line description."""
    from torch import nn

    (C, H, _), text = NETS[net]
    layers, flat = [], False
    for word in text.split():
        kind, numbers = word[0], [int(n) for n in word[1:].split(".") if n]
        if kind == "c":
            layers.append(nn.Conv2d(C, numbers[0], numbers[1], padding=numbers[2]))
            C, H = numbers[0], H + 2 * numbers[2] - numbers[1] + 1
        elif kind == "p":
            layers.append(nn.MaxPool2d(2))
            H //= 2
        elif kind == "a":
            if not flat:
                layers.append(nn.Flatten())
                C, flat = C * H * H, True
            layers.append(nn.Linear(C, numbers[0]))
            C = numbers[0]
        else:
            layers.append(nn.ReLU() if kind == "r" else nn.Dropout(0.5))
    return nn.Sequential(*layers)


def our_net(net: str, dtype=np.float32):
    from fastconv import networks

    if net == "SimpleConvNet":
        conv = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}
        return networks.SimpleConvNet((1, 28, 28), conv, 100, 10, dtype=dtype)
    if net == "DeepConvNet":
        return networks.DeepConvNet(dtype=dtype)
    return networks.Network(our_layers(net, dtype))


def our_layers(net: str, dtype):
    """The network's layers, from the same one-line description."""
    from fastconv import layers

    (C, H, _), text = NETS[net]
    row = {}
    for i, word in enumerate(text.split()):
        kind, numbers = word[0], [int(n) for n in word[1:].split(".") if n]
        if kind == "c":
            FN, size, pad = numbers
            w = normal((FN, C, size, size), dtype, i) / dtype(np.sqrt(C * size * size / 2))
            row[word + str(i)] = layers.Convolution(w, np.zeros(FN, dtype), 1, pad)
            C, H = FN, H + 2 * pad - size + 1
        elif kind == "p":
            row[word + str(i)] = layers.Pooling(2, 2, 2)
            H //= 2
        elif kind == "a":
            C, H = C * H * H, 1
            w = normal((C, numbers[0]), dtype, i) / dtype(np.sqrt(C / 2))
            row[word + str(i)] = layers.Affine(w, np.zeros(numbers[0], dtype))
            C = numbers[0]
        else:
            row[word + str(i)] = layers.Relu() if kind == "r" else layers.Dropout(0.5)
    return row


class BookSimpleConvNet:
    """SimpleConvNet by the book's own formulas, forward and backward, in plain NumPy."""

    def __init__(self, dtype):
        rng = np.random.default_rng(0)
        shapes = {"W1": (30, 1, 5, 5), "W2": (4320, 100), "W3": (100, 10)}
        self.p = {k: (0.01 * rng.standard_normal(s)).astype(dtype) for k, s in shapes.items()}
        self.p |= {"b1": np.zeros(30, dtype), "b2": np.zeros(100, dtype), "b3": np.zeros(10, dtype)}

    def predict(self, x):
        p = self.p
        self.x, self.c = x, book_conv(x, p["W1"], p["b1"], 1, 0)
        self.m1 = self.c <= 0
        r = self.c.copy()
        r[self.m1] = 0
        N, C, H, W = r.shape
        self.col = book_im2col(r, 2, 2, 2).reshape(-1, 4)
        self.arg = self.col.argmax(axis=1)
        self.pool = self.col.max(axis=1).reshape(N, H // 2, W // 2, C).transpose(0, 3, 1, 2)
        self.flat = self.pool.reshape(N, -1)
        a = np.dot(self.flat, p["W2"]) + p["b2"]
        self.m2 = a <= 0
        self.h = a.copy()
        self.h[self.m2] = 0
        return np.dot(self.h, p["W3"]) + p["b3"]

    def gradient(self, x, t):
        s = self.predict(x)
        s = s - s.max(axis=1, keepdims=True)
        y = np.exp(s)
        y /= y.sum(axis=1, keepdims=True)
        N = len(x)
        d = y
        d[np.arange(N), t] -= 1
        d /= N
        g = {"W3": self.h.T @ d, "b3": d.sum(0)}
        d = d @ self.p["W3"].T
        d[self.m2] = 0
        g |= {"W2": self.flat.T @ d, "b2": d.sum(0)}
        d = (d @ self.p["W2"].T).reshape(self.pool.shape).transpose(0, 2, 3, 1)
        spread = np.zeros((d.size, 4), d.dtype)
        spread[np.arange(d.size), self.arg] = d.reshape(-1)
        n, oh, ow, c = d.shape
        six = spread.reshape(n, oh, ow, c, 2, 2).transpose(0, 3, 1, 4, 2, 5)
        d = six.reshape(n, c, 2 * oh, 2 * ow).copy()
        d[self.m1] = 0
        d = d.transpose(0, 2, 3, 1).reshape(-1, 30)
        col = book_im2col(self.x, 5, 5)
        g |= {"W1": (col.T @ d).T.reshape(30, 1, 5, 5), "b1": d.sum(0)}
        np.dot(d, self.p["W1"].reshape(30, -1))  # dcol, of which col2im makes dx
        return g


def steps() -> Iterator[Work]:
    for net, batch, target in (("SimpleConvNet", 100, 3.0), ("DeepConvNet", 100, 2.5), ("LeNet", 4, 4.0)):

        def ours(net=net, batch=batch, dtype=np.float32):
            from fastconv.optim import SGD

            network, optimiser = our_net(net, dtype), SGD(0.01)
            x, t = data(net, batch)
            x = x.astype(dtype)
            return [lambda: optimiser.update(network.params, network.gradient(x, t))]

        def torch_side(net=net, batch=batch, compiled=False):
            import torch
            import torch.nn.functional as F

            model = torch_net(net)
            x, t = (torch.tensor(a) for a in data(net, batch))
            optimiser = torch.optim.SGD(model.parameters(), 0.01)
            forward = torch.compile(model) if compiled else model

            def step():
                optimiser.zero_grad()
                F.cross_entropy(forward(x), t).backward()
                optimiser.step()

            return [step]

        def compiled(torch_side=torch_side):
            return torch_side(compiled=True)

        sides = {"fastconv": ours, "torch": torch_side, "torch.compile": compiled}
        if net == "SimpleConvNet":
            sides["book"] = lambda: [_book_step(np.float32)]
        yield Work("training step", f"{net} batch {batch}", target, sides)

    def ours64():
        from fastconv.optim import SGD

        network, optimiser = our_net("SimpleConvNet", np.float64), SGD(0.01)
        x, t = data("SimpleConvNet", 100)
        x = x.astype(np.float64)
        return [lambda: optimiser.update(network.params, network.gradient(x, t))]

    yield Work(
        "training step",
        "SimpleConvNet batch 100 float64",
        0.0,
        {"fastconv": ours64, "book": lambda: [_book_step(np.float64)]},
    )

    for net in ("SimpleConvNet", "DeepConvNet"):
        for batch in (1, 100):

            def predict(net=net, batch=batch):
                network = our_net(net)
                x, _ = data(net, batch)
                return [lambda: network.predict(x)]

            def torch_predict(net=net, batch=batch):
                import torch

                model = torch_net(net).eval()
                x = torch.tensor(data(net, batch)[0])

                def run():
                    with torch.inference_mode():
                        return model(x)

                return [run]

            def onnx(net=net, batch=batch):
                import onnxruntime
                import torch

                x, _ = data(net, batch)
                file = io.BytesIO()
                torch.onnx.export(torch_net(net).eval(), torch.tensor(x), file, dynamo=False)
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = torch.get_num_threads()
                session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
                name = session.get_inputs()[0].name
                return [lambda: session.run(None, {name: x})]

            sides = {"fastconv": predict, "torch": torch_predict, "onnxruntime": onnx}
            yield Work("prediction", f"{net} batch {batch}", 3.0, sides)


def _book_step(dtype):
    network = BookSimpleConvNet(dtype)
    x, t = data("SimpleConvNet", 100)
    x = x.astype(dtype)

    def step():
        for key, gradient in network.gradient(x, t).items():
            network.p[key] -= 0.01 * gradient

    return step

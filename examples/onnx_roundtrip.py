"""Train a network, write it as an ONNX file, and predict from the file.

    python examples/onnx_roundtrip.py            # a minute
    python examples/onnx_roundtrip.py --quick    # some seconds

Needs `pip install 'fastconv[demo,onnx]'`; ONNX Runtime takes part where it is installed.
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import fastconv.onnx
from fastconv.datasets import load_digits
from fastconv.networks import SimpleConvNet
from fastconv.trainer import Trainer


def trained(epochs):
    """The network, and the digits that it has not seen."""
    (x, t), (x_test, t_test) = load_digits(flatten=False)
    net = SimpleConvNet(weight_init_std="he", use_batchnorm=True, dtype=np.float32, rng=0)
    options = {"epochs": epochs, "mini_batch_size": 50, "optimizer": "adam", "optimizer_param": {"lr": 0.002}}
    Trainer(net, x.astype(np.float32), t, x_test.astype(np.float32), t_test, verbose=False, seed=0, **options).train()
    return net, x_test.astype(np.float32), t_test


def runtime(path):
    """What ONNX Runtime makes of the file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def milliseconds(predict, x):
    """The best time of a prediction of one digit."""
    taken = []
    for _ in range(50):
        start = time.perf_counter()
        predict(x[:1])
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="train for one epoch")
    parser.add_argument("--out", type=Path, default=Path("digits.onnx"), help="default: %(default)s")
    options = parser.parse_args()

    net, x, t = trained(1 if options.quick else 10)
    scores = net.predict(x)
    print(f"trained: {np.mean(scores.argmax(axis=1) == t):.2%} of {len(x)} unseen digits are right")

    fastconv.onnx.export(net, options.out, (1, 1, 28, 28))
    print(f"written: {options.out}, {options.out.stat().st_size / 1e6:.1f} MB")

    model = fastconv.onnx.load(options.out)
    print(model.summary())
    readers = {"the network": net.predict, "its compiled form": net.compile(), "the file, by fastconv": model}
    if find_spec("onnxruntime"):
        readers["the file, by ONNX Runtime"] = runtime(options.out)
    for name, predict in readers.items():
        largest = np.abs(predict(x) - scores).max() / np.abs(scores).max()
        print(f"{name:26} {milliseconds(predict, x):7.3f} ms a digit, largest difference {largest:.1e}")
        if largest > 1e-5:
            raise SystemExit(f"{name}: the scores differ")


if __name__ == "__main__":
    main()

"""What is wanted: the rows of the table of targets, each over the pieces of work that name it.

A ratio is another side's best time over ours, or where a row says so, median over median. `side` may say a number of threads: "fastconv@1" is ourselves on one, "hot@1"
the same without the pauses that a piece of work has.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A row: every ratio at least `each`, their geometric mean at least `mean`."""

    title: str
    each: float
    side: str = "torch"
    mean: float = 0.0
    above: float = 0.0  # seconds: counts only where the side takes longer
    by: str = "best"  # or "median": where a lucky turn says little


# Of training steps of networks from papers: against PyTorch.
_DEEP = {
    "ResNet18": 2.7, "ResNet50": 1.8, "VGG16": 2.5, "DenseNet121": 2.0, "MobileNetV2": 1.8, "GoogLeNet": 2.5,
    "SqueezeNet": 2.5, "FashionCNN": 3.0, "VGGLike13": 2.0,
}  # fmt: skip

TARGETS = {
    **{f"deep step {name}": Target(f"training step, {name}", ratio) for name, ratio in _DEEP.items()},
    "deep prediction": Target("compiled prediction of networks from papers, batch 1 and 8", 2.0, mean=2.5),
    "conv forward": Target("convolution forward, every shape", 1.05, mean=2.2),
    "conv backward": Target("convolution backward (dx, dw, db), every shape", 1.1, mean=2.2),
    "first layer": Target("first layer (C = 1, 5x5) backward", 4.0),
    "stem": Target("7x7 stem, stride 2, backward", 3.0),
    "3x3 high": Target("3x3, stride 1, C and FN >= 64, precision high, both directions", 2.0),
    "3x3 highest": Target("3x3, stride 1, C and FN >= 64, precision highest, both directions", 1.0),
    "depthwise forward": Target("depthwise 3x3 forward", 3.0),
    "depthwise backward": Target("depthwise 3x3 backward (dx, dw, db)", 2.0),
    "batch 1": Target("convolution of one image, both directions", 1.2),
    "max pool": Target("max pool forward, with indices", 10.0),
    "max pool tiny": Target("max pool forward, with indices, tiny", 5.0),
    "max pool backward": Target("max pool backward", 1.8),
    "avg pool": Target("average pool, both directions", 6.0),
    "batch norm forward": Target("batch norm forward, training", 3.5),
    "batch norm backward": Target("batch norm backward", 1.15),
    "relu": Target("ReLU", 0.97),
    "bias + relu": Target("convolution or affine map with bias and ReLU in one call, against two", 1.8),
    "softmax": Target("softmax + cross entropy, with gradient", 3.0),
    "adam": Target("Adam, against PyTorch's fused", 1.5),
    "affine forward": Target("affine forward", 1.05),
    "affine few": Target("affine forward, batch <= 8", 1.5),
    "affine backward": Target("affine dx; dW and db", 1.0),
    "affine 1024": Target("affine 1024x1024x1024: forward, dx, dW", 0.97),
    "step Simple": Target("training step, SimpleConvNet batch 100, against eager", 3.0),
    "step Deep": Target("training step, DeepConvNet batch 100, against eager", 2.5),
    "step LeNet": Target("training step, LeNet batch 4, against eager", 4.0),
    "step compile": Target("training step, against torch.compile", 1.5, "torch.compile"),
    "step book64": Target("training step in float32, against the book's formulas in NumPy float64", 30.0, "book64"),
    "step book32": Target("training step in float32, against the book's formulas in NumPy float32", 12.0, "book32"),
    "predict": Target("prediction, batch 1 and 100", 3.0),
    "predict onnx": Target("prediction, batch 1 and 100, against ONNX Runtime", 1.0, "onnxruntime"),
    "call relu": Target("cost of a call: ReLU of 10 numbers", 5.0),
    "call conv": Target("cost of a call: conv2d of a 5x5 image with one 3x3 filter", 8.0),
    "asleep": Target("first call after 20 ms asleep", 3.0),
    "asleep hot": Target("first call after 20 ms asleep, against our own hot time on one thread", 0.5, "hot@1"),
    "burst torch": Target("after 30 and 100 ms asleep, the first of five calls", 3.0, by="median"),
    "burst onnx": Target("after 1 to 100 ms asleep, five calls, against ONNX Runtime", 1.0, "onnxruntime", by="median"),
    "burst first": Target(
        "after 1 to 100 ms asleep, the first call of .8 ms or more, against our own hot time",
        0.74,
        "hot",
        above=0.8e-3,
        by="median",
    ),
    "burst next": Target("after 1 to 100 ms asleep, calls 2 to 5, against our own hot time", 0.91, "hot", by="median"),
    "callers": Target("1, 2 and 8 Python threads that call at once, against ONNX Runtime", 1.0, "onnxruntime"),
    "two threads": Target("from one thread to two, above 5 ms", 1.8, "fastconv@1", above=5e-3),
}


def restricted(isa: str) -> dict[str, Target]:
    """The rows of a run in which both sides are held to an instruction set."""
    title = f"convolution {{}}, FASTCONV_ISA={isa} against PyTorch restricted to it"
    return {f"conv {way}": Target(title.format(way), 0.0, mean=1.0) for way in ("forward", "backward")}

"""Models in ONNX's format, run on fastconv's kernels.

    model = fastconv.onnx.load("resnet18.onnx")
    scores = model(x)
    fastconv.onnx.export(net, "mine.onnx", (1, 3, 224, 224))

Needs the package `onnx` (``pip install 'fastconv[onnx]'``), which reads the files.

    _proto.py     a file or bytes into a checked ModelProto, and its tensors into arrays
    _graph.py     Node and its attributes, the order of the nodes, the constants among the values
    operators/    one file per family: what each type of node computes
    _load.py      from a ModelProto to a Model; the list of everything unsupported
    model.py      Model: what `load` returns
    _export/      from a network to a file
    backend.py    ONNX's own interface, for its conformance tests
"""

from typing import Any

from ._export import export
from ._load import load
from .model import Model, Value

__all__ = ["Backend", "Model", "Value", "export", "load"]


def __getattr__(name: str) -> Any:
    if name == "Backend":  # its base class is a class of the package onnx
        from .backend import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

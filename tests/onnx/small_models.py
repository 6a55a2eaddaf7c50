"""Models made by hand, a few nodes each."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants=(), opset=17, kind=TensorProto.FLOAT, kinds=()):
    """A ModelProto: nodes as (type, inputs, outputs, attributes), inputs and outputs as {name: shape}, constants as
    {name: array}, kinds as {name: the type of an output}."""
    made = [
        helper.make_node(op, given.split(), results.split(), name=f"{op.lower()}{i}", **attributes)
        for i, (op, given, results, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "graph",
        [tensor(name, shape, kind) for name, shape in inputs.items()],
        [tensor(name, shape, dict(kinds).get(name, kind)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in dict(constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def random(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def convolution():
    """x (N, 3, 8, 8) -> Conv -> Relu -> y, with its weights."""
    return model(
        [("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]}), ("Relu", "c", "y", {})],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 4, 8, 8]},
        {"w": random(4, 3, 3, 3), "b": random(4)},
    )

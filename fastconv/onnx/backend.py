"""ONNX's own interface of a backend: its conformance tests run on it."""

from typing import Any

from ._load import load
from ._proto import onnx
from .model import Model

_base: Any = onnx("onnx.backend.base")


class Prepared(_base.BackendRep):  # type: ignore[misc]
    """A loaded model behind ONNX's interface."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """The outputs for a sequence of inputs in their order, or a dict by name."""
        results = self.model(**inputs) if isinstance(inputs, dict) else self.model(*inputs)
        return results if isinstance(results, tuple) else (results,)


class Backend(_base.Backend):  # type: ignore[misc]
    """fastconv as an `onnx.backend.base.Backend`.

    ``onnx.backend.test.BackendTest(fastconv.onnx.Backend, ...)`` runs ONNX's conformance tests on it.
    """

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **options: Any) -> bool:
        """Whether the model can be loaded."""
        try:
            load(model)
        except ValueError:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **options: Any) -> Prepared:
        """A model ready to run."""
        if not cls.supports_device(device):
            raise ValueError(f"device: expected 'CPU', got {device!r}")
        return Prepared(load(model))

    @classmethod
    def run_node(cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **options: Any) -> Any:
        """The outputs of one node."""
        package, helper = onnx(), onnx("onnx.helper")
        version = options.get("opset_version", onnx("onnx.defs").onnx_opset_version())
        arrays = inputs if isinstance(inputs, dict) else dict(zip([n for n in node.input if n], inputs, strict=True))
        tensor = onnx("onnx.numpy_helper").from_array
        numbers = helper.np_dtype_to_tensor_dtype
        given = [
            helper.make_tensor_value_info(name, tensor(array).data_type, array.shape) for name, array in arrays.items()
        ]
        if outputs_info is None:
            results = [package.ValueInfoProto(name=name) for name in node.output]
        else:
            results = [
                helper.make_tensor_value_info(name, numbers(dtype), shape)
                for name, (dtype, shape) in zip(node.output, outputs_info, strict=True)
            ]
        graph = helper.make_graph([node], "node", given, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        if outputs_info is None:
            model = onnx("onnx.shape_inference").infer_shapes(model)
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether this is the CPU."""
        return device.partition(":")[0] == "CPU"

"""Programs that compute what an ONNX file says: arrays in, an array out."""

import numpy as np
import onnx
import onnx.reference

import fastconv.onnx

try:
    import onnxruntime
except ImportError:
    onnxruntime = None


def ours(path):
    return fastconv.onnx.load(path)


def reference(path):
    session = onnx.reference.ReferenceEvaluator(str(path))

    def run(x):
        with np.errstate(all="ignore"):
            return session.run(None, {session.input_names[0]: x})[0]

    return run


def runtime(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]


def readers(dtype, *, slow=True):
    """Ours, and that which others have for a dtype: ONNX Runtime computes float32 alone. Not the slow ones, if not
    `slow`."""
    if onnxruntime is not None and dtype == np.float32:
        return [ours, runtime]
    return [ours, reference] if slow else [ours]


def checked(path):
    """The ModelProto of a file that ONNX's checker and its inference of shapes accept."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model

"""Which of ONNX's conformance tests do not run on fastconv, and why: the table, and how a test is found in it."""

import re

import onnx

from fastconv.onnx.operators import OPERATORS

TYPES = {
    "BFLOAT16": "NumPy has no such numbers",
    "FLOAT8": "NumPy has no such numbers",
    "FLOAT4": "NumPy has no such numbers",
    "INT4": "NumPy has no such numbers",
    "UINT4": "NumPy has no such numbers",
    "INT2": "NumPy has no such numbers",
    "UINT2": "NumPy has no such numbers",
    "STRING": "a network for images computes with numbers",
}
OPERATORS_LEFT_OUT = {
    r"Sequence.*|SplitToSequence|ConcatFromSequence|Optional.*": "sequences and optional values",
    r"Loop|Scan|GRU|LSTM|RNN|ReverseSequence|StringNormalizer|TfIdfVectorizer|RotaryEmbedding|.*Attention|FlexAttention"
    r"|CausalConvWithState|TensorScatter|RMSNormalization|SwiGLU": "recurrent networks, loops and language models",
    r".*Loss|Gradient|Adagrad|Adam|Momentum": "training",
    r"Bernoulli|Random.*|Multinomial": "random results",
    r".*Linear.*|.*Integer|.*QuantizeLinear": "quantised networks",
    r"DFT|STFT|.*Window|MelWeightMatrix": "sound",
    r"Bitwise.*|BitCast|Unique|Compress|CumProd|Det|EyeLike|RegexFullMatch|StringConcat|StringSplit": "no part of a CNN",
    r"AffineGrid|GridSample|RoiAlign|NonMaxSuppression|DeformConv|Col2Im|MaxUnpool|CenterCropPad|ImageDecoder"
    r"|MeanVarianceNormalization": "an operator of CNNs that is not yet supported",
}
"""Regular expressions for the types of nodes of ONNX's own domain."""

BY_NAME = {
    r"^test_training_dropout": "random results",
    r"^test_attention_4d_causal_fp16_expanded": "expects what rounding every step to float16 gives; ours are rounded once",
    r"^test_not_[234]d_": "opset 1",
}
LEFT_OUT_DOMAINS = "an operator of another domain than ONNX's own"
SEQUENCES = "sequences and optional values"


def reason(name, model):
    """Why a test is left out, "" if it runs."""
    for pattern, why in BY_NAME.items():
        if re.search(pattern, name):
            return why
    if any(node.domain not in ("", "ai.onnx") for node in _nodes(model.graph)):
        return LEFT_OUT_DOMAINS
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.HasField("tensor_type"):
            return SEQUENCES
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for prefix, why in TYPES.items():
            if kind.startswith(prefix):
                return f"{prefix}: {why}"
    for node in _nodes(model.graph):
        if node.op_type not in OPERATORS:
            for pattern, why in OPERATORS_LEFT_OUT.items():
                if re.fullmatch(pattern, node.op_type):
                    return why
    return ""


def _nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)

"""A network's graph, node by node, into a file."""

import copy
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._extras import require
from ..._version import __version__
from ..._whole_files import PathLike, replacing
from ...graph import Graph
from ...graph.nodes import JOINS, Node
from ...graph.parameters import collect
from ...layers._layer import run
from ...networks import Network
from .draft import Array, Draft, Refusal, Site, Sizes
from .rules import Rule, rule_of

OLDEST = 13  # the operator set in which every operator used here has the inputs that the rules write
_DEFAULT = 17
_INPUT, _OUTPUT, _BATCH = "x", "y", "N"
_MOST_BYTES = (1 << 31) - (1 << 20)  # of a protocol buffer, with room for the nodes
_DTYPES = np.float16, np.float32, np.float64


def export(
    net: Network,
    path: PathLike,
    input_shape: tuple[int, ...],
    *,
    opset: int = _DEFAULT,
    dynamic_batch: bool = True,
    softmax: bool = False,
    dtype: npt.DTypeLike | None = None,
) -> None:
    """Write a network as an ONNX file that computes what `net.predict` computes.

    The file has one input, "x", and one output, "y"; its arrays have the network's dotted names ("layer1.0.conv1.W").
    A file at `path` is replaced only when the new one is whole. The network is not changed.

    Parameters
    ----------
    net : Network
        On the CPU, of fastconv's layers.
    path : str or path
    input_shape : tuple of int
        With the batch: (N, C, H, W), or (N, features).
    opset : int
        The version of ONNX's operators, from 13 to the newest that the installed package onnx knows.
    dynamic_batch : bool
        True: the file takes any number of samples. False: N of them.
    softmax : bool
        True: the file's result is the probabilities that the network's loss makes of the scores. The loss itself is
        never written.
    dtype : dtype, optional
        Of the input: by default that of the network's first parameter.

    Raises
    ------
    ValueError
        If layers have no form in ONNX, with a list of all of them; if input_shape does not fit the network; if the file
        would be larger than the format allows (2 GB). Nothing is written then.
    TypeError
        If an argument is of the wrong kind, or the network has a `predict` of its own.
    ModuleNotFoundError
        If the package onnx is not installed.

    Examples
    --------
    ::

        net = SimpleConvNet()
        fastconv.onnx.export(net, "digits.onnx", (1, 1, 28, 28))
        model = fastconv.onnx.load("digits.onnx")
        scores = model(x)
    """
    onnx = require("onnx", "onnx", "an ONNX file")
    x = np.zeros(_shape(net, input_shape), _dtype(net, dtype))
    if softmax and not net.last_layer.classifies:
        raise ValueError(f"softmax: {type(net.last_layer).__name__}, the loss of this network, is not of classes")
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int | np.integer) or not OLDEST <= opset <= newest:
        raise ValueError(f"opset: expected a whole number from {OLDEST} to {newest}, got {opset!r}")
    draft, y, sizes = _drafted(net, x, int(opset), bool(dynamic_batch))
    if softmax:
        draft.operation("Softmax", "Softmax", [draft.operations[-1].output], {"axis": -1})
    _name_output(draft)
    data = _serialised(onnx, draft, x, y, sizes, type(net).__name__, bool(dynamic_batch))
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


def _shape(net: Any, input_shape: Any) -> tuple[int, ...]:
    if not isinstance(net, Network):
        raise TypeError(
            f"net: expected a Network, got {type(net).__name__}; networks.Network([...]) makes one of layers"
        )
    if any(name in vars(net) for name in ("predict", "forward")) or type(net).predict is not Network.predict:
        raise TypeError("net: only Network's own predict can be written, this network has another")
    if net.device != "cpu":
        raise TypeError(f"net: expected a network on the CPU, this one is on {net.device}: net.to('cpu')")
    try:
        shape = tuple(operator.index(n) for n in input_shape)
    except TypeError:
        raise TypeError(f"input_shape: expected sizes with the batch, (N, C, H, W), got {input_shape!r}") from None
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"input_shape: expected positive sizes with the batch, (N, C, H, W), got {input_shape!r}")
    return shape


def _dtype(net: Network, dtype: Any) -> np.dtype:
    first = next(iter(net.params.values()), None)
    chosen = np.dtype(dtype if dtype is not None else np.float32 if first is None else first.dtype)
    if chosen.type not in _DTYPES:
        raise TypeError(f"dtype: expected float16, float32 or float64, got {chosen}")
    return chosen.newbyteorder("=")


def _drafted(net: Network, x: Array, opset: int, dynamic: bool) -> tuple[Draft, Array, Sizes]:
    """The nodes of the file, an example of the result, and its sizes."""
    graph = Graph(net)
    rules = _rules(graph)
    draft = Draft(opset, _names(net))
    draft.unique(_INPUT)
    draft.unique(_OUTPUT)
    sizes: Sizes = (_BATCH, *x.shape[1:]) if dynamic else x.shape
    known: dict[int, tuple[str, Array, Sizes]] = {0: (_INPUT, x, sizes)}
    refused: list[str] = []
    with np.errstate(all="ignore"):
        for at, (node, rule) in enumerate(zip(graph.nodes, rules, strict=True)):
            read = [known[value] for value in node.inputs]
            site = _ran(draft, node, read)
            try:
                name = rule(site)
            except Refusal as refusal:
                refused.append(_line(node, refusal))
                name = node.path
            known[node.output] = name, site.y, site.sizes
            for value in node.inputs:
                if value != graph.output and graph.readers[value][-1] == at:
                    known.pop(value, None)
    _raise(refused)
    name, y, sizes = known[graph.output]
    if not draft.operations or draft.operations[-1].output != name:
        draft.operation("Identity", "Identity", [name], {})
    return draft, y, sizes


def _rules(graph: Graph) -> list[Rule]:
    rules, refused = [], []
    for node in graph.nodes:
        try:
            rules.append(rule_of(node.layer))
        except Refusal as refusal:
            refused.append(_line(node, refusal))
    _raise(refused)
    return rules


def _line(node: Node, refusal: Refusal) -> str:
    return f"{node.path or '(the network)'} ({type(node.layer).__name__}): {refusal}"


def _raise(refused: list[str]) -> None:
    if refused:
        raise ValueError("net: these layers cannot be written as ONNX:\n  " + "\n  ".join(refused))


def _names(net: Network) -> dict[tuple[int, str], str]:
    """The dotted name of every array by its places."""
    return {
        (id(layer), attribute): owner.name
        for owners in collect(net)
        for owner in owners.values()
        for layer, attribute in owner.places
    }


def _ran(draft: Draft, node: Node, read: list[tuple[str, Array, Sizes]]) -> Site:
    """A node after it ran, on a copy of its layer: what the layer keeps for `backward` is not touched."""
    layer = copy.copy(node.layer)
    names, xs, sizes = zip(*read, strict=True)
    try:
        y = layer.join(*xs) if node.kind in JOINS else run(layer, xs[0], False)
    except (ValueError, TypeError) as error:
        message = f"input_shape: {node.path} ({type(layer).__name__}) cannot run on {xs[0].shape}: {error}"
        raise ValueError(message) from error
    if y.dtype.type not in _DTYPES:
        raise TypeError(f"net: {node.path} makes numbers of {y.dtype}; ONNX files hold float16, float32 and float64")
    return Site(draft, layer, node.layer, node.path, names, xs, y, (sizes[0][0], *y.shape[1:]))


def _name_output(draft: Draft) -> None:
    draft.rename(draft.operations[-1].output, _OUTPUT)


def _serialised(onnx: Any, draft: Draft, x: Array, y: Array, sizes: Sizes, name: str, dynamic: bool) -> bytes:
    size = sum(a.nbytes for a in draft.arrays.values())
    if size > _MOST_BYTES:
        raise ValueError(
            f"net: its arrays have {size / 1e9:.1f} GB, and an ONNX file holds 2 GB; float32 has half of float64's"
        )
    helper = onnx.helper
    values = [(_INPUT, x, (_BATCH, *x.shape[1:]) if dynamic else x.shape), (_OUTPUT, y, sizes)]
    given, made = (
        helper.make_tensor_value_info(value, helper.np_dtype_to_tensor_dtype(a.dtype), list(shape))
        for value, a, shape in values
    )
    versions = [helper.make_opsetid("", draft.opset)]
    model = helper.make_model(
        helper.make_graph([], name, [given], [made]),
        producer_name="fastconv",
        producer_version=__version__,
        opset_imports=versions,
        ir_version=helper.find_min_ir_version_for(versions),
    )
    draft.write_to(model.graph, onnx)
    return model.SerializeToString()

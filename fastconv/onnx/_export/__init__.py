"""A network into an ONNX file.

draft.py    Draft: the file's nodes and arrays as they are made; Site: one node of the network, as a rule sees it
rules.py    THE table: class of a layer -> the rule that makes its nodes
windows.py  the rules of layers that slide a window
write.py    export: a network's graph, node by node, into a file
"""

from .write import export

__all__ = ["export"]

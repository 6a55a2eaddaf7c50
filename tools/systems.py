"""Which test proves which of the systems that fastconv must run: the table docs/systems.md.

A test says it by a marker, ``@pytest.mark.system("F1", "N4")``, on a function, a class or (pytestmark) a module.

    python tools/systems.py            # print the table; exit status 1 if a row is empty
    python tools/systems.py --write    # write docs/systems.md
"""

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "systems.md"

ROWS = {
    "F1": "Perceptron gates",
    "F2": "Activations and their derivatives",
    "F3": "Three-layer forward pass",
    "F4": "Losses: squared errors, cross entropy, negative log-likelihood",
    "F5": "Numerical gradient, gradient descent",
    "F6": "Graph layers Mul and Add",
    "F7": "Layers Relu, Sigmoid, Affine, SoftmaxWithLoss",
    "F8": "Batch normalisation, the book's and PyTorch's",
    "F9": "Dropout, inverted dropout, Dropout2d",
    "F10": "Convolution by hand, output sizes",
    "F11": "Three-dimensional convolution",
    "F12": "im2col and col2im",
    "F13": "Convolution layer, forward and backward",
    "F14": "Pooling: maximum, average, stochastic, minimum",
    "F15": "Optimisers",
    "F16": "Initial values",
    "F17": "Convolution arithmetic",
    "F18": "Forward hooks, pictures of feature maps and filters",
    "F19": "Recurrent step, alone and over a sequence",
    "F20": "What book-style programs pass: scalars, floats as parameters, .pkl",
    "F21": "Perceptron learning rule",
    "F22": "More known values",
    "F23": "Local response normalisation, 1-D and 3-D convolution, Reshape, Dropout2d on features",
    "F24": "Experiments with their pictures",
    "F25": "One's own picture, the book's weights",
    "F26": "Transforms and loading",
    "N1": "Two- and three-layer perceptrons and their options",
    "N2": "SimpleConvNet and its options",
    "N3": "DeepConvNet",
    "N4": "LeNet and its variants",
    "N5": "ConvNet1",
    "N6": "FashionDNN, FashionCNN",
    "N7": "MnistConvNet",
    "N8": "VGGLike13",
    "N9": "ResNets, frozen trunk, new head, weights of PyTorch",
    "N10": "DenseNet-121",
    "N11": "Regression",
    "N12": "torchvision's networks by name",
}


def _marks(decorators: list[ast.expr]) -> Iterator[str]:
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.system":
            yield from (ast.literal_eval(a) for a in decorator.args)


def proofs() -> dict[str, list[str]]:
    """The tests of every row, as "tests/file.py::test"."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text()).body:
            marked: list[ast.expr] = []
            test = name
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                marked = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                marked, test = node.decorator_list, f"{name}::{node.name}"
            for row in _marks(marked):
                found[row].append(test)
    return found


def table(found: dict[str, list[str]]) -> str:
    lines = [f"| {row} | {title} | {'<br>'.join(found.get(row, []))} |" for row, title in ROWS.items()]
    return "\n".join([
        "# The systems that fastconv runs, and the tests that prove it",
        "",
        "Made by `python tools/systems.py --write` from the markers of the tests.",
        "",
        "| row | system | tests |",
        "|---|---|---|",
        *lines,
        "",
    ])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/systems.md")
    options = parser.parse_args()
    found = proofs()
    if options.write:
        PAGE.write_text(table(found))
    else:
        print(table(found))
    unknown, empty = sorted(found.keys() - ROWS.keys()), [row for row in ROWS if row not in found]
    if unknown or empty:
        print(f"unknown rows: {unknown}; rows without a test: {empty}", file=sys.stderr)
    return 1 if unknown or empty else 0


if __name__ == "__main__":
    sys.exit(main())

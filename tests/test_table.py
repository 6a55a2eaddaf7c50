"""The house rules, checked: every row has its test, every op its mirror, and no import points up."""

import ast
from pathlib import Path

import pytest

import fastconv
from fastconv import _problem, ops
from fastconv._settings import BACKENDS
from fastconv._table import TABLE

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fastconv.__file__).parent
KERNELS = Path(fastconv.kernels.__file__).parent


@pytest.mark.parametrize("op", TABLE)
def test_lists_end_with_the_reference_and_name_known_backends(op):
    rows = TABLE[op]
    assert rows[-1].backend == "numpy"
    assert [r.backend for r in rows].count("numpy") == 1
    assert {r.backend for r in rows} <= set(BACKENDS)
    order = [BACKENDS.index(r.backend) for r in rows]
    assert order == sorted(order)


def _names_tested():
    """Every operation named as an argument of kernels(...) in a test that has the marker against_torch."""
    names = set()
    for path in sorted((ROOT / "tests" / "ops").glob("test_*.py")):
        scope = {}
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign):
                scope[node.targets[0].id] = node.value
        for node in tree.body:
            marks = "".join(ast.unparse(d) for d in getattr(node, "decorator_list", []))
            if "against_torch" not in marks:
                continue
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "kernels":
                        for a in call.args:
                            names |= _evaluate(a, scope)
    return names


def _evaluate(argument, scope):
    """The strings that one argument of kernels(...) stands for; module-level constants are looked up."""
    constants = {}
    for name in [n.id for n in ast.walk(argument) if isinstance(n, ast.Name) and n.id in scope]:
        constants[name] = eval(ast.unparse(scope[name]), {})
    inner = argument.value if isinstance(argument, ast.Starred) else argument
    value = eval(ast.unparse(inner), constants)
    return {value} if isinstance(value, str) else set(value)


def test_every_row_is_compared_with_pytorch():
    assert set(TABLE) == _names_tested()


def test_every_kernel_of_the_table_exists_as_a_file():
    suffixes = {"cython": "cy.pyx", "numba": "nb.py", "cuda": "cu.py", "numpy": "ref.py"}
    for rows in TABLE.values():
        for row in rows:
            folder, module = row.kernel.split(":")[0].split(".")
            assert suffixes[row.backend].split(".")[0] == module, row
            assert (ROOT / "src" / "kernels" / folder / suffixes[row.backend]).exists(), row


@pytest.mark.parametrize("module", sorted(p.stem for p in (PACKAGE / "ops").glob("*.py") if p.stem != "__init__"))
def test_every_ops_module_has_its_test_and_bench(module):
    assert (ROOT / "tests" / "ops" / f"test_{module}.py").exists()
    assert (ROOT / "bench" / f"bench_{module}.py").exists()


def test_every_operation_is_public_and_documented():
    for name in ops.__all__:
        assert getattr(fastconv, name) is getattr(ops, name)
        assert name in fastconv.__all__
        assert (getattr(ops, name).__doc__ or "").strip(), name


# What a module may import of fastconv, lowest first: each may use its own level's packages and what is below.
LAYERS = [
    {
        "_checkpoint",
        "_families",
        "_device",
        "_problem",
        "_settings",
        "_version",
        "_extras",
        "_random",
        "_unpickle",
        "_whole_files",
        "kernels",
    },
    {"_table", "_check", "_memory", "_between", "_threads", "_ceiling"},
    {"_dispatch", "_second_pass", "_tile_range"},
    {"_layout"},
    {"ops", "_prepare"},
    {"graph"},
    {
        "diagnostics",
        "testing",
        "functions",
        "gradient",
        "init",
        "layers",
        "hooks",
        "metrics",
        "plots",
        "optim",
        "_fast",
    },
    {"networks", "onnx", "trainer", "datasets", "distributed", "_bar", "_training_state", "_validation"},
    {"cs231n"},
    {"book", "programs", "cli", "_commands", "__main__", "_bench", "_children", "_installed"},
]


def _level(name):
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def _imports(path, package):
    """Modules of fastconv that a file imports at any depth, by their first name after fastconv."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = [*base, *(node.module.split(".") if node.module else [])]
            yield from ([parts[1]] if len(parts) > 1 else [a.name for a in node.names])
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fastconv":
            parts = node.module.split(".")
            yield from ([parts[1]] if len(parts) > 1 else [a.name for a in node.names])
        elif isinstance(node, ast.Import):
            for a in node.names:
                if a.name.startswith("fastconv."):
                    yield a.name.split(".")[1]


def test_no_import_points_up():
    wrong = []
    for path in sorted([*PACKAGE.rglob("*.py"), *KERNELS.rglob("*.py")]):
        inside = KERNELS in path.parents or path.parent == KERNELS
        relative = path.relative_to(KERNELS if inside else PACKAGE)
        package = ["fastconv", *(["kernels"] if inside else []), *relative.parts[:-1]]
        own = "kernels" if inside else (relative.parts[0] if len(relative.parts) > 1 else path.stem)
        if own == "__init__":
            continue
        assert _level(own) is not None, f"{path}: say in LAYERS where this module belongs"
        for name in _imports(path, package):
            level = _level(name)
            if level is not None and level > _level(own):
                wrong.append(f"{relative} imports {name}")
    assert not wrong


def test_kernels_import_problems_and_each_other_alone():
    for path in KERNELS.rglob("*.py"):
        package = ["fastconv", "kernels", *path.relative_to(KERNELS).parts[:-1]]
        assert set(_imports(path, package)) <= {"_problem", "_version", "kernels"}, path


def test_problems_are_frozen_and_hashable():
    for value in vars(_problem).values():
        if isinstance(value, type) and issubclass(value, _problem.Problem):
            assert value.__dataclass_params__.frozen
            assert value.__hash__ is not None

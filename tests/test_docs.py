"""The documentation holds together: its program runs, its links and the headings that code cites exist."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
DECISIONS = PAGES / "decisions"
WRITTEN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/NOTES.md")]
PARTS = ["What stands", "What was tried and refused", "Open"]
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".h", ".cpp", ".md", ".toml"}


def test_the_first_network():
    program = re.search(r"```python\n(.*?)```", (PAGES / "networks.md").read_text(), re.S)[1]
    names = {}
    exec(program, names)
    assert list(names["net"].params)[:2] == ["stem.0.W", "stem.1.gamma"]
    assert "block.conv1" in names["net"].summary((1, 3, 32, 32))


def test_a_network_written_as_onnx(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", (PAGES / "onnx_export.md").read_text(), re.S)[1]
    names = {}
    exec(program, names)
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    np.testing.assert_allclose(names["model"](x), names["net"].predict(x), atol=1e-6)
    assert names["scores"].shape == (5, 10)


def _anchors(page):
    """The anchors of a page's headings, by GitHub's rule."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    headings = re.findall(r"^#+ +(.*?)\s*$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _missing(target, anchor):
    """Why a link leads nowhere, or ""."""
    if target.parent == PAGES / "auto_examples":  # written when the site is built, of what lies in examples/
        source = ROOT / "examples" / target.with_suffix(".py").name
        return "" if target.stem == "index" or source.exists() else "no such example"
    if not target.exists():
        return "no such file"
    return "" if not anchor or anchor in _anchors(target) else "no such heading"


def _sources():
    """Every text of the repository that may cite a decision."""
    folders = [ROOT / name for name in ("fastconv", "src", "tests", "bench", "tools", "docs", "examples")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES]
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("*.py"), *paths])


def test_every_cited_decision_exists():
    cited = [
        (path, citation)
        for path in _sources()
        if path != Path(__file__)
        for citation in re.findall(r"docs/decisions/(\w+\.md)(?:#([\w-]+))?", path.read_text(errors="ignore"))
    ]
    assert {path.suffix for path, _ in cited} >= {".py", ".h", ".cpp"}  # the search finds what code cites
    wrong = [f"{path}: {page}#{anchor}" for path, (page, anchor) in cited if _missing(DECISIONS / page, anchor)]
    assert not wrong


def test_nothing_cites_the_diary_for_a_figure():
    """bench/NOTES.md only says where to write; code cites a heading in docs/decisions, which can be checked."""
    assert not re.findall(r"^## ", (ROOT / "bench" / "NOTES.md").read_text(), re.M)  # a merge may bring entries back
    code = [path for path in _sources() if path.suffix != ".md" and path != Path(__file__)]
    assert not [path for path in code if "NOTES.md" in path.read_text(errors="ignore")]


@pytest.mark.parametrize("page", [*WRITTEN, *sorted(PAGES.rglob("*.md"))], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        why = _missing((page.parent / name).resolve() if name else page, anchor)
        wrong += [f"{link}: {why}"] if why else []
    assert not wrong


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("*.md")), ids=lambda p: p.stem)
def test_a_decision_has_its_three_parts(page):
    if page.stem == "README":
        listed = set(re.findall(r"^\| \[(\w+)\]\(\w+\.md\)", page.read_text(), re.M))
        assert listed == {p.stem for p in DECISIONS.glob("*.md")} - {"README"}
    else:
        assert re.findall(r"^## (.*)$", page.read_text(), re.M) == PARTS


def test_start_in_five_minutes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", (PAGES / "start.md").read_text(), re.S)), names)
    assert names["y"].shape == (100, 30, 28, 28) and names["z"].shape == (100, 30, 14, 14)
    assert names["net"].accuracy(names["x_test"], names["t_test"]) > 0.8
    assert (tmp_path / "digits.npz").exists()


MODULES = [
    "fastconv", "fastconv.layers", "fastconv.networks", "fastconv.optim", "fastconv.datasets", "fastconv.onnx",
    "fastconv.distributed",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module):
    listed = {line.strip() for page in (PAGES / "api").glob("*.rst") for line in page.read_text().splitlines()}
    loaded = importlib.import_module(module)
    apart = {"Split", "Backend"}  # the type of what loaders return; a class for tests of the package onnx
    public = {f"{module}.{name}" for name in set(loaded.__all__) - apart if callable(getattr(loaded, name))}
    assert public and public <= listed, public - listed

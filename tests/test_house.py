"""tools/draw_house.py draws the house from its imports, and no arrow points up but those that are listed."""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import draw_house as house  # noqa: E402


def test_no_arrow_points_up_but_the_known_ones():
    """A known arrow that is gone is struck from the list, so that it cannot come back."""
    assert house.upward() == house.UPWARD


def test_every_room_is_drawn(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(house, "PICTURE", tmp_path / "pictures" / "house.svg")
    monkeypatch.setattr("sys.argv", ["draw_house.py", "--write"])
    house.main()
    drawn = ElementTree.parse(house.PICTURE).getroot()
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    titles = [room.title for room in house.rooms()]
    assert len(titles) > 12
    for title in set(titles):
        assert texts.count(title) == titles.count(title)
    assert "ops/ [" in capsys.readouterr().out


def test_arrows_are_those_of_the_sources():
    names = {(a.title, b.title): files for (a, b), files in house.arrows().items()}
    assert names["networks/", "layers/"] >= 10  # a module for each family of networks
    assert ("layers/", "networks/") not in names and ("ops/", "layers/") not in names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from .._problem import Conv2d", ("_problem",)),
        ("from ... import _check as check", ("_check",)),
        ("from fastconv.ops import conv2d", ("ops",)),
        ("import fastconv.graph.nodes", ("graph", "nodes")),
    ],
)
def test_what_a_statement_imports(tmp_path, text, expected):
    path = tmp_path / "module.py"
    path.write_text(text)
    package = ("layers", "deep") if "..." in text else ("ops",)
    assert list(house._targets(path, package)) == [expected]


def test_what_a_cython_file_imports(tmp_path):
    path = tmp_path / "module.pyx"
    path.write_text("from fastconv.kernels._cpu.engine cimport run\nfrom libc.stdint cimport int64_t\n")
    assert list(house._targets(path, ("kernels", "affine"))) == [("kernels", "_cpu", "engine")]


def test_the_committed_picture_is_small():
    assert house.PICTURE == ROOT / "docs" / "pictures" / "house.svg"
    assert 4_000 < house.PICTURE.stat().st_size < 40_000

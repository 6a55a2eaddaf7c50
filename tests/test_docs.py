"""The programs in the documentation run."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[1] / "docs"


def test_the_first_network():
    program = re.search(r"```python\n(.*?)```", (PAGES / "networks.md").read_text(), re.S)[1]
    names = {}
    exec(program, names)
    assert list(names["net"].params)[:2] == ["stem.0.W", "stem.1.gamma"]
    assert "block.conv1" in names["net"].summary((1, 3, 32, 32))

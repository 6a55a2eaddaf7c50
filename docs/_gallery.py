"""What sphinx-gallery asks of the examples: their arguments, and the pictures that they have written."""

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def arguments(gallery: Any, script: Any) -> list[str]:
    """The gallery runs the whole examples, not their --quick form."""
    return []


def saved_pictures(block: Any, variables: dict[str, Any], gallery: Any) -> str:
    """Move the PNG files that a block has written beside its example to where the page shows them."""
    written = sorted(Path(variables["src_file"]).parent.glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    shown = []
    for path, place in zip(written, variables["image_path_iterator"], strict=False):
        shutil.move(path, place)
        shown.append(place)
    return figure_rst(shown, gallery["src_dir"])

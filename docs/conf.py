"""How the site is built: `make docs`. Nothing is fetched from the network."""

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for _gallery

import fastconv  # noqa: E402  (the installed one, or the working tree's)

project, author = "fastconv", "the fastconv authors"
version = release = fastconv.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

myst_heading_anchors = 3
nitpicky = True

autosummary_generate = True
autodoc_typehints = "none"  # the sections of the docstrings name the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the templates list them
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"^(?!\d\d_)",  # of a file's name: the programs among them are too long for a page
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("_gallery.saved_pictures",),
    "reset_argv": "_gallery.arguments",
    "reset_modules": (),
    "capture_repr": (),
    "download_all_examples": False,
    "abort_on_example_error": True,
    "min_reported_time": 10**6,
    "write_computation_times": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "fastconv"
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "show_prev_next": True,
    "header_links_before_dropdown": 4,
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"*": [], "users/*": [], "decisions/*": []}  # these pages have none below them
copyright = author

_LINK = re.compile(r"(?<!!)(\[[^\[\]]*\]\()((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")


def link_files_outside(app: Any, docname: str, source: list[str]) -> None:
    """Links to files of the repository that are no pages become downloads: MyST takes every .md file for a page."""
    folder = (HERE / docname).parent
    if docname == "index":  # a page that it names by a pattern need not be there
        lines = source[0].splitlines()
        source[0] = "\n".join(line for line in lines if not line.endswith("*") or any(HERE.glob(f"{line}.md")))

    def changed(match: re.Match[str]) -> str:
        inside = (folder / match[2]).resolve().is_relative_to(HERE)
        return match[0] if inside else f"{match[1]}path:{match[2]})"

    if app.env.doc2path(docname).suffix == ".md":
        source[0] = _LINK.sub(changed, source[0])


def setup(app: Any) -> None:
    app.connect("source-read", link_files_outside)

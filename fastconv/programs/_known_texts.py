"""Hashes of known texts (`_editions.py`), with the verdict of a trial on each: state, what was adopted, variant."""

KNOWN: dict[str, tuple[str, str, int]] = {}

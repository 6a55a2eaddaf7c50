"""Check the links of the built documentation: every local page, file and anchor that one names must be there.

    python tools/check_site.py docs/_build/html

Nothing is fetched: links to other hosts are counted by host and not followed.
"""

import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and what it links to or loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def check(site: Path) -> tuple[list[str], Counter[str], int]:
    """What is missing, the links to each other host, and how many local links there are."""
    files = (path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)
    pages = {path: Page(path) for path in files}
    missing, hosts, count = [], Counter[str](), 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                hosts[parts.netloc or parts.scheme] += 1
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                missing.append(f"{path.relative_to(site)}: {link}")
    return missing, hosts, count


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    missing, hosts, count = check(site)
    print(*missing, sep="\n", end="\n" if missing else "")
    print(f"{count} local links, {len(missing)} without a target; elsewhere: {dict(hosts)}")
    return 1 if missing or not count else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the pages link to is there, down to the heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/*/README.md")))
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


def headings(page: Path) -> set[str]:
    """Return the page's anchors, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    """Of links within the project; whoever follows one is in the middle of understanding something."""
    links = [(path, heading) for path, heading in _LINK.findall(page.read_text("utf-8")) if "://" not in path]
    broken = [
        f"{path}#{heading}"
        for path, heading in links
        if not (there := (page.parent / path).resolve() if path else page).exists()
        or (heading and heading not in headings(there))
    ]

    assert broken == []


def test_every_page_is_linked_from_another() -> None:
    """A page that nobody is led to is not read."""
    linked = {
        (page.parent / path).resolve() for page in PAGES for path, _ in _LINK.findall(page.read_text("utf-8")) if path
    }
    folders = {path for path in linked if path.is_dir()}

    alone = [page for page in PAGES if page not in linked and page.parent not in folders and page.parent != ROOT]
    assert alone == []

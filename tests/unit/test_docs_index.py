"""Every page is found: from the index, and by the links in the others."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])

_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def _links(page: Path) -> set[Path]:
    found = (link for link in _LINK.findall(page.read_text()) if ":" not in link)
    return {(page.parent / link).resolve() for link in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in _links(page) if not link.exists()] == []


@pytest.mark.parametrize("folder", ["how-to", "reference", "benchmarks"])
def test_the_index_has_every_page(folder: str) -> None:
    assert sorted({*(DOCS / folder).glob("*.md")} - _links(DOCS / "README.md")) == []


def test_a_decision_has_a_number_of_its_own() -> None:
    numbers = Counter(page.name.split("-")[0] for page in (DOCS / "decisions").glob("[0-9]*.md"))
    assert [number for number, count in numbers.items() if count > 1] == []
    for page in (DOCS / "decisions").glob("[0-9]*.md"):
        assert page.read_text().startswith(f"# {int(page.name.split('-')[0])}. ")

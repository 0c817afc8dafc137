"""What the documents name is there: files, folders, and links from one document to another."""

import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
DOCUMENTS = [
    *(HOUSE / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((HOUSE / "docs").rglob("*.md")),
]
ROOMS = ("smi", "translator", "proxy", "conformance", "manifests", "tests", "benchmarks", "docs", ".ci")

_PATH = re.compile(rf"(?<![\w./-])((?:{'|'.join(map(re.escape, ROOMS))})/[\w./*-]*\w/?)")
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_named_exists(document: Path) -> None:
    named = {found.rstrip(".") for found in _PATH.findall(document.read_text())}

    assert sorted(name for name in named if not list(HOUSE.glob(name))) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text())

    assert [link for link in links if not _leads_somewhere(document, *link)] == []


def _leads_somewhere(document: Path, file: str, heading: str) -> bool:
    target = document.parent / file if file else document
    return target.exists() and (not heading or heading in _anchors(target))


def _anchors(document: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_way_from_a_weight_to_an_endpoint_is_in_the_readme() -> None:
    text = (HOUSE / "README.md").read_text()
    way = ["translator/splits.py", "proxy/contract/config.py", "proxy/table.py", "proxy/split.py", "proxy/balance.py"]

    places = [text.find(step) for step in way]

    assert -1 not in places
    assert places == sorted(places)

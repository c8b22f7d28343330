"""Links between the documents, and the size of the README."""

import re
from pathlib import Path

import pytest

from tests.unit.docs.documents import DOCUMENTS, FENCED, ROOT, Document, read

LINK = re.compile(r"\]\(([^)\s]+)\)")
CITATION = re.compile(r'\b(docs/[\w-]+\.md),\s+((?:"[^"]+"(?: and |, )?)+)')
SOURCE = re.compile(r"\bSource:\s+((?:docs/[\w-]+\.md,\s+\"[^\"]+\")|[^.]+)")
PUBLISHED = re.compile(
    r"RFC \d+|JIS X \d+|APPNOTE|the Standard Webhooks specification|the Celery documentation"
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

MAX_README_LINES = 130
MAX_IMAGE_BYTES = 200_000


def links(document: Document) -> list[str]:
    """Return the targets of all links that stay in the repository."""
    return [target for target in LINK.findall(document.prose) if not re.match(r"[a-z]+://", target)]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings of a document."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_to_a_file_and_a_heading(document: Document) -> None:
    assert [target for target in links(document) if not _leads_somewhere(document, target)] == []


def _leads_somewhere(document: Document, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = (document.path.parent / name).resolve() if name else document.path
    if not path.is_relative_to(ROOT) or not path.exists():
        return False
    return not anchor or anchor in anchors(path)


def test_every_section_that_a_docstring_cites_exists() -> None:
    """The code cites pages as: docs/video-api.md, "Codes"."""
    found = {
        (page, section)
        for folder in ("config", "worker", "tasks", "sandbox", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for page, sections in CITATION.findall(path.read_text(encoding="utf-8"))
        for section in re.findall(r'"([^"]+)"', " ".join(sections.split()))
    }
    assert len({section for _, section in found}) > 5
    missing = [
        (page, section)
        for page, section in sorted(found)
        if section not in HEADING.findall((ROOT / page).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_every_source_is_a_section_of_a_page_or_published_elsewhere() -> None:
    """The code cites sources as: Source: docs/video-api.md, "Codes"."""
    sources = [
        " ".join(source.split())
        for folder in ("config", "worker", "tasks", "sandbox", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for source in SOURCE.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(sources) > 10
    unknown = [each for each in sources if not CITATION.match(each) and not PUBLISHED.match(each)]
    assert unknown == []


def test_the_readme_links_to_every_page() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links(read("README.md"))}
    assert [path for path in (ROOT / "docs").glob("*.md") if path not in linked] == []


def test_the_readme_is_short() -> None:
    assert len(read("README.md").text.splitlines()) <= MAX_README_LINES


def test_images_are_small() -> None:
    images = list((ROOT / "docs" / "images").glob("*.png"))
    assert images
    assert [path for path in images if path.stat().st_size > MAX_IMAGE_BYTES] == []

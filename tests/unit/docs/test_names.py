"""Names of files, modules, settings, reasons and identifiers in the documents exist in the code."""

import re
from functools import cache
from pathlib import PurePosixPath

import pytest

from tests.unit.docs.documents import DOCUMENTS, INLINE, PAGES, ROOT, Document, read
from worker.ledger.model.states import HOLD_REASONS, Reason

PACKAGES = ("config", "worker", "tasks", "sandbox", "tests")
FOLDERS = (*PACKAGES, "docs", "examples", "samples", ".ci")
IN_TREE = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*")
FILE = re.compile(r"[\w./<>-]+\.(?:py|lua|sh|toml|lock|md)")
SETTING = re.compile(r"\b(?:REELQUEUE|NEMO|SKILL|REDIS|BROKER|SENTRY|FLOWER)_[A-Z_]+\b")
IDENTIFIER = re.compile(r"[A-Za-z]*(?:_[a-z]+)+|_?[A-Z]+(?:_[A-Z]+)+|(?:[A-Z][a-z]+){2,}")

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def tree() -> frozenset[str]:
    """Return the paths of all files and folders of the repository."""
    paths = [*ROOT.iterdir(), *(path for name in FOLDERS for path in (ROOT / name).rglob("*"))]
    return frozenset(
        path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts
    )


@cache
def code() -> str:
    """Return the text of all files that are not documents."""
    suffixes = (".py", ".lua", ".sh", ".toml", ".yml", ".example", ".js", "Makefile")
    files = [name for name in tree() if name.endswith(suffixes)]
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in sorted(files))


@cache
def identifiers() -> frozenset[str]:
    """Return all words of the code, and the metrics, which another test compares with it."""
    metrics = re.findall(r"\breelqueue_\w+", read("docs/metrics.md").text)
    return frozenset(re.findall(r"\w+", code())) | frozenset(metrics)


@by_name
def test_every_file_and_folder_exists(page: Document) -> None:
    named = [name for name in page.inline_code() if "<" not in name]
    assert [name for name in named if _is_path(name) and not _exists(name)] == []


def _is_path(name: str) -> bool:
    return bool(IN_TREE.fullmatch(name) or FILE.fullmatch(name))


def _exists(name: str) -> bool:
    """Return whether a path exists, or a file of that name anywhere."""
    path = name.rstrip("/")
    return path in tree() or ("/" not in path and _is_file_name(path))


def _is_file_name(name: str) -> bool:
    return any(path.endswith(f"/{name}") for path in tree())


@by_name
def test_every_module_exists(page: Document) -> None:
    dotted = rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+"
    missing = []
    for name in page.inline_code():
        if not re.fullmatch(dotted, name) or _is_module(name):
            continue
        if f'"{name}"' not in code() and not _is_attribute(name):
            missing.append(name)
    assert missing == []


def _is_module(name: str) -> bool:
    path = name.replace(".", "/")
    return path in tree() or f"{path}.py" in tree()


def _is_attribute(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    path = module.replace(".", "/")
    files = [file for file in (f"{path}.py", f"{path}/__init__.py") if file in tree()]
    return any(attribute in (ROOT / file).read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_setting_exists(document: Document) -> None:
    known = set(SETTING.findall(code()))
    assert set(SETTING.findall(document.text)) - known == set()


@by_name
def test_every_identifier_exists(page: Document) -> None:
    """A function, class, field, constant or metric in backticks is in the code."""
    named = {
        word
        for name in page.inline_code()
        if "/" not in name and not FILE.fullmatch(name)
        for word in re.findall(r"\w+", name)
        if IDENTIFIER.fullmatch(word)
    }
    assert named - identifiers() == set()


PLACE = re.compile(
    r"((?:`\w[\w.]*`(?:, (?:and )?| and )?)+)"
    r" in `((?:config|worker|tasks|sandbox|tests)/[\w/]+\.(?:py|lua))`"
)


@by_name
def test_every_identifier_is_in_the_file_that_is_named_with_it(page: Document) -> None:
    """As in: `decide` in `worker/policy.py`."""
    missing = [
        (name, file)
        for names, file in PLACE.findall(" ".join(page.prose.split()))
        for name in INLINE.findall(names)
        if not re.search(rf"\b{name.rpartition('.')[2]}\b", (ROOT / file).read_text("utf-8"))
    ]
    assert missing == []


def test_the_architecture_names_identifiers_with_their_files() -> None:
    """The test above has something to check."""
    assert len(PLACE.findall(" ".join(read("docs/architecture.md").prose.split()))) > 10


def test_every_setting_is_described() -> None:
    """Either on a page, or in the example of the settings file, which the pages refer to."""
    example = read(".env.example").text
    assert set(SETTING.findall(example))
    assert "`.env.example`" in read("CONTRIBUTING.md").text + read("docs/architecture.md").text
    assert "cp .env.example .env" in read("docs/operations.md").text


def test_every_reason_is_explained_in_the_table_of_its_kind() -> None:
    held, _, failed = read("docs/held.md").text.partition("## Reasons of failed jobs")
    assert [reason for reason in HOLD_REASONS if f"\n| `{reason}` |" not in held] == []
    rest = [reason for reason in Reason if reason not in HOLD_REASONS]
    assert [reason for reason in rest if f"\n| `{reason}` |" not in failed] == []


def test_the_architecture_describes_every_package() -> None:
    text = read("docs/architecture.md").text
    packages = {
        str(PurePosixPath(name).parent)
        for name in tree()
        if re.fullmatch(r"(?:worker|tasks)/\w+/__init__\.py", name)
    }
    assert packages
    assert [name for name in sorted(packages) if f"| `{name}/` |" not in text] == []


def test_the_glossary_explains_every_term_of_the_project() -> None:
    glossary = read("docs/architecture.md").text.partition("## Glossary")[2]
    terms = (
        *("agenda", "flow", "fence", "nonce", "lease", "claim", "turn", "call", "stage"),
        *("settle", "baseline", "seal", "pilot", "outbox", "tombstone", "wake-up message"),
        *("set aside", "suspect", "stand-in", "attempt", "entry", "mark", "mirror", "epoch"),
        *("adopt", "clone", "intent", "namespace", "recovery", "release", "session", "withdraw"),
    )
    assert [term for term in terms if f"\n| {term} |" not in glossary] == []
    assert "\n| hold, held |" in glossary

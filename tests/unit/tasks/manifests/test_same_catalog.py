"""The same catalog in each kind of manifest is the same rows: they are paid once."""

import csv
import io
import json
import re
import shlex
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import xlsxwriter

from tasks.manifests.batch_submission import submit_manifest
from tasks.manifests.manifest import open_manifest
from tests.support.spreadsheets import write_ods, write_xlsx
from tests.unit.docs.documents import ROOT
from tests.unit.tasks.conftest import ProducerHarness, RunCommand

PICTURES = 50
PROMPT = "Der Käse dreht sich langsam"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")


@pytest.fixture
def names(harness: ProducerHarness) -> list[str]:
    """The names of the pictures, which are in the folder of the catalog."""
    for number in range(PICTURES):
        harness.picture(f"catalog/{number:02}.png", number)
    return [f"{number:02}.png" for number in range(PICTURES)]


def table(names: Sequence[str], *, prompts: bool) -> list[list[str]]:
    """Return the rows of the catalog, with a prompt for each or none."""
    header = ["image", "prompt", "seconds"] if prompts else ["image", "seconds"]
    own = [[name, f"{PROMPT} {name}", "5,5"] if prompts else [name, "5,5"] for name in names]
    return [header, *own]


def text(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter).writerows(rows)
    return sink.getvalue()


def write_all(folder: Path, rows: list[list[str]]) -> Iterator[Path]:
    """Write the catalog as each kind of file beside its pictures."""
    for encoding, delimiter in zip(ENCODINGS, ",;\t;", strict=True):
        path = folder / f"{encoding}.csv"
        path.write_text(text(rows, delimiter), encoding=encoding)
        yield path
    header, *values = rows
    objects = [dict(zip(header, row, strict=True)) for row in values]
    (folder / "a.tsv").write_text(text(rows, "\t"), encoding="utf-8")
    (folder / "a.txt").write_text(f"sep=;\n{text(rows, ';')}", encoding="utf-8")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    (folder / "a.json").write_text(json.dumps(objects, indent=1))
    write_xlsx(folder / "a.xlsx", rows)
    write_ods(folder / "a.ods", rows)
    yield from (folder / f"a.{kind}" for kind in ("tsv", "txt", "jsonl", "json", "xlsx", "ods"))


def zipped(folder: Path) -> Path:
    path = folder.parent / "catalog.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in folder.glob("*.png"):
            archive.write(image, f"photos/{image.name}")
    return path


@pytest.mark.parametrize("prompts", [True, False])
def test_each_kind_of_table_has_the_same_rows(
    harness: ProducerHarness, names: list[str], prompts: bool
) -> None:
    found = {}
    prompt = None if prompts else PROMPT
    for path in write_all(harness.folder / "catalog", table(names, prompts=prompts)):
        done = submit_manifest(harness.producer, open_manifest(path, prompt), name="catalog")
        found[path.name] = (done.jobs, done.duplicates, done.rejected)
    first, *others = found
    assert found[first] == (PICTURES, 0, [])
    assert {name: found[name] for name in others} == dict.fromkeys(others, (0, PICTURES, []))


def test_each_kind_of_manifest_in_the_documentation(
    run_command: RunCommand, harness: ProducerHarness, names: list[str]
) -> None:
    """Its commands are run as they are printed there, under one name and with one prompt."""
    folder, rows = harness.folder, [["image"], *([f"catalog/{name}"] for name in names)]
    (folder / "catalog.csv").write_text(text(rows, ";"), encoding="cp1252")
    objects = [{"image": image} for (image,) in rows[1:]]
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    (folder / "catalog.json").write_text(json.dumps(objects))
    book = xlsxwriter.Workbook(folder / "catalog.xlsx")
    book.add_worksheet("Notes").write(0, 0, "not the catalog")
    book.add_worksheet("Spring").write_column(0, 0, [row[0] for row in rows])
    book.close()
    zipped(folder / "catalog")
    page = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    commands = re.findall(r"^reelqueue batch submit (catalog\S*.*)$", page, re.MULTILINE)
    assert len(commands) >= 6
    for number, command in enumerate(commands):
        words = shlex.split(command, comments=True)
        done = run_command(
            "batch", "submit", *words, "--name", "catalog", "--prompt", PROMPT, "--json"
        )
        expected = (0, PICTURES) if number else (PICTURES, 0)
        assert (done.records[0]["jobs"], done.records[0]["duplicates"]) == expected, command

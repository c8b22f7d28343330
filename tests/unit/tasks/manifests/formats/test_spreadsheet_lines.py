"""Spreadsheets as manifests."""

import datetime as dt
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tasks.manifests.formats import spreadsheet_bounds, spreadsheet_lines
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import Manifest, ManifestOptions, open_manifest
from tests.support.spreadsheets import replace_in_zip, write_ods, write_xlsx

Write = Callable[[Any, Any], None]
SHEET = "xl/worksheets/sheet1.xml"


def workbook(folder: Path, fill: Write) -> Path:
    """Write a workbook whose first sheet is filled by a function."""
    path = folder / "jobs.xlsx"
    book = xlsxwriter.Workbook(path)
    fill(book, book.add_worksheet("One"))
    book.close()
    return path


def reasons(manifest: Manifest) -> list[str]:
    return [row.reason for row in manifest.rows]


@pytest.mark.parametrize(("name", "write"), [("a.xlsx", write_xlsx), ("a.ods", write_ods)])
def test_a_table(tmp_path: Path, name: str, write: Callable[..., None]) -> None:
    path = tmp_path / name
    write(
        path,
        [
            [],
            ["", " Photo ", "Text", "key", "seconds", "sku", "price"],
            ["", "a.jpg", "Käse\u200b", 12.0, "5,5", "A", 2.5],
            [],
            ["", "b.jpg", "Pan", 13, 6, "", ""],
        ],
    )
    manifest = open_manifest(path)
    rows = list(manifest.rows)
    assert [row.number for row in rows] == [3, 5]
    first, second = [row.job for row in rows if row.job]
    assert (first.image, first.prompt, first.key, first.seconds) == ("a.jpg", "Käse", "12", 5.5)
    assert first.data == {"sku": "A", "price": 2.5}
    assert (second.key, second.seconds, second.data) == ("13", 6, {})
    assert manifest.encoding is None
    assert manifest.columns.as_dict() == {
        "used": ["Photo", "Text", "key", "seconds"],
        "ignored": ["sku", "price"],
    }


def test_dates_times_numbers_and_truth_values(tmp_path: Path) -> None:
    def fill(book: Any, sheet: Any) -> None:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        time = book.add_format({"num_format": "h:mm"})
        sheet.write_row(0, 0, ["image", "aspect", "pass_url", "day", "at", "sum", "big", "ok"])
        sheet.write_row(
            1, 0, ["https://example.org/a.jpg", "", True, "", "", 0.1 + 0.2, 1e20, True]
        )
        sheet.write_datetime(1, 1, dt.time(9, 16), time)
        sheet.write_datetime(1, 3, dt.datetime(2026, 3, 1), day)  # noqa: DTZ001
        sheet.write_datetime(1, 4, dt.datetime(2026, 3, 1, 12, 30), day)  # noqa: DTZ001

    (row,) = open_manifest(workbook(tmp_path, fill)).rows
    assert row.job
    assert (row.job.aspect, row.job.pass_url) == ("9:16", True)
    assert row.job.data == {
        "day": "2026-03-01",
        "at": "2026-03-01 12:30",
        "sum": 0.3,
        "big": 1e20,
        "ok": True,
    }


def test_a_merged_cell_belongs_to_each_of_its_rows(tmp_path: Path) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet.write_row(0, 1, ["image", "prompt"])
        sheet.write_column(1, 1, ["a.jpg", "b.jpg", "c.jpg"])
        sheet.merge_range(1, 2, 2, 2, "Pan left")

    rows = list(open_manifest(workbook(tmp_path, fill), "Zoom").rows)
    assert [row.job.prompt for row in rows if row.job] == ["Pan left", "Pan left", "Zoom"]


def test_a_merged_cell_of_an_ods_file(tmp_path: Path) -> None:
    cell = '<table:table-cell office:value-type="string"%s><text:p>%s</text:p></table:table-cell>'
    merged = cell % (' table:number-rows-spanned="2"', "Pan left")
    prompts = {"a.jpg": merged, "b.jpg": "<table:covered-table-cell/>", "c.jpg": ""}
    end = "".join(
        f"<table:table-row>{cell % ('', image)}{prompt}</table:table-row>"
        for image, prompt in prompts.items()
    )
    write_ods(tmp_path / "a.ods", [["image", "prompt"]], end)
    rows = list(open_manifest(tmp_path / "a.ods", "Zoom").rows)
    assert [row.job.prompt for row in rows if row.job] == ["Pan left", "Pan left", "Zoom"]


def test_too_many_merged_cells_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["image", "prompt"])
        sheet.write_column(1, 0, ["a.jpg"] * 20)
        sheet.merge_range(1, 1, 20, 1, "Pan left")

    monkeypatch.setattr(spreadsheet_lines, "MAX_MERGED", 10)
    with pytest.raises(ManifestError, match="over 10 merged cells"):
        open_manifest(workbook(tmp_path, fill))


def test_cells_without_a_value_reject_the_rows_that_need_them(tmp_path: Path) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["image", "prompt", "note"])
        sheet.write_column(1, 0, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
        sheet.write_formula("B2", "=NA()", None, "#N/A")
        sheet.write_formula("C3", "=1/0", None, "#DIV/0!")
        sheet.write_formula("B4", '=CONCAT("Pan"," left")', None, "Pan left")
        sheet.write_formula("B5", "=A1", None, "x")

    path = workbook(tmp_path, fill)
    replace_in_zip(path, SHEET, 't="str"><f>A1</f><v>x</v>', "><f>A1</f><v></v>")
    found = [reason.partition(".")[0] for reason in reasons(open_manifest(path))]
    assert found == [
        "prompt: the cell B2 holds an error",
        *("", ""),
        "prompt: the cell B5 holds a formula without a result",
    ]


def test_hidden_and_empty_sheets(tmp_path: Path) -> None:
    def fill(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Spring 2026")
        other.write_column(0, 0, ["image", "b.jpg"])
        other.activate()
        sheet.write_column(0, 0, ["image", "a.jpg"])
        sheet.hide()
        book.add_worksheet("Empty")

    path = workbook(tmp_path, fill)
    for chosen, image in (
        (None, "b.jpg"),
        ("One", "a.jpg"),
        ("spring 2026", "b.jpg"),
        ("1", "a.jpg"),
    ):
        (row,) = open_manifest(path, options=ManifestOptions(sheet=chosen)).rows
        assert row.job
        assert row.job.image == image
    for chosen, problem in (("Two", "'One', 'Spring 2026', 'Empty'"), ("Empty", "is empty")):
        with pytest.raises(ManifestError, match=problem):
            open_manifest(path, options=ManifestOptions(sheet=chosen))


def test_a_sheet_without_a_header(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", [["a.jpg", 5]])
    with pytest.raises(ManifestError, match=r"has no header line.*'image,column2'"):
        open_manifest(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        *((b"", "is damaged"), (b"image\na.jpg\n", "is damaged"), (b"PK\3\4" * 9, "is damaged")),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "protected by a password, or is an old .xls file"),
    ],
)
@pytest.mark.parametrize("name", ["a.xlsx", "a.ods"])
def test_a_file_that_is_no_spreadsheet(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=problem):
        open_manifest(tmp_path / name)


def test_an_archive_that_is_no_spreadsheet(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("a.jpg", b"no picture")
    with pytest.raises(ManifestError, match="is damaged"):
        open_manifest(tmp_path / "a.xlsx")


def test_a_cell_far_away_is_refused(tmp_path: Path) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet.write_column(0, 0, ["image", "a.jpg"])
        sheet.write(1_048_575, 16_383, "x")

    with pytest.raises(ManifestError, match="1,048,576 rows and 16,384 columns"):
        open_manifest(workbook(tmp_path, fill))


def test_empty_rows_that_only_have_a_format_do_not_count(tmp_path: Path) -> None:
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_column(0, 0, ["image", "a.jpg"])
        sheet.write_blank(1_048_575, 16_383, None, book.add_format({"bold": True}))

    assert reasons(open_manifest(workbook(tmp_path, fill))) == [""]
    cell = '<table:table-cell table:number-columns-repeated="1024"/>'
    end = f'<table:table-row table:number-rows-repeated="1048574">{cell}</table:table-row>'
    write_ods(tmp_path / "a.ods", [["image"], ["a.jpg"]], end)
    assert reasons(open_manifest(tmp_path / "a.ods")) == [""]


def test_rows_repeated_too_often_are_refused(tmp_path: Path) -> None:
    end = (
        '<table:table-row table:number-rows-repeated="100000"><table:table-cell '
        'office:value-type="string" table:number-columns-repeated="1000"><text:p>x</text:p>'
        "</table:table-cell></table:table-row>"
    )
    write_ods(tmp_path / "a.ods", [["image"], ["a.jpg"]], end)
    with pytest.raises(ManifestError, match="over 10,000,000 cells"):
        open_manifest(tmp_path / "a.ods")


def test_a_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet_bounds, "MAX_UNPACKED", 2**20)
    write_xlsx(tmp_path / "a.xlsx", [["image"], *([["a.jpg", *(["x"] * 2000)]] * 50)])
    with pytest.raises(ManifestError, match="over 1 MB of tables"):
        open_manifest(tmp_path / "a.xlsx")


def test_entities_are_refused(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", [["image"], ["a.jpg"]])
    replace_in_zip(
        tmp_path / "a.xlsx", SHEET, "<worksheet", '<!DOCTYPE x [<!ENTITY a "b">]><worksheet'
    )
    with pytest.raises(ManifestError, match="it defines entities"):
        open_manifest(tmp_path / "a.xlsx")


def test_rejected_rows_of_a_spreadsheet_are_a_table(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", [["image", "seconds", "Größe"], ["a.jpg", 500, 12.0]])
    manifest = open_manifest(tmp_path / "a.xlsx")
    assert manifest.rejects
    sink = manifest.rejects(tmp_path / "a.rejected.csv")
    for row in manifest.rows:
        sink.add(row.line, row.reason)
    written = sink.close()
    assert written
    text = written.read_text(encoding="utf-8")
    assert text.startswith(
        "\ufeffimage,seconds,Größe,rejected_row,rejected_reason\na.jpg,500,12,2,"
    )

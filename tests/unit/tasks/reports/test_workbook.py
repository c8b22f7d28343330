"""The spreadsheet of results."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from tasks.reports import workbook
from tasks.reports.export import COLUMNS
from tasks.reports.workbook import write_workbook
from tasks.schema.result import Result
from tests.support.samples.results import result, video


def written(folder: Path, *results: Result) -> Path:
    path = folder / "results.xlsx"
    columns = (name for result in results for name in result.data)
    write_workbook("Spring – Käse", columns, results, path, folder)
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    header, *cells = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    return [dict(zip(map(str, header), row, strict=True)) for row in cells]


def part(path: Path, name: str) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"xl/worksheets/{name}").decode()


def test_the_columns_are_those_of_the_table_and_the_poster(tmp_path: Path) -> None:
    path = written(tmp_path, result(1, data={"sku": "A", "größe": 4}), result(7))
    done, held = rows(path)
    assert list(done) == [
        *(
            name
            for column in COLUMNS
            for name in ([column, "poster"] if column == "url" else [column])
        ),
        *("sku", "größe"),
    ]
    assert (done["sku"], done["größe"], done["seconds"], done["row"]) == ("A", 4, 6, 2)
    assert (done["credits_estimated"], done["codec"]) == (True, "h264")
    assert (held["state"], held["reason"], held["url"]) == ("held", "plan", "")


def test_clips_and_posters_are_links(tmp_path: Path) -> None:
    clips = (tmp_path / "clips a").as_uri()
    far = Path("/elsewhere/deep/down/1.mp4").as_uri()
    path = written(
        tmp_path,
        result(1, video=video(1, url=f"{clips}/1.mp4", poster=f"{clips}/1.jpg")),
        result(2, video=video(2, url="https://cdn.invalid/2.mp4?a=1&b=2")),
        result(3, video=video(3, url=f"{clips}/a%231.mp4")),
        result(4, video=video(4, url=far)),
        result(5, video=video(5, url="s3://bucket/5.mp4")),
        result(6, video=video(6, url=f"https://cdn.invalid/{'x' * 3000}")),
    )
    links = part(path, "_rels/sheet1.xml.rels")
    for target in (
        *(r"clips%20a\1.mp4", r"clips%20a\1.jpg", "https://cdn.invalid/2.mp4?a=1&amp;b=2"),
        *(f"FILE{clips.removeprefix('file')}/a%231.mp4", f"FILE{far.removeprefix('file')}"),
    ):
        assert f'Target="{target}" TargetMode="External"' in links, links
    assert links.count("Target=") == 5
    assert rows(path)[4]["url"] == "s3://bucket/5.mp4"


def test_further_links_than_excel_reads_are_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MAX_LINKS", 2)
    path = written(tmp_path, *(result(number) for number in range(4)))
    assert part(path, "_rels/sheet1.xml.rels").count("Target=") == 2
    assert rows(path)[3]["url"] == "https://cdn.invalid/3.mp4"


def test_columns_are_as_wide_as_their_texts_up_to_a_limit(tmp_path: Path) -> None:
    path = written(tmp_path, result(1, prompt="x" * 30, reply="y" * 500))
    widths = part(path, "sheet1.xml").partition("<cols>")[2].partition("</cols>")[0]
    prompt, reply = (list(rows(path)[0]).index(name) + 1 for name in ("prompt", "reply"))
    assert f'<col min="{prompt}" max="{prompt}" width="32.7' in widths
    assert f'<col min="{reply}" max="{reply}" width="60.7' in widths
    assert 'state="frozen"' in part(path, "sheet1.xml")


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "{=1}", "+1", "https://example.org/a"])
def test_texts_are_neither_formulas_nor_links(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, result(7, prompt=text, data={text: text}))
    assert "<f>" not in part(path, "sheet1.xml")
    assert rows(path)[0]["prompt"] == text
    assert rows(path)[0][text] == text


def test_any_text_fits(tmp_path: Path) -> None:
    odd = "\ud800\ufffe\x00\x1b\U0001f9c0 Käse\n<&>\"'"
    path = written(tmp_path, result(1, reply="\U0001f9c0" * 40_000, data={"odd": odd, "n": 1e300}))
    (found,) = rows(path)
    assert len(found["reply"]) == 16_384
    assert found["reply"].endswith("…")
    assert found["odd"].startswith("\ufffd\ufffd")
    assert found["n"] == "1e+300"


def test_a_batch_without_jobs_has_a_header(tmp_path: Path) -> None:
    assert rows(written(tmp_path)) == []

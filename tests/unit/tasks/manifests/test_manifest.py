"""Folders, CSV and JSONL files as rows. Bad rows are rejected and do not affect the others."""

import json
import os
from pathlib import Path

import pytest

from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import open_manifest
from tasks.manifests.rows import Row
from tasks.schema.batch import batch_id_for


def csv_rows(folder: Path, text: str | bytes, prompt: str | None = None) -> list[Row]:
    path = folder / "jobs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(open_manifest(path, prompt).rows)


def test_a_folder_has_its_images_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.heic", "notes.txt", ".hidden.png", "c.tiff"):
        (tmp_path / name).touch()
    (tmp_path / "deep.jpg").mkdir()
    (tmp_path / "deep.jpg" / "d.jpg").touch()
    manifest = open_manifest(tmp_path)
    found = [(row.number, row.job.image) for row in manifest.rows if row.job]
    assert found == [(1, "a.heic"), (2, "b.JPG"), (3, "c.tiff")]
    assert manifest.name == tmp_path.name


def test_broken_links_and_pipes_of_a_folder_are_rows(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    rows = list(open_manifest(tmp_path).rows)
    assert [row.job.image for row in rows if row.job] == ["gone.jpg", "loop.jpg", "pipe.jpg"]


def test_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"gr\xf6n")
    folder.mkdir()
    (folder / "a.png").touch()
    (folder / os.fsdecode(b"\xf6.png")).touch()
    manifest = open_manifest(folder)
    assert manifest.name == r"gr\udcf6n"
    good, bad = manifest.rows
    assert good.job
    assert bad.reason == "image: is not UTF-8 text"


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no images"):
        open_manifest(tmp_path)


def test_columns_of_the_job_and_of_the_caller(tmp_path: Path) -> None:
    rows = csv_rows(
        tmp_path,
        "image,seconds,attach,pass_url,sku\r\n"
        "https://example.org/a.jpg,6,music.mp3; logo.png,yes,A-1\r\n",
    )
    job = rows[0].job
    assert job is not None
    assert (job.seconds, job.attach, job.pass_url) == (6, ("music.mp3", "logo.png"), True)
    assert job.data == {"sku": "A-1"}


def test_columns_are_filled_into_the_prompt_of_the_command_line(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, "image,prompt,sku\na.jpg,,A-1\nb.jpg,Own words,B-2\n", "Show {sku}")
    assert [row.job.prompt for row in rows if row.job] == ["Show A-1", "Own words"]


def test_a_row_with_an_empty_column_of_the_prompt_is_rejected(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, "image,sku\na.jpg,\nb.jpg,B\n", "Show {sku}")
    assert rows[0].job is None
    assert "{sku}" in rows[0].reason
    assert rows[1].job


def test_a_prompt_with_an_unknown_column_is_refused(tmp_path: Path) -> None:
    for place in ("nmae", "image.__class__"):
        with pytest.raises(ManifestError, match=r"columns are \{image\}, \{name\}"):
            csv_rows(tmp_path, "image,name\na.jpg,b\n", f"Show {{{place}}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,note\n\udcff.jpg,\nb.jpg,größte Äpfel\n".encode(errors="surrogateescape"), "UTF-8"),
        (b'image\n"a.jpg"x\nb.jpg\n', "double quotes do not match"),
        (b"image\n" + b"x" * 200_000 + b"\nb.jpg\n", "131,072 characters"),
        (b"image,prompt\na.jpg,Pan\0left\nb.jpg,Pan\n", "NUL"),
    ],
)
def test_an_unreadable_line_does_not_affect_the_next(
    tmp_path: Path, text: bytes, message: str
) -> None:
    bad, good = csv_rows(tmp_path, text)
    assert message in bad.reason
    assert good.job is not None


def test_an_unclosed_quote_is_reported_with_its_lines(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, 'image\na.jpg\n"b.jpg\nc.jpg\n')
    assert [row.number for row in rows] == [2, 3]
    assert "lines 3 to 4" in rows[1].reason


def test_padding_of_spreadsheets_is_ignored(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, " Image ,SKU,,\r\n a.jpg ,A-1,,,,\r\n")
    assert row.job is not None
    assert (row.job.image, row.job.data) == ("a.jpg", {"SKU": "A-1"})


def test_bad_rows_are_rejected_by_line_number(tmp_path: Path) -> None:
    rows = csv_rows(
        tmp_path, 'image,seconds,note\na.jpg,5,"two\nlines"\n\nb.jpg,500,\nc.jpg,1,x,y\nd.jpg,2,\n'
    )
    assert [(row.number, bool(row.job)) for row in rows] == [
        (2, True),
        (5, False),
        (6, False),
        (7, True),
    ]
    assert rows[1].reason.startswith("seconds: ")
    assert "4 cells" in rows[2].reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_taken_from_the_header(tmp_path: Path, delimiter: str) -> None:
    rows = csv_rows(tmp_path, f"image{delimiter}sku\na.jpg{delimiter}A\n")
    assert rows[0].job is not None
    assert rows[0].job.data == {"sku": "A"}


def test_a_byte_order_mark_is_not_part_of_a_column(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, b"\xef\xbb\xbfimage\na.jpg\n")
    assert rows[0].job is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((b"", "has no header line"), (b"sep=;\n", "has no header line")),
        (b"sku,price\nA-1,5\n", "The columns are 'sku', 'price'"),
        (b"image,image\na,b\n", "twice"),
        ("image,größe,bäume\udcff".encode(errors="surrogateescape"), "CSV UTF-8"),
        (b"image\0", "CSV UTF-8"),
        (b"PK\x03\x04", "is a spreadsheet or an archive"),
        (b"x" * 200_000, "131,072 characters"),
    ],
)
def test_an_unreadable_csv_file_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        csv_rows(tmp_path, text)


def test_lines_of_a_jsonl_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    lines = [
        json.dumps({"image": "a.jpg", "attach": ["m.mp3"], "n": 3}),
        "",
        "{not json",
        "[1]",
        json.dumps({"image": "b.jpg", "sku": {"deep": 1}}),
        "[" * 100_000,
        '{"image": "a.jpg", "image": "b.jpg"}',
        r'{"image": "a.jpg", "\ud800": "half a pair"}',
    ]
    path.write_text("\n".join(lines))
    rows = list(open_manifest(path).rows)
    assert [(row.number, bool(row.job)) for row in rows] == [
        (1, True),
        *((line, False) for line in range(3, 9)),
    ]
    assert "twice: 'image'" in rows[5].reason
    assert rows[6].reason.encode(), "it can be encoded"
    assert rows[0].job is not None
    assert rows[0].job.data == {"n": 3}


@pytest.mark.parametrize("name", ["gone.csv", "gone"])
def test_a_missing_manifest_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="There is no manifest"):
        open_manifest(tmp_path / name)


def test_a_file_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.pdf").touch()
    with pytest.raises(ManifestError, match=r"is not a folder, or a \.csv"):
        open_manifest(tmp_path / "jobs.pdf")


def test_the_batch_id_depends_on_the_name_only() -> None:
    assert batch_id_for("spring") == batch_id_for("spring") != batch_id_for("autumn")


def test_a_delimiter_inside_of_a_quoted_column_is_text(tmp_path: Path) -> None:
    """A spreadsheet in German writes semicolons, and quotes a heading that holds commas."""
    (row,) = csv_rows(tmp_path, '"Title, place, year";image\n"Rome, 1999";a.jpg\n')
    assert row.job is not None
    assert (row.job.image, row.job.data) == ("a.jpg", {"Title, place, year": "Rome, 1999"})


def test_a_space_before_a_quoted_cell_is_ignored(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, 'image, prompt\na.jpg, "Pan left, slowly"\n')
    assert row.job is not None
    assert row.job.prompt == "Pan left, slowly"


def test_the_delimiter_is_the_one_that_gives_a_column_image(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, "image;note, with, commas\na.jpg;x\n")
    assert row.job is not None
    assert row.job.data == {"note, with, commas": "x"}


def test_a_header_of_many_columns_is_read_in_linear_time(tmp_path: Path) -> None:
    """30,000 columns took six seconds, and more of them hours."""
    columns = ",".join(f"c{n}" for n in range(100_000))
    (row,) = csv_rows(tmp_path, f"image,{columns}\na.jpg\n")
    assert row.job is not None
    with pytest.raises(ManifestError) as caught:
        csv_rows(tmp_path, f"{columns}\n")
    assert len(str(caught.value)) < 1000


def test_a_first_line_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="1,048,576 characters"):
        csv_rows(tmp_path, "image," + "x," * 2**20)


@pytest.mark.parametrize("mark", ["\ufeff\ufeff", "\ufeff\u200b", "\u200b", " \u2060"])
def test_invisible_characters_are_not_part_of_a_column(tmp_path: Path, mark: str) -> None:
    """Two byte order marks come from joined files, zero-width spaces from web pages."""
    (row,) = csv_rows(tmp_path, f"{mark}image,sku\u200b\n\u200ba.jpg\ufeff,A\n")
    assert row.job is not None
    assert (row.job.image, row.job.data) == ("a.jpg", {"sku": "A"})


def test_two_byte_order_marks_before_a_quoted_column(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, '\ufeff\ufeff"image"\na.jpg\n')
    assert row.job is not None

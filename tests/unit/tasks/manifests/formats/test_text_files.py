"""Encodings, line ends and long lines of text files."""

import codecs
import json
from pathlib import Path

import pytest

from tasks.manifests.formats import text_files
from tasks.manifests.formats.encodings import detect_encoding
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import Manifest, ManifestOptions, open_manifest

PROMPT = "Der Käse dreht sich langsam – süße Öfen"


def manifest(
    folder: Path, content: bytes, name: str = "jobs.csv", encoding: str | None = None
) -> Manifest:
    path = folder / name
    path.write_bytes(content)
    return open_manifest(path, options=ManifestOptions(encoding=encoding))


def prompts(read: Manifest) -> list[str]:
    rows = list(read.rows)
    assert [row.reason for row in rows if row.reason] == []
    return [row.job.prompt for row in rows if row.job]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        *(("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-32", "utf-32")),
        *(("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"), ("cp1252", "windows-1252")),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_in_any_encoding(tmp_path: Path, encoding: str, named: str, delimiter: str) -> None:
    text = f'image{delimiter}prompt\r\na.jpg{delimiter}"{PROMPT}"\r\n'
    read = manifest(tmp_path, text.encode(encoding))
    assert (read.encoding and read.encoding.name) == named
    assert prompts(read) == [PROMPT]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
@pytest.mark.parametrize("name", ["jobs.csv", "jobs.txt", "jobs.tsv"])
def test_unicode_text_of_excel(tmp_path: Path, mark: bytes, name: str) -> None:
    codec = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    text = f"image\tprompt\r\na.jpg\t{PROMPT}\r\n"
    assert prompts(manifest(tmp_path, mark + text.encode(codec), name)) == [PROMPT]


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("Käse", "cp1252", "windows-1252"),
        ("Zoom sur la façade, été à Noël", "cp1252", "windows-1252"),
        ("mañana, el niño", "cp1252", "windows-1252"),
        ("“it’s ok” – 5 €…", "cp1252", "windows-1252"),
        ("Медленный наезд камеры", "cp1251", "windows-1251"),
        ("привет, кот", "cp1251", "windows-1251"),
        ("Αργή κίνηση της κάμερας", "cp1253", "windows-1253"),
        ("ゆっくりとズームイン", "cp932", "cp932"),
        ("カメラをゆっくり動かす", "cp932", "cp932"),
        ("慢慢推进镜头", "gb18030", "gb18030"),
        ("咖啡杯上的蒸汽慢慢上升", "gb18030", "gb18030"),
        ("천천히 줌 인", "cp949", "cp949"),
        ("慢慢推進鏡頭", "big5", "big5"),
        ("咖啡杯上的蒸氣慢慢上升", "big5", "big5"),
    ],
)
@pytest.mark.parametrize("rows", [1, 60])
def test_code_pages_that_excel_saves(
    tmp_path: Path, text: str, encoding: str, named: str, rows: int
) -> None:
    lines = ["image;prompt", *(f"{number}.jpg;{text}" for number in range(rows))]
    read = manifest(tmp_path, "\r\n".join(lines).encode(encoding))
    assert read.encoding
    assert (read.encoding.name, read.encoding.is_guess) == (named, True)
    assert prompts(read) == [text] * rows


@pytest.mark.parametrize("text", ["Powolny najazd kamery na filiżankę", "Güneş ışığı, yavaşça"])
def test_other_latin_scripts_count_as_western_unless_they_are_named(
    tmp_path: Path, text: str
) -> None:
    codec = "cp1250" if "filiżankę" in text else "cp1254"
    content = f'image,prompt\na.jpg,"{text}"\n'
    assert detect_name(tmp_path, content.encode(codec)) == "windows-1252"
    assert prompts(manifest(tmp_path, content.encode(codec), encoding=codec)) == [text]


def detect_name(folder: Path, content: bytes) -> str:
    path = folder / "jobs.csv"
    path.write_bytes(content)
    return detect_encoding(path).name


def test_a_character_that_is_cut_by_the_end_of_a_piece_is_whole(tmp_path: Path) -> None:
    padding = "x" * (2**20 - len("image\n") - 1)
    assert detect_name(tmp_path, f"image\n{padding}ä\n".encode()) == "utf-8"


def test_a_damaged_line_of_a_utf8_file_does_not_change_the_others(tmp_path: Path) -> None:
    content = f"image,prompt\na.jpg,{PROMPT}\nb.jpg,K\udce4se\n"
    good, bad = manifest(tmp_path, content.encode(errors="surrogateescape")).rows
    assert good.job
    assert good.job.prompt == PROMPT
    assert bad.reason == "the line is not UTF-8 text: save the file again as UTF-8"


def test_a_line_that_is_no_text_in_the_named_encoding_is_rejected(tmp_path: Path) -> None:
    content = "image,prompt\na.jpg,猫\n".encode("cp932") + b"b.jpg,\x81 x\nc.jpg,x\n"
    rows = list(manifest(tmp_path, content, encoding="cp932").rows)
    assert [row.reason for row in rows] == [
        *("", "the line is not cp932 text: save the file again as UTF-8", ""),
    ]


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "undefined", ""])
def test_an_unknown_encoding_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="no encoding"):
        manifest(tmp_path, b"image\na.jpg\n", encoding=name)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    lines = ["image;prompt", "a.jpg;one", 'b.jpg;"two', 'lines"', "", "c.jpg;three", ""]
    rows = list(manifest(tmp_path, end.join(lines).encode()).rows)
    assert [row.number for row in rows] == [2, 3, 6]
    assert [row.job.prompt for row in rows if row.job] == ["one", f"two{end}lines", "three"]


def test_line_ends_can_be_mixed(tmp_path: Path) -> None:
    content = b"image\ra.jpg\r\nb.jpg\nc.jpg"
    assert [row.number for row in manifest(tmp_path, content).rows] == [2, 3, 4]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;"])
def test_the_delimiter_that_excel_is_told(tmp_path: Path, first: str) -> None:
    text = f"{first}\r\n\r\nimage;prompt, with commas, and more\r\na.jpg;x\r\n"
    (row,) = manifest(tmp_path, text.encode()).rows
    assert row.job
    assert (row.number, row.job.data) == (4, {"prompt, with commas, and more": "x"})


def test_any_delimiter_can_be_named(tmp_path: Path) -> None:
    (row,) = manifest(tmp_path, b"sep=|\nimage|prompt\na.jpg|x\n").rows
    assert row.job
    assert row.job.prompt == "x"


@pytest.mark.parametrize("name", ["jobs.csv", "jobs.jsonl"])
def test_a_line_that_is_too_long_does_not_affect_the_next(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE", 1000)
    row = json.dumps({"image": "b.jpg"}) if name == "jobs.jsonl" else "b.jpg"
    header = "" if name == "jobs.jsonl" else "image\n"
    bad, good = manifest(tmp_path, f"{header}{'x' * 5000}\n{row}\n".encode(), name).rows
    assert "16" not in bad.reason
    assert "over 1,000 characters" in bad.reason
    assert good.job


def test_a_picture_named_as_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is an image, not a text file"):
        manifest(tmp_path, b"\xff\xd8\xff\xe0")

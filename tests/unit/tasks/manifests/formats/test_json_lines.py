"""JSON arrays as manifests."""

import json
from pathlib import Path

import pytest

from tasks.manifests.formats import json_lines
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import open_manifest
from tasks.manifests.rows import Row


def rows(folder: Path, content: str | bytes) -> list[Row]:
    path = folder / "jobs.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_manifest(path).rows)


@pytest.mark.parametrize("piece", [1, 7, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_in_pieces(
    tmp_path: Path, piece: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "_PIECE", piece)
    given = [{"image": f"{n}.jpg", "prompt": 'Käse \U0001f9c0 \\ "x"', "n": n} for n in range(20)]
    found = rows(tmp_path, f" {json.dumps(given, indent=indent)}\r\n")
    assert [row.number for row in found] == [*range(1, 21)]
    assert [row.line.fields for row in found] == given
    assert all(row.job for row in found)


@pytest.mark.parametrize("piece", [1, 2**20])
def test_bad_rows_do_not_affect_the_others(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "_PIECE", piece)
    found = rows(
        tmp_path,
        '[{"image": "a.jpg"}, 12345, "x", {"image": "b.jpg", "image": "c.jpg"}, [], null, '
        '{"image": "d.jpg", "deep": {"a": 1}}, {"image": "e.jpg", "key": 7}]',
    )
    assert [bool(row.job) for row in found] == [True, *([False] * 6), True]
    assert "twice: 'image'" in found[3].reason
    assert found[7].job
    assert found[7].job.key == "7"


def test_an_empty_array_has_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path, " [ ] ") == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = '[{"image": "a.jpg", "prompt": "Der Käse dreht sich"}]'
    (row,) = rows(tmp_path, text.encode(encoding))
    assert row.job
    assert row.job.prompt == "Der Käse dreht sich"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        *(("", "is not a JSON array"), ('{"image": "a.jpg"}', "is not a JSON array")),
        ('{"image": "a.jpg"}\n{"image": "b.jpg"}', "is not a JSON array"),
        ('[{"image": "a.jpg"}', "after 1 complete rows, a ',' or the end"),
        ('[{"image": "a.jpg"}, {"image": "b.j', "after 1 complete rows, row 2 is not JSON"),
        ('[{"image": "a.jpg"} {"image": "b.jpg"}]', "a ',' or the end"),
        ('[{"image": "a.jpg"},]', "row 2 is not JSON"),
        ('[{"image": "a.jpg"}] x', "text follows"),
        ("[" * 100_000, "too deeply"),
    ],
)
def test_an_array_that_cannot_be_read_is_refused_before_a_row_is_submitted(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(content)
    with pytest.raises(ManifestError, match=problem):
        open_manifest(path)


def test_a_row_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_MAX_ROW", 1000)
    monkeypatch.setattr(json_lines, "_PIECE", 10)
    with pytest.raises(ManifestError, match="row 1 has over 1,000 characters"):
        rows(tmp_path, json.dumps([{"image": "x" * 5000}]))

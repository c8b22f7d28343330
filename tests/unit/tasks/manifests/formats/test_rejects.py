"""Files of rejected rows."""

import json
import os
from pathlib import Path

import pytest

from tasks.manifests.formats.rejects import JsonlRejects
from tasks.manifests.lines import ManifestError, ManifestLine
from tasks.manifests.manifest import ManifestOptions, open_manifest


def reject_all(source: Path, to: Path) -> Path | None:
    """Write all rows of a manifest to a file of rejected rows."""
    manifest = open_manifest(source, options=ManifestOptions(encoding="utf-8"))
    assert manifest.rejects
    sink = manifest.rejects(to)
    for row in manifest.rows:
        sink.add(row.line, "no")
    return sink.close()


def test_half_a_surrogate_pair_stays_escaped(tmp_path: Path) -> None:
    source = tmp_path / "jobs.jsonl"
    source.write_text(r'{"image": "a.jpg", "note": "\ud800"}')
    written = reject_all(source, tmp_path / "rejected.jsonl")
    assert written
    assert json.loads(written.read_text())["note"] == "\ud800"


def test_bytes_that_are_not_utf8_are_written_unchanged(tmp_path: Path) -> None:
    source = tmp_path / "jobs.jsonl"
    source.write_bytes('{"image": "grün.jpg"}'.encode("latin-1"))
    written = reject_all(source, tmp_path / "rejected.jsonl")
    assert written
    assert "grün.jpg".encode("latin-1") in written.read_bytes()


def test_a_failure_to_write_is_raised_at_the_end(tmp_path: Path) -> None:
    sink = JsonlRejects(tmp_path / "nowhere" / "rejected.jsonl")
    for number in range(3):
        sink.add(ManifestLine(number), "no")
    with pytest.raises(FileNotFoundError):
        sink.close()


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ManifestError, match="is not a file"):
        JsonlRejects(tmp_path / "pipe")


def test_an_existing_folder_of_this_name_is_kept(tmp_path: Path) -> None:
    sink = JsonlRejects(tmp_path / "rejected.jsonl")
    sink.add(ManifestLine(1), "no")
    (tmp_path / "rejected.jsonl").mkdir()
    assert sink.close() == tmp_path / "rejected-2.jsonl"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("rejected-2.jsonl", "rejected.jsonl"),
    ]


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", ""), ("utf-8-sig", "\ufeff"), ("utf-16", "\ufeff")]
)
def test_a_file_of_a_spreadsheet_is_marked_as_utf8(
    tmp_path: Path, encoding: str, mark: str
) -> None:
    source = tmp_path / "jobs.csv"
    source.write_text("image\nKäse.jpg\n", encoding=encoding)
    manifest = open_manifest(source)
    assert manifest.rejects
    sink = manifest.rejects(tmp_path / "rejected.csv")
    for row in manifest.rows:
        sink.add(row.line, "no")
    written = sink.close()
    assert written
    assert written.read_text(encoding="utf-8").startswith(f"{mark}image,")
    assert [row.line.fields["image"] for row in open_manifest(written).rows] == ["Käse.jpg"]


def test_a_name_that_is_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Two submissions may write rejected rows at the same time: a link stands for the other."""
    source, to = tmp_path / "jobs.jsonl", tmp_path / "rejected.jsonl"
    source.write_text('{"image": "a.jpg"}')
    to.write_text("being corrected")
    (tmp_path / "rejected-2.jsonl").symlink_to(tmp_path / "not there yet")
    assert reject_all(source, to) == tmp_path / "rejected-3.jsonl"
    assert (tmp_path / "rejected-2.jsonl").is_symlink()


def test_a_rare_separator_is_named_again(tmp_path: Path) -> None:
    source = tmp_path / "jobs.csv"
    source.write_text("sep=|\nimage|note\na.jpg|x, y; z\n")
    written = reject_all(source, tmp_path / "rejected.csv")
    assert written
    (row,) = open_manifest(written).rows
    assert row.line.fields["note"] == "x, y; z"
    assert row.line.original_number == 3

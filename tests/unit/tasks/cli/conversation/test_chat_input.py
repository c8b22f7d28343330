"""Parsing of typed lines: action, text and files."""

from pathlib import Path

import pytest

from tasks.cli.conversation.chat_input import parse_chat_input
from tasks.producer.follow_up.text_routing import TextAction

UPLOAD, EDIT = TextAction.UPLOAD, TextAction.EDIT
URL = "https://example.org/shots/a.jpg?size=2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a working directory with files, one of which has the name of a plain word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sub").mkdir()
    for name in ("cat.jpg", "logo.png", "my photo.jpg", "notes.txt", "sub/song.mp3", "slow"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("typed", "action", "text", "files"),
    [
        ("cat.jpg", UPLOAD, "", ["cat.jpg"]),
        ("  my photo.jpg ", UPLOAD, "", ["my photo.jpg"]),
        ("'my photo.jpg'", UPLOAD, "", ["my photo.jpg"]),
        (r"my\ photo.jpg logo.png", UPLOAD, "", ["my photo.jpg", "logo.png"]),
        ("~/cat.jpg", UPLOAD, "", ["HOME/cat.jpg"]),
        (URL, UPLOAD, "", [URL]),
        ("https://example.org/a", UPLOAD, "", ["https://example.org/a"]),
        (f"{URL} {URL}", UPLOAD, "", [URL]),
        ("upload logo.png, please", UPLOAD, "upload please", ["logo.png"]),
        ("upload notes.txt", UPLOAD, "upload", ["notes.txt"]),
        ("上传 logo.png", UPLOAD, "上传", ["logo.png"]),
        ("add sub/song.mp3, softly.", EDIT, "add song.mp3 softly.", ["sub/song.mp3"]),
        (f"animate {URL} slowly", EDIT, "animate a.jpg slowly", [URL]),
        ("pan left, slow", EDIT, "pan left, slow", []),
        ("slow", EDIT, "slow", []),
        ("don't pan; keep the cats' eyes", EDIT, "don't pan; keep the cats' eyes", []),
        ('add the title "gone.mp4"', EDIT, 'add the title "gone.mp4"', []),
        ("at https://[ and ~nobody", EDIT, "at https://[ and ~nobody", []),
        ("export as final.mp4", TextAction.EXPORT, "export as", []),
        ("how many credits?", TextAction.CREDITS, "how many credits?", []),
    ],
)
def test_what_a_line_asks_for(typed: str, action: TextAction, text: str, files: list[str]) -> None:
    line = parse_chat_input(typed)
    named = [path.replace(str(Path.home()), "HOME") for path in line.files]
    assert (line.action, line.text, named) == (action, text, files)


@pytest.mark.parametrize(
    ("typed", "action", "missing"),
    [
        ("gone.jpg", UPLOAD, ["gone.jpg"]),
        ("upload gone.jpg", UPLOAD, ["gone.jpg"]),
        ("上传gone.png", UPLOAD, ["上传gone.png"]),
        ("put gone.png in the corner", EDIT, ["gone.png"]),
        ("animate cat.jpg to gone.MP3!", EDIT, ["gone.MP3"]),
    ],
)
def test_a_missing_file_is_named(typed: str, action: TextAction, missing: list[str]) -> None:
    line = parse_chat_input(typed)
    assert (line.action, list(line.missing)) == (action, missing)


@pytest.mark.parametrize("typed", ["upload my holiday", "please upload it all", "上传那个东西"])
def test_an_upload_of_no_file_is_never_a_message(typed: str) -> None:
    line = parse_chat_input(typed)
    assert (line.action, line.files) == (UPLOAD, ())

"""A line typed in a conversation: the action that it asks for, its text and its files."""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.producer.follow_up.text_routing import TextAction, action_of
from tasks.schema.addresses import is_url
from worker.media.file_types import FILE_SUFFIXES

_WORD: Final = re.compile(r"""'[^']+'|"[^"]+"|(?:\\.|\S)+""")
_URL: Final = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)\S*", re.IGNORECASE)
_UPLOAD: Final = re.compile(r"(?:(?:please|pls) )?upload\b|(?:请|麻烦)?上传", re.IGNORECASE)
_QUOTES: Final = "'\""
_TRAILING_PUNCTUATION: Final = ".,;:!?，。；：！？"


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A typed line.

    Attributes:
        action: The action that the line asks for. A line of files alone is an upload.
        text: For an edit the whole line, with the files by their bare names; else the line
            without its files.
        files: The files that the line names: paths that exist, and URLs.
        missing: Words that look like files and do not exist.
    """

    action: TextAction
    text: str
    files: tuple[str, ...]
    missing: tuple[str, ...]


def parse_chat_input(line: str) -> ChatInput:
    """Parse a typed line. Source: docs/video-api.md, "What a message is".

    Names of files may be quoted, or escaped as a terminal does for a file that is dropped on it.
    A quoted word that names no file is taken for a title, not for a missing file.
    """
    line = line.strip()
    only_file = line if is_url(line) and " " not in line else _file_of(line)
    if only_file is not None:
        return ChatInput(TextAction.UPLOAD, "", (only_file,), ())
    files: list[str] = []
    missing: list[str] = []
    all_words: list[str] = []
    other_words: list[str] = []
    for word in _WORD.findall(line):
        file = _file_of(word)
        if file is not None:
            files.append(file)
            all_words.append(Path(_url_path(file) or file).name)
            continue
        all_words.append(word)
        if _looks_like_a_file(word):
            missing.append(word.rstrip(_TRAILING_PUNCTUATION))
        else:
            other_words.append(word)
    text = " ".join(other_words)
    action = action_of(text) if text else TextAction.UPLOAD
    if action is TextAction.CLARIFY and files:
        action = TextAction.EDIT
    if action is TextAction.EDIT and not files and _UPLOAD.match(line):
        # An upload without a file. Sent to the agent as an edit, it would be paid for.
        action = TextAction.UPLOAD
    if action is TextAction.EDIT:
        text = " ".join(all_words)
    return ChatInput(action, text, tuple(dict.fromkeys(files)), tuple(missing))


def _file_of(word: str) -> str | None:
    """Return the file that a word names: a path that exists, or the URL of a file."""
    for name in (word, word.rstrip(_TRAILING_PUNCTUATION)):
        if _suffix(_url_path(name)) in FILE_SUFFIXES:
            return name
        path = _unescaped(name)
        # A plain word such as "cat" does not name a file, even if there is one of that name.
        # Path.is_file raises for a text that holds a NUL or half a surrogate pair.
        if ("/" in path or "." in path) and os.path.isfile(path):  # noqa: PTH113
            return path
    return None


def _url_path(word: str) -> str:
    found = _URL.fullmatch(word)
    return found[1] if found else ""


def _unescaped(name: str) -> str:
    """Return the path that a quoted or escaped name stands for in a shell."""
    if len(name) > 1 and name[0] == name[-1] and name[0] in _QUOTES:
        return name[1:-1]
    # Path.expanduser raises for the name of an unknown user.
    return os.path.expanduser(re.sub(r"\\(.)", r"\1", name))  # noqa: PTH111


def _looks_like_a_file(word: str) -> bool:
    if word[0] in _QUOTES or is_url(word):
        return False
    return _suffix(word.rstrip(_TRAILING_PUNCTUATION)) in FILE_SUFFIXES


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()

"""The files that a typed line mentions, and what it says besides."""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.producer.text_routing import TextAction, action_of
from tasks.schema.addresses import is_url
from worker.media.file_types import FILE_TYPES

_WORD: Final = re.compile(r"""'[^']+'|"[^"]+"|(?:\\.|\S)+""")
_URL: Final = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)\S*", re.IGNORECASE)
_UPLOAD: Final = re.compile(r"(?:(?:please|pls) )?upload\b|(?:请|麻烦)?上传", re.IGNORECASE)
_QUOTES: Final = "'\""
_TRAILING_PUNCTUATION: Final = ".,;:!?，。；：！？"
_SUFFIXES: Final = frozenset(suffix for kind in FILE_TYPES for suffix in kind.suffixes)


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A line that was typed.

    Attributes:
        action: What it asks for; files with no other word are an upload.
        text: What it says: whole, with files by their bare names, if it is for the agent; else
            without them.
        files: What it mentions: paths of files that are there, and addresses.
        missing: What is named as a file and is not there.
    """

    action: TextAction
    text: str
    files: tuple[str, ...]
    missing: tuple[str, ...]


def parse_chat_input(typed: str) -> ChatInput:
    """Read a line as the contract routes it: a file is an upload, whatever is asked of it is said.

    Names may be quoted, or escaped as a terminal does that has a file dropped on it. A word in
    quotes that is no file is a title, not a file that is missing.
    """
    typed = typed.strip()
    alone = typed if is_url(typed) and " " not in typed else _file_named_by(typed)
    if alone is not None:
        return ChatInput(TextAction.UPLOAD, "", (alone,), ())
    files: list[str] = []
    missing: list[str] = []
    said: list[str] = []
    rest: list[str] = []
    for word in _WORD.findall(typed):
        path = _file_named_by(word)
        if path is not None:
            files.append(path)
            said.append(Path(_url_path(path) or path).name)
            continue
        said.append(word)
        if _looks_like_a_file(word):
            missing.append(word.rstrip(_TRAILING_PUNCTUATION))
        else:
            rest.append(word)
    besides = " ".join(rest)
    action = action_of(besides) if besides else TextAction.UPLOAD
    if action is TextAction.EDIT and not files and _UPLOAD.match(typed):
        # An upload of what is no file: sent to the agent, it would be paid for.
        action = TextAction.UPLOAD
    text = " ".join(said) if action is TextAction.EDIT else besides
    return ChatInput(action, text, tuple(dict.fromkeys(files)), tuple(missing))


def _file_named_by(word: str) -> str | None:
    """The file that a word names: a path that leads to one, or the address of one."""
    for name in (word, word.rstrip(_TRAILING_PUNCTUATION)):
        if _suffix(_url_path(name)) in _SUFFIXES:
            return name
        path = _expanded(name)
        # «cat» is a word, even where a file is called so.
        if ("/" in path or "." in path) and _is_file(path):
            return path
    return None


def _url_path(word: str) -> str:
    found = _URL.fullmatch(word)
    return found[1] if found else ""


def _expanded(name: str) -> str:
    """What a name in a shell's spelling stands for."""
    if len(name) > 1 and name[0] == name[-1] and name[0] in _QUOTES:
        return name[1:-1]
    return os.path.expanduser(re.sub(r"\\(.)", r"\1", name))  # noqa: PTH111 - «~x» is a word too


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - any text may come, a NUL and lone surrogates too


def _looks_like_a_file(word: str) -> bool:
    if word[0] in _QUOTES or is_url(word):
        return False
    return _suffix(word.rstrip(_TRAILING_PUNCTUATION)) in _SUFFIXES


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()

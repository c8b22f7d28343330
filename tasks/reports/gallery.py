"""The gallery: one page that shows what became of jobs. It opens from disk, without a server.

The jobs are written into it as data, one at a time however many there are, and its script shows
a few cards of them at a time. All text of theirs comes from outside and is never markup; links are
relative where a clip lies on a local store near the page. Claim links stay off it: a page is
handed around.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final, TextIO
from urllib.parse import quote, unquote, urlsplit

from tasks.schema.clip_names import image_name
from tasks.schema.result import Result, Video

_TEMPLATES: Final = resources.files(__package__) / "templates"
_JOBS: Final = "<!-- jobs -->\n"
_NEAR: Final = 2
"""Folders up from the page within which a clip is linked by a relative address."""
_UNSAFE: Final = str.maketrans(
    {sign: f"\\u{ord(sign):04x}" for sign in ("<", ">", "&", "\u2028", "\u2029")}
)
"""What could end a script element, in JSON's own spelling."""


def write_page(title: str, results: Iterable[Result], sink: TextIO, folder: Path | None) -> None:
    """Write the page.

    Args:
        title: What it is called.
        results: The jobs, in the order in which they are shown. They are read once.
        sink: Where to.
        folder: Where the page will lie: clips near it are linked from there; None names all in
            full.
    """
    style, script = (_text(name) for name in ("page.css", "page.js"))
    head, _, tail = _text("page.html").partition(_JOBS)
    values = {
        "title": escape(title),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
    }
    sink.write(Template(head).substitute(values))
    for number, result in enumerate(results):
        entry = {name: value for name, value in _entry(result, folder).items() if value}
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        sink.write((",\n" if number else "") + text.translate(_UNSAFE))
    sink.write("\n" + Template(tail).substitute(values))


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy knows an element by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _entry(result: Result, folder: Path | None) -> dict[str, Any]:
    """What the page knows of a job; what is empty is left out."""
    why, video = result.reason, result.video
    waits = not result.state.is_end and why is None
    quality = video.quality if video else None
    return {
        "id": result.job_id,
        "row": result.row,
        "state": result.state,
        "name": image_name(result.image),
        "image": result.image,
        "prompt": result.prompt,
        "why": why and {"code": why.code, "message": why.message, "remedy": why.remedy},
        "clip": video and _clip(video, folder),
        "marks": quality and [finding.message for finding in quality.findings],
        "progress": result.progress.message if waits else None,
        "timeline": result.timeline,
        "reply": result.reply,
        "credits": result.credits_spent,
        "about": result.credits_estimated,
        "data": [[name, str(value)] for name, value in result.data.items()],
    }


def _clip(video: Video, folder: Path | None) -> dict[str, Any]:
    return {
        "src": _link(video.url, folder),
        "poster": _link(video.poster or "", folder),
        "address": video.path or video.url,
        "width": video.width,
        "height": video.height,
        "seconds": video.seconds,
        "bytes": video.bytes,
        "codec": video.codec,
    }


def _link(url: str, folder: Path | None) -> str:
    """An address for the page: relative for a near file, none for what no browser should open."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return url
    if parts.scheme != "file":
        return ""
    if folder is None:
        return url
    way = Path(os.path.relpath(unquote(parts.path), folder))
    return quote(way.as_posix()) if way.parts.count("..") <= _NEAR else url

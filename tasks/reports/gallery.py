"""The gallery: a page that shows jobs and plays their clips. It opens from disk, without a server.

The jobs are written into the page as data, one at a time, and its script shows a few cards at a
time. Texts of jobs come from outside and are never used as markup. Links to clips in a local store
near the page are relative. People pass the page on, so it has no claim links and no signatures of
addresses.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final, TextIO
from urllib.parse import quote, urlsplit

from config.redaction import redact
from tasks.reports.near_files import path_to_near_file
from tasks.schema.clip_names import image_name
from tasks.schema.result import LinkedVideo, Result, Video
from worker.ledger.model.row_content import without_signature

_TEMPLATES: Final = resources.files(__package__) / "templates"
_JOBS: Final = "<!-- jobs -->\n"
_UNSAFE: Final = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}
)
"""JSON escapes for characters that could end a script element."""


def write_page(title: str, results: Iterable[Result], sink: TextIO, folder: Path | None) -> None:
    """Write the page.

    Args:
        title: Its title.
        results: The jobs in the order of the cards. They are read once.
        sink: The file to write to.
        folder: The folder of the page, for relative links; None if it has none.
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
    """Return the hash by which a content security policy allows an element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _entry(result: Result, folder: Path | None) -> dict[str, Any]:
    """Return the data of a job for the page. Empty values are left out later."""
    reason, video = result.reason, result.video
    in_progress = not result.state.is_end and reason is None
    quality = video.quality if video else None
    return {
        "id": result.job_id,
        "row": result.row,
        "state": result.state,
        "name": image_name(result.image),
        "image": without_signature(result.image),
        "prompt": result.prompt,
        "reason": reason and {name: redact(text) for name, text in reason.model_dump().items()},
        "clip": video and _clip(video, folder),
        "findings": quality and [finding.message for finding in quality.findings],
        "progress": result.progress.message if in_progress else None,
        "timeline": result.timeline,
        "reply": result.reply,
        "credits": result.credits_spent,
        "estimated": result.credits_estimated,
        "data": [[name, str(value)] for name, value in result.data.items()],
    }


def _clip(video: Video, folder: Path | None) -> dict[str, Any]:
    linked = video if isinstance(video, LinkedVideo) else None
    return {
        "src": linked.link if linked else _link(video.url, folder),
        "poster": linked.poster_link if linked else _link(video.poster or "", folder),
        "expires": linked and f"{linked.link_expires_at:%Y-%m-%d %H:%M} UTC",
        "address": video.path or video.url,
        **video.model_dump(include={"width", "height", "seconds", "bytes", "codec"}),
    }


def _link(url: str, folder: Path | None) -> str:
    """Return a link for the page: relative to a near file, empty if no browser should open it."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        return ""
    path = path_to_near_file(url, folder)
    return url if path is None else quote(path.as_posix())

"""Names of clips that a person can use, and that no two jobs share.

A name is made of the template ``REELQUEUE_CLIP_NAME``, of letters, digits, marks and ``._-`` of
any script alone, short enough for every file system. Where two jobs come to the same name, the
later one gets a number behind it.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from config.clip_name_template import PLACEHOLDER
from tasks.schema.addresses import is_url
from worker.ledger import clip_names as names
from worker.ledger.model.batches import Batch
from worker.ledger.model.jobs import Job
from worker.runtime.runtime import Runtime

SINGLE: Final = "single"
"""The folder of clips that belong to no batch."""

_LONGEST: Final = 120
"""Bytes of a name: room for a number, an ending and stores that allow 143."""
_LONGEST_FIELD: Final = 60
_KEPT: Final = frozenset("._-")
_NUMBERED: Final = range(2, 10)
_SHORT_ID: Final = 8
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def clip_name(runtime: Runtime, job: Job) -> str:
    """The key of a job's clip without its ending. It is this job's alone, and stays so.

    The caller records it before it writes anything there. A file that is there already is not
    this job's: another namespace may use the same store.

    Raises:
        StoreError: The store cannot be asked.
    """
    batch = runtime.ledger.batch(job.batch_id) if job.batch_id else None
    folder = folder_of(batch)
    wanted = fill(runtime.settings.storage.clip_name, fields_of(job, batch))
    for name in candidates(wanted, job.id):
        if runtime.output.exists(f"{folder}/{name}.mp4"):
            continue
        if names.reserve_name(runtime.ledger, folder, name, job.id):
            return f"{folder}/{name}"
    raise AssertionError("the last candidate holds the job's own id")


def folder_of(batch: Batch | None) -> str:
    """The folder of a batch's clips: its name, and enough of its id to tell it from others."""
    if batch is None:
        return SINGLE
    return "-".join(filter(None, (_clean(batch.name, _LONGEST_FIELD), batch.id[:_SHORT_ID])))


def fields_of(job: Job, batch: Batch | None) -> Mapping[str, str]:
    """What a template may name, as text; the caller's own columns as ``data.NAME``."""
    payload = job.payload
    return {
        "row": str(job.number("row") or ""),
        "image": PurePosixPath(image_name(str(payload["image"]))).stem,
        "key": str(payload.get("key") or ""),
        "job_id": job.id,
        "batch": batch.name if batch else "",
        "prompt": str(payload.get("prompt", "")),
        **{f"data.{name}": str(value) for name, value in payload.get("data", {}).items()},
    }


def image_name(image: str) -> str:
    """The file name in a path or an address."""
    path = unquote(urlsplit(image).path) if is_url(image) else image
    return PurePosixPath(path).name or image


def fill(template: str, fields: Mapping[str, str]) -> str:
    """A name made of a template; never empty. Fields without a value leave no trace.

    Args:
        template: With places such as ``{row}``, or ``{row:04}`` for leading zeros.
        fields: What stands in the places.
    """

    def filled(place: re.Match[str]) -> str:
        text = _clean(fields.get(place["field"], ""), _LONGEST_FIELD)
        return text.zfill(int(place["width"] or 0)) if text else ""

    name = _clean(PLACEHOLDER.sub(filled, template), _LONGEST) or "clip"
    return f"clip-{name}" if _DEVICES.match(name) else name


def candidates(name: str, job_id: str) -> Iterator[str]:
    """The name, then others that are like it; the last one can be no other job's."""
    yield name
    yield from (f"{name}-{number}" for number in _NUMBERED)
    yield f"{name}-{job_id[:_SHORT_ID]}"
    yield f"{name}-{job_id}"
    # Somebody put a file of that very name there.
    yield from (f"{name}-{job_id}-{number}" for number in _NUMBERED)


def _clean(text: str, limit: int) -> str:
    """Only what is safe in a file name everywhere, and at most so many bytes of it."""
    known = unicodedata.normalize("NFC", text)
    safe = (
        sign if sign in _KEPT or unicodedata.category(sign)[0] in "LMN" else "-" for sign in known
    )
    name = re.sub(r"-{2,}", "-", "".join(safe)).strip("-._")
    return name.encode()[:limit].decode(errors="ignore").strip("-._")

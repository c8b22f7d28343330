"""Names of clip files. They are readable, valid in every store, and unique to a job.

A name is made from the template ``REELQUEUE_CLIP_NAME``. It consists of letters, digits and marks
of any script, and ``._-``. If another clip already has the name, a number is appended.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from config.clip_name_template import PLACEHOLDER
from tasks.schema.addresses import is_url
from worker.ledger.clip_names import reserve_name
from worker.ledger.ledger import Ledger
from worker.ledger.model.batches import Batch
from worker.ledger.model.jobs import Job
from worker.storage.store import Store

SINGLE: Final = "single"
"""The folder of clips that belong to no batch."""

_MAX_BYTES: Final = 120
"""The longest name. Some stores allow 143 bytes; the rest is for a number and a suffix."""
_MAX_FIELD_BYTES: Final = 60
_PUNCTUATION: Final = frozenset("._-")
_NUMBERS: Final = range(2, 10)
_SHORT_ID: Final = 8
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Names that Windows reserves."""


def clip_names(job: Job, *, template: str, ledger: Ledger, output: Store) -> Iterator[str]:
    """Reserve names for a job's clip, and yield their keys in the output store without a suffix.

    The caller must record a name before it creates the file, and take the next one if another
    ledger that shares the store has created a file of that name.

    Raises:
        StoreError: The store does not answer.
    """
    batch = ledger.batch(job.batch_id) if job.batch_id else None
    folder = batch_folder(batch)
    for name in candidate_names(fill_template(template, template_fields(job, batch)), job.id):
        if output.exists(f"{folder}/{name}.mp4"):
            continue
        if reserve_name(ledger, folder, name, job.id):
            yield f"{folder}/{name}"


def preferred_name(job: Job, *, template: str, ledger: Ledger) -> str:
    """Return the first of the job's ``clip_names``: its clip gets it if no other file has it."""
    batch = ledger.batch(job.batch_id) if job.batch_id else None
    return f"{batch_folder(batch)}/{fill_template(template, template_fields(job, batch))}"


def batch_folder(batch: Batch | None) -> str:
    """Return the folder for a batch's clips: its name, and a part of its id to make it unique."""
    if batch is None:
        return SINGLE
    return "-".join(filter(None, (_clean(batch.name, _MAX_FIELD_BYTES), batch.id[:_SHORT_ID])))


def template_fields(job: Job, batch: Batch | None) -> Mapping[str, str]:
    """Return the fields that a template may use. The caller's own columns are ``data.NAME``."""
    payload = job.payload
    return {
        "row": str(job.number("row") or ""),
        "image": PurePosixPath(image_name(str(payload["image"]))).stem,
        "key": str(payload.get("key") or ""),
        "job_id": job.id,
        "batch": batch.name if batch else "",
        "aspect": str(payload.get("aspect") or ""),
        "prompt": str(payload.get("prompt", "")),
        **{f"data.{name}": str(value) for name, value in payload.get("data", {}).items()},
    }


def image_name(image: str) -> str:
    """Return the file name in a path or an address."""
    path = unquote(urlsplit(image).path) if is_url(image) else image
    return PurePosixPath(path).name or image


def fill_template(template: str, fields: Mapping[str, str]) -> str:
    """Return a name made from a template such as ``{row:04}-{image}``. It is never empty.

    ``:04`` pads a field with zeros. A field without a value is left out.
    """

    def value(placeholder: re.Match[str]) -> str:
        text = _clean(fields.get(placeholder["field"], ""), _MAX_FIELD_BYTES)
        return text.zfill(int(placeholder["width"] or 0)) if text else ""

    name = _clean(PLACEHOLDER.sub(value, template), _MAX_BYTES) or "clip"
    return f"clip-{name}" if _DEVICES.match(name) else name


def candidate_names(name: str, job_id: str) -> Iterator[str]:
    """Return the names to try: the name itself, then with a number, then with the job's id."""
    yield name
    yield from (f"{name}-{number}" for number in _NUMBERS)
    yield f"{name}-{job_id[:_SHORT_ID]}"
    yield f"{name}-{job_id}"
    # Another program may have stored files under all of these names.
    yield from (f"{name}-{job_id}-{number}" for number in _NUMBERS)


def _clean(text: str, max_bytes: int) -> str:
    """Replace characters that are not safe in every file system, and cut the text to a length."""
    safe = (
        char if char in _PUNCTUATION or unicodedata.category(char)[0] in "LMN" else "-"
        for char in unicodedata.normalize("NFC", text)
    )
    name = re.sub(r"-{2,}", "-", "".join(safe)).strip("-._")
    return name.encode()[:max_bytes].decode(errors="ignore").strip("-._")

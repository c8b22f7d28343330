"""What a job brings: its image and what is attached, fetched, checked and cleaned."""

from pathlib import Path
from typing import Final

from tasks.payload import is_media_key, is_url
from tasks.step import Step
from worker.media import MAX_BYTES, PreparedFile, check_attachment, prepare_image
from worker.offload import offload
from worker.sources import fetch_image, resolve_path

_USES: Final = {"audio": "as the music", "video": "as a further clip", "image": "as a picture"}


def gather(step: Step, folder: Path) -> list[PreparedFile]:
    """The files to upload, the image first; it is left out when its address is passed on.

    Raises:
        MediaRefused: A file cannot be used.
        SourceRefused: A file may not, or could not, be fetched.
        StoreFailed: The media store failed.
    """
    payload = step.job.payload
    files: list[PreparedFile] = []
    if not payload.get("pass_url"):
        place = _place(folder, 0)
        given = str(payload["image"])
        raw = _fetch(step, str(payload.get("media") or given), place)
        files.append(offload(prepare_image, raw, _name_of(given, "image"), place))
    for number, given in enumerate(payload.get("attach") or (), start=1):
        place = _place(folder, number)
        raw = _fetch(step, given, place)
        name = f"attachment-{number}{Path(given).suffix}" if is_media_key(given) else given
        files.append(offload(check_attachment, raw, _name_of(name, f"attachment-{number}"), place))
    return files


def purpose(file: PreparedFile) -> str:
    """What an attached file is for, as the message says it."""
    use = _USES.get(file.content_type.partition("/")[0], "as material")
    return f"{file.name} {use}"


def _place(folder: Path, number: int) -> Path:
    place = folder / str(number)
    place.mkdir()
    return place


def _fetch(step: Step, given: str, place: Path) -> Path:
    settings, raw = step.runtime.settings, place / "given"
    if is_media_key(given):
        step.runtime.media.fetch(given, raw)
        return raw
    if is_url(given):
        fetch_image(
            given,
            raw,
            private_hosts=settings.private_hosts,
            api_host=settings.api_url,
            max_bytes=MAX_BYTES,
        )
        return raw
    return resolve_path(given, settings.media_roots)


def _name_of(given: str, default: str) -> str:
    return Path(given.split("?", 1)[0]).name or default

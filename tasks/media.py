"""From files that a producer names to contents in the media store, which any worker can read."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.payload import (
    ImageJob,
    InvalidPayloadError,
    content_suffix,
    is_media_key,
    is_url,
    media_key,
)
from worker.media.kinds import recognise
from worker.media.prepared import sha256_of
from worker.media.refusals import (
    MediaRefused,
    admit,
    unsupported_attachment,
    unsupported_picture,
)
from worker.storage import Store

Keep = Callable[[Path, str], str]
"""Takes a file and its name, and returns the key under which its content is, or would be, kept."""


def keep_in(store: Store) -> Keep:
    """Copy files into a store."""
    return lambda path, name: store.put_content(path, content_suffix(name))


def keep_nothing(path: Path, name: str) -> str:
    """Only tell the key: for a trial run."""
    return media_key(sha256_of(path), name)


def with_contents(job: ImageJob, keep: Keep, folder: Path | None = None) -> ImageJob:
    """The job with its files replaced by contents; addresses and known contents stay.

    Args:
        job: The job as given.
        keep: What is done with each file.
        folder: Where relative paths start, before the working directory is tried.

    Raises:
        InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept then.
    """
    problems = list(problems_of(job, folder))
    if problems:
        raise InvalidPayloadError(problems)
    job = _with_attachments(job, keep, folder)
    if job.media is None and _is_file_name(job.image):
        return job.model_copy(update={"media": keep(locate(job.image, folder), job.image)})
    return job


def with_attachments(job: ImageJob, keep: Keep) -> ImageJob:
    """The job with its attached files replaced by contents; its image is not looked at.

    Raises:
        InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept then.
    """
    problems = list(_attachment_problems(job, None))
    if problems:
        raise InvalidPayloadError(problems)
    return _with_attachments(job, keep, None)


def _with_attachments(job: ImageJob, keep: Keep, folder: Path | None) -> ImageJob:
    files = [name for name in job.attach if _is_file_name(name)]
    kept = {name: keep(locate(name, folder), name) for name in files}
    names = {key: Path(name).name for name, key in kept.items()}
    return job.model_copy(
        update={
            "attach": tuple(kept.get(name, name) for name in job.attach),
            "attach_names": {**job.attach_names, **names},
        }
    )


def problems_of(job: ImageJob, folder: Path | None = None) -> Iterator[str]:
    """What speaks against the files that a job names: a first look; the worker looks closely."""
    if job.media is None and _is_file_name(job.image):
        yield from _problem("image", job.image, folder)
    yield from _attachment_problems(job, folder)


def _attachment_problems(job: ImageJob, folder: Path | None) -> Iterator[str]:
    for name in job.attach:
        if _is_file_name(name):
            yield from _problem("attach", name, folder)


def locate(name: str, folder: Path | None) -> Path:
    """Where a path leads: from the manifest's folder, else from the working directory."""
    if folder is not None and (folder / name).exists():
        return folder / name
    return Path(name)


def _is_file_name(name: str) -> bool:
    return not is_url(name) and not is_media_key(name)


def _problem(field: str, name: str, folder: Path | None) -> Iterator[str]:
    try:
        _look(field, name, locate(name, folder))
    except FileNotFoundError:
        yield f"{field}: there is no file {name}"
    except MediaRefused as error:
        yield f"{field}: {error.message} {error.remedy}"
    except OSError as error:
        yield f"{field}: {name} cannot be read: {error.strerror}"


def _look(field: str, name: str, path: Path) -> None:
    admit(path, name)
    kind = recognise(path)
    if field == "image" and (kind is None or kind.family != "picture"):
        raise unsupported_picture(name, "is no picture")
    if kind is None:
        raise unsupported_attachment(name, "is no picture, video or sound")

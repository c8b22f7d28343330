"""From files that a producer names to contents in the media store, which any worker can read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class _Known:
    """A file that was looked at: where it is, what shows that it changed, and its key."""

    path: Path
    signature: tuple[int, ...]
    key: str = ""


class Contents:
    """Files as contents: each is looked at and kept once, for as long as it stays unchanged.

    Args:
        keep: What is done with each file.
        folder: Where relative paths start, before the working directory is tried.
    """

    def __init__(self, keep: Keep, folder: Path | None = None) -> None:
        self._keep = keep
        self._folder = folder
        self._known: dict[tuple[str, str], _Known] = {}

    def of(self, job: ImageJob) -> ImageJob:
        """The job with its files replaced by contents; addresses and known contents stay.

        Raises:
            InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept.
        """
        problems = list(self.problems_of(job))
        if problems:
            raise InvalidPayloadError(problems)
        job = self._with_attachments(job)
        if job.media is None and _is_file_name(job.image):
            return job.model_copy(update={"media": self._key("image", job.image)})
        return job

    def of_attachments(self, job: ImageJob) -> ImageJob:
        """The job with its attached files replaced by contents; its image is not looked at.

        Raises:
            InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept.
        """
        problems = list(self._attachment_problems(job))
        if problems:
            raise InvalidPayloadError(problems)
        return self._with_attachments(job)

    def problems_of(self, job: ImageJob) -> Iterator[str]:
        """What speaks against a job's files: a first look; the worker looks closely."""
        if job.media is None and _is_file_name(job.image):
            yield from self._problem("image", job.image)
        yield from self._attachment_problems(job)

    def path_of(self, name: str) -> Path:
        """Where a path leads: from the folder, else from the working directory."""
        if self._folder is not None and (self._folder / name).exists():
            return self._folder / name
        return Path(name)

    def _attachment_problems(self, job: ImageJob) -> Iterator[str]:
        for name in filter(_is_file_name, job.attach):
            yield from self._problem("attach", name)

    def _with_attachments(self, job: ImageJob) -> ImageJob:
        kept = {name: self._key("attach", name) for name in filter(_is_file_name, job.attach)}
        if not kept:
            return job
        names = {key: Path(name).name for name, key in kept.items()}
        return job.model_copy(
            update={
                "attach": tuple(kept.get(name, name) for name in job.attach),
                "attach_names": {**job.attach_names, **names},
            }
        )

    def _key(self, field: str, name: str) -> str:
        known = self._known[field, name]
        if not known.key:
            known = replace(known, key=self._keep(known.path, name))
            self._known[field, name] = known
        return known.key

    def _problem(self, field: str, name: str) -> Iterator[str]:
        try:
            self._look(field, name)
        except FileNotFoundError:
            yield f"{field}: there is no file {name}"
        except MediaRefused as error:
            yield f"{field}: {error.message} {error.remedy}"
        except OSError as error:
            yield f"{field}: {name} cannot be read: {error.strerror}"

    def _look(self, field: str, name: str) -> None:
        known = self._known.get((field, name))
        if known is not None and known.signature == _signature(known.path):
            return
        path = self.path_of(name)
        signature = _signature(path)
        admit(path, name)
        kind = recognise(path)
        if field == "image" and (kind is None or kind.family != "picture"):
            raise unsupported_picture(name, "is no picture")
        if kind is None:
            raise unsupported_attachment(name, "is no picture, video or sound")
        self._known[field, name] = _Known(path, signature)


def problems_of(job: ImageJob) -> Iterator[str]:
    """What speaks against the files that a job names, from the working directory."""
    return Contents(keep_nothing).problems_of(job)


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_file_name(name: str) -> bool:
    return not is_url(name) and not is_media_key(name)

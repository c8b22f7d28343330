"""From files that a producer names to contents in the media store, which any worker can read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from tasks.schema.addresses import is_url
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.media_keys import content_suffix, is_media_key, media_key
from worker.file_refusal import FileRefusedError
from worker.media.file_types import detect_file_type
from worker.media.prepared_file import sha256_of
from worker.media.refusals import (
    check_size,
    unsupported_attachment,
    unsupported_image,
)
from worker.storage.store import Store

Keep = Callable[[Path, str], str]
"""Takes a file and its name, and returns the key under which its content is, or would be, kept."""


def copy_to(store: Store) -> Keep:
    """Copy files into a store."""
    return lambda path, name: store.put_content(path, content_suffix(name))


def hash_only(path: Path, name: str) -> str:
    """Only tell the key: for a trial run."""
    return media_key(sha256_of(path), name)


CACHE_SIZE: Final = 20_000
"""Files that are remembered: some ten megabytes. More than a page of rows can name."""
COPIES_AT_ONCE: Final = 16
"""Files on their way into the store: each waits for the disk several times."""


class _File(NamedTuple):
    """A file as a job names it, and in which field: not every attachment is a picture."""

    field: Literal["image", "attach"]
    name: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A file that was looked at: where it is, what shows that it changed, and its key."""

    path: Path
    signature: tuple[int, ...]
    key: str = ""


class LocalFiles:
    """Files as contents: each is looked at and kept once, for as long as it stays unchanged.

    Args:
        keep: What is done with each file.
        folder: Where relative paths start, before the working directory is tried.
        cache_size: How many are remembered; what was forgotten is only read again.
    """

    def __init__(
        self, keep: Keep, folder: Path | None = None, cache_size: int = CACHE_SIZE
    ) -> None:
        self._keep = keep
        self._folder = folder
        self._cache_size = cache_size
        self._known: dict[_File, _Known] = {}

    def replace_in(self, job: ImageJob) -> ImageJob:
        """The job with its files replaced by contents; addresses and known contents stay.

        Raises:
            InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept.
        """
        return _good(self.replace_in_all([job])[0])

    def replace_in_all(self, jobs: Sequence[ImageJob]) -> list[ImageJob | InvalidPayloadError]:
        """As ``replace_in``, for many jobs; their files are stored concurrently.

        Nothing is kept of a job whose files cannot be used; the error stands in its place.
        """
        return self._replaced(jobs, [_files_of(job) for job in jobs])

    def replace_attachments(self, job: ImageJob) -> ImageJob:
        """The job with its attached files replaced by contents; its image is not looked at.

        Raises:
            InvalidPayloadError: Files cannot be used; all of them are named. Nothing was kept.
        """
        attached = [file for file in _files_of(job) if file.field == "attach"]
        return _good(self._replaced([job], [attached])[0])

    def problems_of(self, job: ImageJob) -> Iterator[str]:
        """What speaks against a job's files: a first look; the worker looks closely."""
        return self._problems(_files_of(job))

    def path_of(self, name: str) -> Path:
        """Where a path leads: from the folder, else from the working directory."""
        if self._folder is not None and (self._folder / name).exists():
            return self._folder / name
        return Path(name)

    def _replaced(
        self, jobs: Sequence[ImageJob], files: Sequence[list[_File]]
    ) -> list[ImageJob | InvalidPayloadError]:
        if len(self._known) > self._cache_size:
            self._known.clear()
        problems = [list(self._problems(named)) for named in files]
        self._keep_all(
            file
            for named, found in zip(files, problems, strict=True)
            for file in named
            if not found
        )
        return [
            InvalidPayloadError(found) if found else self._with_contents(job, named)
            for job, named, found in zip(jobs, files, problems, strict=True)
        ]

    def _keep_all(self, files: Iterable[_File]) -> None:
        missing = list(dict.fromkeys(file for file in files if not self._known[file].key))
        if not missing:
            return
        with ThreadPoolExecutor(COPIES_AT_ONCE) as keepers:
            paths = [self._known[file].path for file in missing]
            keys = keepers.map(self._keep, paths, [file.name for file in missing])
            for file, key in zip(missing, keys, strict=True):
                self._known[file] = replace(self._known[file], key=key)

    def _with_contents(self, job: ImageJob, files: list[_File]) -> ImageJob:
        kept = {file: self._known[file].key for file in files}
        attached = {file.name: key for file, key in kept.items() if file.field == "attach"}
        update: dict[str, object] = {}
        if len(kept) > len(attached):
            update["media"] = kept[_File("image", job.image)]
        if attached:
            names = {key: Path(name).name for name, key in attached.items()}
            update["attach"] = tuple(attached.get(name, name) for name in job.attach)
            update["attach_names"] = {**job.attach_names, **names}
        return job.model_copy(update=update) if update else job

    def _problems(self, files: Iterable[_File]) -> Iterator[str]:
        for file in files:
            try:
                self._look(file)
            except FileNotFoundError:
                yield f"{file.field}: there is no file {file.name}"
            except FileRefusedError as error:
                yield f"{file.field}: {error.message} {error.remedy}"
            except OSError as error:
                yield f"{file.field}: {file.name} cannot be read: {error.strerror}"

    def _look(self, file: _File) -> None:
        known = self._known.get(file)
        if known is not None and known.signature == _signature(known.path):
            return
        path = self.path_of(file.name)
        signature = _signature(path)
        check_size(path, file.name)
        kind = detect_file_type(path)
        if file.field == "image" and (kind is None or kind.family != "image"):
            raise unsupported_image(file.name, "is no picture")
        if kind is None:
            raise unsupported_attachment(file.name, "is no picture, video or sound")
        self._known[file] = _Known(path, signature)


def problems_of(job: ImageJob) -> Iterator[str]:
    """What speaks against the files that a job names, from the working directory."""
    return LocalFiles(hash_only).problems_of(job)


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _files_of(job: ImageJob) -> list[_File]:
    files = [_File("attach", name) for name in job.attach if _is_file_name(name)]
    if job.media is None and _is_file_name(job.image):
        files.insert(0, _File("image", job.image))
    return files


def _good(found: ImageJob | InvalidPayloadError) -> ImageJob:
    if isinstance(found, InvalidPayloadError):
        raise found
    return found


def _is_file_name(name: str) -> bool:
    return not is_url(name) and not is_media_key(name)

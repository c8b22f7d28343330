"""Copies the files of jobs into the media store, where every worker can read them.

The files are local, in an archive or in another store, and are read with the rights of the caller.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from config.store_address import is_store_address
from tasks.schema.addresses import is_url
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.media_keys import is_media_key, media_key
from worker.file_refusal import FileRefusedError
from worker.media.file_types import detect_file_type
from worker.media.prepared_file import sha256_of
from worker.media.refusals import (
    MAX_SOURCE_BYTES,
    check_size,
    unsupported_attachment,
    unsupported_image,
)
from worker.resources.scratch import scratch_folder
from worker.storage.file_spellings import FileSpellings
from worker.storage.source_store import SourceStores

StoreFile = Callable[[Path, str], str]
"""Stores the content of a path under a file name, and returns its media key."""


def hash_only(path: Path, name: str) -> str:
    """Return the media key of a file without storing it, for a dry run."""
    return media_key(sha256_of(path), name)


CACHE_SIZE: Final = 20_000
"""How many files are remembered: more than one page of rows names. They take about 10 MB."""
RECHECK_SECONDS: Final = 1.0
"""How long a file of a manifest is assumed to be unchanged, because many rows may name it."""
CONCURRENT_COPIES: Final = 16
"""Files that are stored concurrently, because each waits for the disk several times."""


NO_SIGNATURE: Final = ()
"""The signature of a file in a store or an archive: it is copied once, and never checked again."""


class _File(NamedTuple):
    """A file as a job names it. The field decides which types of files are allowed."""

    field: Literal["image", "attach"]
    name: str


@dataclass(frozen=True, slots=True)
class _CheckedFile:
    """A valid file: its path, a signature that changes with its content, and its key if stored."""

    path: Path
    signature: tuple[int, ...]
    key: str = ""


class Archive(Protocol):
    """A file that holds images."""

    def fetch(self, name: str, to: Path, *, max_bytes: int) -> None:
        """Copy the image of a name into a file; `FileRefusedError` if it cannot be used."""


class LocalFiles:
    """Replaces the files of jobs by media keys. An unchanged file is read only once.

    Args:
        store_file: Stores a file: ``copy_to_media_store(producer)``; ``hash_only`` for a dry run.
        folder: Base of relative paths. Paths that do not exist in it start at the working
            directory.
        archive: The archive that contains all images, under the names that the jobs have for them.
        cache_size: How many files are remembered.
        recheck_after: The seconds after which a file is checked again for changes.
    """

    def __init__(
        self,
        store_file: StoreFile,
        folder: Path | None = None,
        archive: Archive | None = None,
        cache_size: int = CACHE_SIZE,
        recheck_after: float = 0,
    ) -> None:
        self._store_file = store_file
        self._archive = archive
        self._folder = folder
        self._cache_size = cache_size
        self._recheck_after = recheck_after
        self._unchanged: set[_File] = set()
        self._unchanged_since = 0.0
        self._checked: dict[_File, _CheckedFile] = {}
        self._refused: dict[_File, str] = {}
        self._stores = SourceStores()
        self._spellings = FileSpellings()

    def replace_in(self, job: ImageJob, *, image: bool = True) -> ImageJob:
        """Return a job with media keys for its files; without ``image``, for its attachments only.

        Raises:
            InvalidPayloadError: Files cannot be used. All of them are named, and none was stored.
        """
        (replaced,) = self.replace_in_all([job], image=image)
        if isinstance(replaced, InvalidPayloadError):
            raise replaced
        return replaced

    def replace_in_all(
        self, jobs: Sequence[ImageJob], *, image: bool = True
    ) -> list[ImageJob | InvalidPayloadError]:
        """Store the files of many jobs concurrently, and return the jobs with media keys for them.

        A job whose files cannot be used is replaced by the error, and none of its files is stored.
        """
        self._forget()
        files = [_local_files(job, image=image) for job in jobs]
        self._fetch_and_store(file for named in files for file in named)
        problems = [list(self._problems(named)) for named in files]
        self._store_all(
            file
            for named, found in zip(files, problems, strict=True)
            for file in named
            if not found
        )
        return [
            InvalidPayloadError(found) if found else self._with_keys(job, named)
            for job, named, found in zip(jobs, files, problems, strict=True)
        ]

    def _forget(self) -> None:
        """Forget checks that are too old, and all files if there are too many."""
        now = time.monotonic()
        if now - self._unchanged_since >= self._recheck_after:
            self._unchanged.clear()
            self._unchanged_since = now
        if len(self._checked) > self._cache_size:
            self._unchanged.clear()
            self._checked.clear()
            self._refused.clear()

    def problems_of(self, job: ImageJob) -> Iterator[str]:
        """Return the problems that a quick check finds in a job's files. Workers check all."""
        files = _local_files(job, image=True)
        self._fetch_and_store(files)
        return self._problems(files)

    def path_of(self, name: str) -> Path:
        """Return the path of a file that a job names, even if the name is spelled differently."""
        paths = list(self._paths(name))
        for path in (*paths, *map(self._spellings.find, paths)):
            if path.exists():
                return path
        return Path(name)

    def _paths(self, name: str) -> Iterator[Path]:
        """Yield the paths that a name may mean.

        It may be relative to the folder, the working directory or the home directory, and may have
        the separators of Windows.
        """
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            if self._folder is not None:
                yield self._folder / spelled
            yield Path(spelled)
            if spelled.startswith("~/"):
                # A container may run as a user without a home.
                with suppress(RuntimeError):
                    yield Path(spelled).expanduser()

    def _problems(self, files: Iterable[_File]) -> Iterator[str]:
        for file in files:
            if file in self._refused:
                yield self._refused[file]
                continue
            try:
                self._check(file)
            except FileNotFoundError:
                yield f"{file.field}: there is no file {file.name}"
            except FileRefusedError as error:
                yield _refusal(file, error)
            except OSError as error:
                yield f"{file.field}: {file.name} cannot be read: {error.strerror}"

    def _check(self, file: _File) -> None:
        checked = self._checked.get(file)
        # A file that is not stored yet must still exist.
        if checked is not None and checked.key and file in self._unchanged:
            return
        if checked is None or not _is_unchanged(checked):
            path = self.path_of(file.name)
            signature = _signature(path)
            _check_content(path, file)
            self._checked[file] = _CheckedFile(path, signature)
        self._unchanged.add(file)

    def _must_be_fetched(self, file: _File) -> bool:
        return is_store_address(file.name) or (self._archive is not None and file.field == "image")

    def _fetch_and_store(self, files: Iterable[_File]) -> None:
        """Fetch, check and store the files that are in stores or in the archive."""
        new = [
            file
            for file in dict.fromkeys(files)
            if file not in self._checked
            and file not in self._refused
            and self._must_be_fetched(file)
        ]
        if not new:
            return
        with ThreadPoolExecutor(CONCURRENT_COPIES) as pool:
            for file, fetched in zip(new, pool.map(self._fetch_one, new), strict=True):
                if isinstance(fetched, FileRefusedError):
                    self._refused[file] = _refusal(file, fetched)
                else:
                    self._checked[file] = fetched

    def _fetch_one(self, file: _File) -> "_CheckedFile | FileRefusedError":
        fetch = self._stores.fetch if self._archive is None else self._archive.fetch
        with scratch_folder() as folder:
            path = Path(folder) / "copy"
            try:
                fetch(file.name, path, max_bytes=MAX_SOURCE_BYTES)
                _check_content(path, file)
            except FileRefusedError as error:
                return error
            return _CheckedFile(path, NO_SIGNATURE, self._store_file(path, file.name))

    def _store_all(self, files: Iterable[_File]) -> None:
        missing = list(dict.fromkeys(file for file in files if not self._checked[file].key))
        if not missing:
            return
        with ThreadPoolExecutor(CONCURRENT_COPIES) as pool:
            paths = [self._checked[file].path for file in missing]
            keys = pool.map(self._store_file, paths, [file.name for file in missing])
            for file, key in zip(missing, keys, strict=True):
                self._checked[file] = replace(self._checked[file], key=key)

    def _with_keys(self, job: ImageJob, files: list[_File]) -> ImageJob:
        if not files:
            return job
        if len(files) == 1 and files[0].field == "image":
            return job.model_copy(update={"media": self._checked[files[0]].key})
        keys = {file: self._checked[file].key for file in files}
        attached = {file.name: key for file, key in keys.items() if file.field == "attach"}
        update: dict[str, object] = {}
        if len(keys) > len(attached):
            update["media"] = keys[_File("image", job.image)]
        if attached:
            names = {key: Path(name).name for name, key in attached.items()}
            update["attach"] = tuple(attached.get(name, name) for name in job.attach)
            update["attach_names"] = {**job.attach_names, **names}
        return job.model_copy(update=update)


def _is_unchanged(checked: _CheckedFile) -> bool:
    return checked.signature == NO_SIGNATURE or checked.signature == _signature(checked.path)


def _check_content(path: Path, file: _File) -> None:
    """Check the size and the type of a file, and the shape of an image."""
    check_size(path, file.name)
    kind = detect_file_type(path)
    if file.field == "image" and (kind is None or kind.family != "image"):
        raise unsupported_image(file.name, "is not a picture")
    if file.field == "image":
        # The decoders are slow to import, and most callers submit no local image.
        from worker.media.image_headers import check_image_shape  # noqa: PLC0415

        check_image_shape(path, file.name)
    if kind is None:
        raise unsupported_attachment(file.name, "is not a picture, a video or a sound file")


def _refusal(file: _File, error: FileRefusedError) -> str:
    return f"{file.field}: {error.message} {error.remedy}"


def _signature(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _local_files(job: ImageJob, *, image: bool) -> list[_File]:
    files = [_File("attach", name) for name in job.attach if _is_path(name)]
    if image and job.media is None and _is_path(job.image):
        files.insert(0, _File("image", job.image))
    return files


@lru_cache(maxsize=CACHE_SIZE)
def _is_path(name: str) -> bool:
    return not is_url(name) and not is_media_key(name)

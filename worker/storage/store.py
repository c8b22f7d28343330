"""Stores of files over fsspec: what is under its final name is whole, whoever dies meanwhile.

A file is written under a temporary name and moved into place. On a local store it is on the disk
before it is moved, so that a power cut leaves the old state or the new one.
"""

import errno
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import fsspec

from config.redaction import redact
from worker.faultpoints import around
from worker.media.prepared_file import sha256_of
from worker.resources.offload import offload
from worker.resources.scratch import scratch_folder

_PARTS: Final = ".parts"
_PROBE: Final = b"reelqueue was here\n"
_SEGMENT: Final = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_SUFFIX: Final = re.compile(r"(\.[A-Za-z0-9]{1,8})?")
_LONGEST_SEGMENT: Final = 255
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SETTING: Final = "REELQUEUE_MEDIA_URL or REELQUEUE_OUTPUT_URL, whichever names it,"


class StoreError(Exception):
    """A store does not do what it should: full, forbidden, out of reach. It may do so later.

    Attributes:
        message: What happened, for people.
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """The message: remedies are shown beside it, not in it."""
        return self.message


class NotStoredError(StoreError):
    """There is nothing under this key."""


class Store:
    """A folder of files, on a local disk or anywhere that fsspec reaches.

    Work on a local disk is offloaded. Other stores talk over sockets, which yield by themselves.

    Args:
        url: ``file:///folder``, a plain path, or any other URL that fsspec knows.

    Raises:
        StoreError: The URL is of no known kind, or the package that it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = re.sub(r"//[^/@]*@", "//", url).rstrip("/")
        self._folder = _folder_of(url)
        self._source = str(self._folder) if self._folder else url
        self._turn = threading.RLock()
        self._is_broken = False
        with self._trouble("opened"):
            self._open()

    def _open(self) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(self._source, use_listings_cache=False)
        self._is_broken = False

    def __repr__(self) -> str:
        """The address, without a name or a password."""
        return f"Store({self._url!r})"

    def put_file(self, local: Path, key: str) -> None:
        """Store a file; another one under the same key is replaced at once, never half.

        Raises:
            StoreError: It could not be stored; what was there before is still there.
            FileNotFoundError: There is no such local file.
        """
        path = self._path(key)
        local.stat()
        with self._trouble("written"):
            if self._folder is None:
                self._place_remote(local, path)
            else:
                offload(_place_local, local, self._folder, key)

    def put_content(self, local: Path, suffix: str = "") -> str:
        """Store a file once, under a key made of its content.

        Args:
            local: The file.
            suffix: The ending of the key, such as ``.jpg``.

        Returns:
            The key: the first two letters of the SHA-256, a slash, all of it, the ending.

        Raises:
            StoreError: It could not be stored.
            ValueError: The ending is none.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{suffix!r} is no ending of a file name")
        digest = offload(sha256_of, local)
        key = f"{digest[:2]}/{digest}{suffix}"
        if not self.exists(key):
            self.put_file(local, key)
        return key

    def fetch(self, key: str, to: Path) -> None:
        """Copy what is stored to a local file, which appears when it is whole.

        Raises:
            NotStoredError: There is nothing under this key.
            StoreError: It could not be read, or not be written here.
        """
        path = self._path(key)
        part = to.with_name(f".{uuid4().hex}.part")
        with self._trouble("read"):
            try:
                if self._folder is None:
                    self._info(key)
                    self._fs.get_file(path, str(part))
                else:
                    source = self._folder / key
                    if not source.is_file():
                        raise self._not_stored(key)
                    offload(shutil.copyfile, source, part)
                part.replace(to)
            finally:
                part.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Whether a file is stored under this key.

        Raises:
            StoreError: The store cannot be asked; that is no «no».
        """
        try:
            self._info(key)
        except NotStoredError:
            return False
        return True

    def size(self, key: str) -> int:
        """The size of a stored file, in bytes.

        Raises:
            NotStoredError: There is nothing under this key.
            StoreError: The store cannot be asked.
        """
        return int(self._info(key)["size"])

    def delete(self, key: str) -> None:
        """Delete a file; deleting it again changes nothing.

        Raises:
            StoreError: It is still there.
        """
        path = self._path(key)
        with self._trouble("deleted"):
            try:
                self._fs.rm_file(path)
            except FileNotFoundError:
                return
            except Exception:
                # Some backends have no word of their own for «not there».
                if self._fs.exists(path):
                    raise

    def sweep(self, seconds: float) -> int:
        """Delete what killed processes left half written, begun longer ago than so many seconds.

        Returns:
            How many files went.

        Raises:
            StoreError: The store cannot be asked, or does not let one go.
        """
        before = time.time() - seconds
        with self._trouble("swept"):
            try:
                found = self._fs.ls(self._parts, detail=True)
            except FileNotFoundError:
                return 0
            parts = [entry["name"] for entry in found if entry["type"] == "file"]
            old = [part for part in parts if _begun(part) < before]
            for part in old:
                self._fs.rm_file(part)
        return len(old)

    def url(self, key: str) -> str:
        """The address of a file for people and programs; no name or password stands in it."""
        self._path(key)
        if self._folder is not None:
            return (self._folder / key).as_uri()
        return f"{self._url}/{quote(key)}"

    def local_path(self, key: str) -> Path | None:
        """Where the file lies on this machine's disk, whether it is there or not.

        Returns:
            None where the store is not a local folder.
        """
        self._path(key)
        return None if self._folder is None else self._folder / key

    def check(self) -> None:
        """Write, read and delete a small file.

        Raises:
            StoreError: With what to do about it.
        """
        key = f"probe-{uuid4().hex}"
        with scratch_folder() as folder:
            sent, back = Path(folder) / "sent", Path(folder) / "back"
            sent.write_bytes(_PROBE)
            self.put_file(sent, key)
            try:
                self.fetch(key, back)
            finally:
                self.delete(key)
            if back.read_bytes() != _PROBE:
                raise StoreError(
                    f"The store {self._url} gives back something else than it was given.",
                    f"Look into the store, or point {_SETTING} elsewhere.",
                )

    def _path(self, key: str) -> str:
        """The path of a key in the store; a key never leads out of it."""
        segments = key.split("/")
        if not all(
            _SEGMENT.fullmatch(segment) and len(segment.encode()) <= _LONGEST_SEGMENT
            for segment in segments
        ):
            raise ValueError(f"{key!r} is no key of a store")
        return f"{self._root.rstrip('/')}/{key}"

    def _info(self, key: str) -> dict[str, Any]:
        path = self._path(key)
        with self._trouble("read"):
            try:
                info: dict[str, Any] = self._fs.info(path)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise self._not_stored(key) from error
        if info["type"] != "file":
            raise self._not_stored(key)
        return info

    def _not_stored(self, key: str) -> NotStoredError:
        return NotStoredError(
            f"There is no {key} in the store {self._url}.",
            "Submit the file again, or restore it there.",
        )

    @property
    def _parts(self) -> str:
        return f"{self._root.rstrip('/')}/{_PARTS}"

    def _place_remote(self, local: Path, path: str) -> None:
        part = f"{self._parts}/{_part_name()}"
        try:
            with around("store.write"):
                self._fs.put_file(str(local), part)
            self._fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            with around("store.rename"):
                self._fs.mv(part, path)
        except BaseException:
            self._forget(part)
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have a backend that lives on one connection to oneself, and anew after a failure.

        Those are the ones that fsspec does not share, such as FTP: a connection carries one
        request at a time, and the server closes it when it is quiet for long.
        """
        if self._folder is not None or getattr(getattr(self, "_fs", None), "cachable", True):
            yield
            return
        with self._turn:
            if self._is_broken:
                self._open()
            yield

    def _forget(self, part: str) -> None:
        """Delete what was written of a file that failed; if that fails too, it is only clutter."""
        try:
            self._fs.rm_file(part)
        except Exception:  # noqa: BLE001 - the first failure is the one that is told
            return

    @contextmanager
    def _trouble(self, done: str) -> Iterator[None]:
        """Turn whatever a backend raises into one exception that says what to do."""
        try:
            with self._alone():
                yield
        except StoreError:
            raise
        except Exception as error:
            self._is_broken = True
            # Backends raise what their own libraries raise; there is no common class.
            raise StoreError(
                f"The store {self._url} cannot be {done}: {_told(error)}.", _remedy(error)
            ) from error


def _folder_of(url: str) -> Path | None:
    """The folder that a URL or a plain path names; None for other stores."""
    parts = urlsplit(url)
    if parts.scheme in {"file", "local"}:
        return Path(unquote(parts.path)).absolute()
    return None if parts.scheme else Path(url).absolute()


def _place_local(local: Path, folder: Path, key: str) -> None:
    target, part = folder / key, folder / _PARTS / _part_name()
    part.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with around("store.write"):
            shutil.copyfile(local, part)
            _sync(part)
        with around("store.rename"):
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    # The names must be on the disk too: that of the file, and those of folders made for it.
    for parent in target.parents:
        _sync(parent)
        if parent == folder:
            break


def _part_name() -> str:
    """A name of nobody else's. It tells when it was begun: not every backend keeps times."""
    return f"{int(time.time())}-{uuid4().hex}"


def _begun(part: str) -> float:
    """When a part was begun, in seconds since the epoch; what is no part was never."""
    moment = PurePosixPath(part).name.partition("-")[0]
    return float(moment) if moment.isdecimal() else math.inf


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return redact(str(error)).rstrip(".") or type(error).__name__


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"Install the package that this kind of store needs, or point {_SETTING} elsewhere."
    if isinstance(error, ValueError):
        return f"Point {_SETTING} at a file:// folder or another URL that fsspec knows."
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return f"Make room there, or point {_SETTING} at a store with room."
    if number in _FORBIDDEN:
        return "Let the user that runs the worker read and write there."
    return f"See that the store can be reached, or point {_SETTING} elsewhere."

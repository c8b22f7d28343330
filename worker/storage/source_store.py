"""Reads source files from buckets and SFTP servers.

The command line reads all files that the person who runs it may read. For other services, a worker
reads only files under the addresses in its settings.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from config.redaction import redact
from config.store_address import StoreAddress
from worker.file_refusal import FileRefusedError, RefusalCode, too_large
from worker.storage.errors import describe
from worker.storage.object_folder import ObjectFolder
from worker.storage.sftp_folder import SftpFolder

_EXTRAS: Final = {"s3": "s3", "az": "s3", "gs": "gcs", "sftp": "sftp"}
_NO_BUCKET: Final = "NoSuchBucket"
_NO_CREDENTIALS: Final = (
    *("169.254.169.254", "metadata.google", "No credentials", "Account must be specified"),
)
"""Parts of the errors of `obstore` if no credentials are set. It then requests some from the
metadata service of a cloud, which most machines do not have."""
_STATUS: Final = re.compile(r"status code: (\d{3})")
_ERROR_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_REFUSED: Final = frozenset({"401", "403"})
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "sftp": "an SSH agent or a key in ~/.ssh",
}


class SourceStore:
    """Reads the files of one bucket or server.

    Args:
        address: Any address in it.

    Raises:
        FileRefusedError: The package that this kind of store needs is not installed, or its
            settings in the environment are invalid.
    """

    def __init__(self, address: StoreAddress) -> None:
        self._root = StoreAddress(address.scheme, address.place)
        with self._errors(self._root):
            folder = SftpFolder if address.scheme == "sftp" else ObjectFolder
            self._files: SftpFolder | ObjectFolder = folder(self._root.root)

    def names(self, folder: StoreAddress) -> Iterator[str]:
        """Yield the paths of the files in a folder and its sub-folders, relative to it, in order.

        Raises:
            FileRefusedError: The store cannot be read.
        """
        with self._errors(folder):
            depth = len(folder.key) + 1 if folder.path else 0
            for key in self._files.keys(folder.key):
                if len(key) > depth:
                    yield key[depth:]

    def fetch(
        self, file: StoreAddress, to: Path, *, max_bytes: int, under: StoreAddress | None = None
    ) -> None:
        """Copy a file to a local file.

        Args:
            file: The file.
            to: Where the copy goes; it does not exist after a failure.
            max_bytes: The largest file that is accepted.
            under: The folder that a link must not lead out of.

        Raises:
            FileRefusedError: It is missing or cannot be read (``source_unreachable``), is too
                large (``file_too_large``) or leads elsewhere (``forbidden_source``).
        """
        try:
            with self._errors(file):
                is_whole = self._files.copy(file.key, to, max_bytes, under.key if under else "")
        except BaseException:
            to.unlink(missing_ok=True)
            raise
        if not is_whole:
            to.unlink(missing_ok=True)
            raise too_large(str(file), max_bytes)

    @contextmanager
    def _errors(self, address: StoreAddress) -> Iterator[None]:
        """Raise a `FileRefusedError` for any exception: those of stores have no common class."""
        try:
            yield
        except (FileRefusedError, GeneratorExit):
            raise
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise self._no_bucket() from None
            raise _refused(
                f"There is no file {address}.", "Check its spelling, and that it was uploaded."
            ) from None
        except Exception as error:
            raise self._refusal(address, error) from error

    def _no_bucket(self) -> FileRefusedError:
        return _refused(f"There is no bucket {self._root.root}.", "Check its spelling.")

    def _refusal(self, address: StoreAddress, error: Exception) -> FileRefusedError:
        scheme, text = self._root.scheme, redact(str(error))
        if isinstance(error, ImportError):
            return _refused(
                f"{address} cannot be read: {describe(error)}.",
                f"Install the package for such stores: pip install 'reelqueue[{_EXTRAS[scheme]}]'.",
            )
        if isinstance(error, PermissionError):
            return _refused(f"{address} may not be read: {describe(error)}.", _rights(scheme))
        status, code = _STATUS.search(text), _ERROR_CODE.search(text)
        if _NO_BUCKET in text:
            return self._no_bucket()
        if any(part in text for part in _NO_CREDENTIALS):
            return _refused(
                f"There are no credentials for {self._root.root}.", f"Set {_CREDENTIALS[scheme]}."
            )
        if status and status[1] in _REFUSED:
            why = f" ({code[1]})" if code else ""
            return _refused(
                f"{address} may not be read with these credentials: HTTP status {status[1]}{why}.",
                _rights(scheme),
            )
        return _refused(
            f"{address} cannot be read: {_brief(text) or type(error).__name__}.",
            f"Check that {self._root.root} can be reached, and its settings in the environment.",
            repeatable=not isinstance(error, ValueError),
        )


class SourceStores:
    """Reads files of any stores. Each store is opened once."""

    def __init__(self) -> None:
        self._stores: dict[str, SourceStore] = {}
        self._lock = threading.Lock()

    def fetch(self, file: str, to: Path, *, max_bytes: int) -> None:
        """Copy a file to a local file, as ``SourceStore.fetch``.

        Raises:
            FileRefusedError: Its address is invalid (``bad_request``), or as
                ``SourceStore.fetch`` says.
        """
        address = _parsed(file)
        with self._lock:
            if address.root not in self._stores:
                self._stores[address.root] = SourceStore(address)
            store = self._stores[address.root]
        store.fetch(address, to, max_bytes=max_bytes)


def _parsed(text: str) -> StoreAddress:
    try:
        return StoreAddress.parse(text)
    except ValueError as error:
        raise _refused(f"{text} {error}.", "Correct it.", code="bad_request") from None


def fetch_allowed(
    file: StoreAddress, roots: Iterable[StoreAddress | Path], to: Path, *, max_bytes: int
) -> None:
    """Copy a file that another service names, if it lies under an address that the settings allow.

    Raises:
        FileRefusedError: It is not allowed (``forbidden_source``), or as ``SourceStore.fetch``
            says.
    """
    SourceStore(file).fetch(file, to, max_bytes=max_bytes, under=_allowing_root(file, roots))


def check_allowed_address(text: str, roots: Iterable[StoreAddress | Path]) -> None:
    """Check that the address of a file is valid and under an allowed one, without reading the file.

    Raises:
        FileRefusedError: It is not allowed (``forbidden_source``) or invalid (``bad_request``).
    """
    _allowing_root(_parsed(text), roots)


def _allowing_root(file: StoreAddress, roots: Iterable[StoreAddress | Path]) -> StoreAddress:
    for root in roots:
        if isinstance(root, StoreAddress) and file.is_under(root):
            return root
    raise _refused(
        f"{file} is not under an allowed address.",
        "Add its folder to REELQUEUE_MEDIA_ROOTS of the workers, or submit it with the command "
        "line.",
        code="forbidden_source",
    )


def _rights(scheme: str) -> str:
    return f"Use credentials that may list and read it: set {_CREDENTIALS[scheme]}."


def _brief(text: str) -> str:
    """Return the first line of an error, without details of the library before " - "."""
    line = text.strip().partition("\n")[0].rstrip(".")
    return line.rpartition(" - ")[2] if " - " in line else line


def _refused(
    message: str,
    remedy: str,
    *,
    code: RefusalCode = "source_unreachable",
    repeatable: bool = False,
) -> FileRefusedError:
    return FileRefusedError(code, message, remedy, repeatable=repeatable)

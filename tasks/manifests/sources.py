"""Where manifests come from: paths, folders in stores, and web addresses."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from config.settings import Settings
from config.store_address import StoreAddress, is_store_address
from tasks.manifests.columns import ColumnChoices, Columns
from tasks.manifests.formats.folder_lines import IMAGE_SUFFIXES, LISTED_SUFFIXES, LeftOut
from tasks.manifests.formats.rejects import CsvRejects, JsonlRejects, default_rejects_path
from tasks.manifests.lines import ManifestError, ManifestLine
from tasks.manifests.manifest import (
    ONLY_IMAGES,
    SUFFIXES,
    Manifest,
    ManifestOptions,
    open_manifest,
)
from tasks.manifests.rows import Row, check_prompt, rows_of_lines
from tasks.schema.addresses import is_url, private_hosts_of
from worker.egress.sources import download_source
from worker.file_refusal import FileRefusedError
from worker.ledger.model.row_content import without_signature
from worker.resources.scratch import scratch_folder
from worker.storage.source_store import SourceStore

MAX_BYTES: Final = 100 * 10**6
"""The largest manifest that is downloaded."""
SECONDS: Final = 300.0
"""How long its download may take."""

_FORMAT_PARAMETERS: Final = ("output", "format")
"""Parameters by which published spreadsheets name their format."""
_MAX_LEFT_OUT: Final = 1000
_HIDDEN: Final = frozenset({"__MACOSX"})
_ADDRESS_REMEDY: Final = "Give an address that opens without signing in and has not expired."


@contextmanager
def manifest_from(
    source: str,
    prompt: str | None,
    options: ManifestOptions,
    *,
    settings: Settings,
    defaults: Mapping[str, object] | None = None,
) -> Iterator[Manifest]:
    """Open what a caller names as a manifest: a path, a folder in a store, or a web address.

    Stores are read with the rights of the caller. A web address must be public, or of a host that
    the settings name, as those of images. ``prompt`` and ``defaults`` are as for ``open_manifest``.

    Raises:
        ManifestError: It does not exist or cannot be read. Its rows may raise it too.
    """
    if is_store_address(source):
        yield _store_folder(source, prompt, defaults)
    elif is_url(source):
        with scratch_folder() as folder:
            path = _download(source, Path(folder), settings)
            with _address_in_errors(path, source):
                manifest = open_manifest(path, prompt, options, defaults=defaults)
            yield _web_manifest(manifest, source)
    elif "://" in source:
        raise ManifestError(
            f"{source} is not a manifest: give a path, an https:// address, or a folder in a store "
            f"(s3://, gs://, az://, sftp://)."
        )
    else:
        yield open_manifest(Path(source), prompt, options, defaults=defaults)


def shown_source(source: str) -> str:
    """Return the source of a manifest as it is shown: without the signature of a web address."""
    return without_signature(source) if is_url(source) else source


def rejects_path(source: str, manifest: Manifest) -> Path:
    """Return the default path for rejected rows: beside a file, else in the working directory."""
    if not is_store_address(source) and not is_url(source):
        return default_rejects_path(Path(source))
    name = PurePosixPath(unquote(urlsplit(source).path if is_url(source) else source)).name
    stem, _, suffix = name.rpartition(".")
    # The suffix follows the format of the rejects: the name in an address may have none.
    kind = ".jsonl" if manifest.rejects is JsonlRejects else ".csv"
    return Path(f"{stem or suffix or 'manifest'}.rejected{kind}")


def _store_folder(
    source: str, prompt: str | None, defaults: Mapping[str, object] | None
) -> Manifest:
    try:
        folder = StoreAddress.parse(source)
    except ValueError as error:
        raise ManifestError(f"{source} {error}.") from None
    left_out: list[LeftOut] = []
    names = _images(folder, left_out)
    first = next(names, None)
    if first is None:
        raise ManifestError(
            f"{folder} has no images ({LISTED_SUFFIXES}). Give the name of a folder, with a / "
            f"between folders. If it is a table, download it first."
        )
    columns = Columns(ColumnChoices(template=prompt, defaults=defaults or {}))
    check_prompt(columns, ONLY_IMAGES.columns)
    return Manifest(
        name=folder.path[-1] if folder.path else folder.place,
        folder=Path(),
        rows=rows_of_lines(_lines(folder, [first], names), columns),
        source=str(folder),
        columns=columns,
        rejects=partial(CsvRejects, header=ONLY_IMAGES),
        left_out=left_out,
    )


def _images(folder: StoreAddress, left_out: list[LeftOut]) -> Iterator[str]:
    """Yield the images in a folder of a store and its sub-folders, and note the other files."""
    try:
        for name in SourceStore(folder).names(folder):
            path = PurePosixPath(name)
            is_hidden = any(part.startswith(".") or part in _HIDDEN for part in path.parts)
            if is_hidden:
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield name
            elif len(left_out) < _MAX_LEFT_OUT:
                left_out.append(LeftOut.not_image(name))
    except FileRefusedError as error:
        raise ManifestError(f"{error.message} {error.remedy}") from None


def _lines(folder: StoreAddress, *parts: Iterable[str]) -> Iterator[ManifestLine]:
    address = str(folder).rstrip("/")
    names = (name for part in parts for name in part)
    for number, name in enumerate(names, start=1):
        image = f"{address}/{name}"
        yield ManifestLine(number, {"image": image}, raw=(image,))


def _download(url: str, folder: Path, settings: Settings) -> Path:
    """Download a manifest, and return its path, whose suffix is that of its kind."""
    copy = folder / "manifest"
    try:
        download_source(
            url,
            copy,
            private_hosts=private_hosts_of(settings),
            max_bytes=MAX_BYTES,
            seconds=SECONDS,
            expected="manifest",
        )
    except FileRefusedError as error:
        raise ManifestError(f"{error.message} {_remedy(error)}") from None
    return copy.rename(copy.with_suffix(_suffix(url, copy)))


@contextmanager
def _address_in_errors(path: Path, url: str) -> Iterator[None]:
    """Replace the path of a downloaded manifest by its address in errors."""
    try:
        yield
    except ManifestError as error:
        shown = shown_source(url).partition("?")[0]
        raise ManifestError(str(error).replace(str(path), shown)) from None


def _web_manifest(manifest: Manifest, url: str) -> Manifest:
    """Return a downloaded manifest with the name and the source of its address."""
    shown, name = shown_source(url), PurePosixPath(unquote(urlsplit(url).path)).name
    has_name = PurePosixPath(name).suffix.lower() in SUFFIXES
    return replace(
        manifest,
        name=name if has_name else shown.partition("://")[2],
        folder=Path(),
        rows=map(_reject_outside_paths, manifest.rows),
        source=shown,
    )


def _remedy(error: FileRefusedError) -> str:
    if error.code == "file_too_large":
        return "Download it, and split it into several manifests."
    return _ADDRESS_REMEDY if error.code == "source_unreachable" else error.remedy


def _suffix(url: str, path: Path) -> str:
    """Return the suffix of a downloaded manifest, by its address or else by its content."""
    parts = urlsplit(url)
    named = PurePosixPath(unquote(parts.path)).suffix.lower()
    query = parse_qs(parts.query)
    asked = [f".{value.lower()}" for name in _FORMAT_PARAMETERS for value in query.get(name, ())]
    known = [suffix for suffix in (named, *asked) if suffix in SUFFIXES]
    return known[0] if known else _detect_suffix(path)


def _detect_suffix(path: Path) -> str:
    """Return the suffix of a manifest by its content."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        kinds = {"xl/workbook.xml": ".xlsx", "content.xml": ".ods"}
        return next((kind for name, kind in kinds.items() if name in names), ".zip")
    with path.open("rb") as file:
        start = file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n")
    return {b"{": ".jsonl", b"[": ".json"}.get(start[:1], ".csv")


def _reject_outside_paths(row: Row) -> Row:
    """Reject a row that names a local file outside of the working directory.

    People who can edit the manifest at its address must not choose files of this machine.
    """
    if row.job is None:
        return row
    named = [("image", row.job.image), *(("attach", name) for name in row.job.attach)]
    outside = [f"{field}: {name}" for field, name in named if _is_outside(name)]
    if not outside:
        return row
    reason = (
        f"{outside[0]} is a path outside of the working directory, which a manifest from the web "
        f"may not name: give an address, or download the manifest"
    )
    return replace(row, job=None, reason=reason)


def _is_outside(name: str) -> bool:
    if is_url(name) or is_store_address(name):
        return False
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return name.startswith("~") or any(
        path.is_absolute() or path.anchor or ".." in path.parts for path in paths
    )

"""The files that a job uploads: its image and attachments, fetched, checked and converted."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from config.store_address import StoreAddress, is_store_address
from tasks.schema.addresses import is_url, private_hosts_of
from tasks.schema.media_keys import is_media_key
from tasks.step.context import StepContext
from worker.egress.sources import download_source
from worker.media.attachments import check_attachment
from worker.media.image_headers import check_image_shape, memory_needed
from worker.media.images import prepare_image
from worker.media.prepared_file import PreparedFile
from worker.media.refusals import MAX_SOURCE_BYTES
from worker.resources.memory_budget import MemoryBudget
from worker.resources.offload import offload
from worker.storage.allowed_paths import copy_allowed_file
from worker.storage.source_store import fetch_allowed

F = TypeVar("F", bound=PreparedFile)

_MEMORY_SECONDS: Final = 300.0
"""How long a step waits for memory: half of what it may take, so that the rest can follow."""
_PURPOSES: Final = {"audio": "as the music", "video": "as a further clip", "image": "as a picture"}
_LOGO: Final = re.compile(r"(?<![a-z])logo(?![a-z])|标志|徽标", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobInputs:
    """What is uploaded for a job.

    Attributes:
        image: The image; None if the API fetches it from its address, or if the session has it.
        attached: Music, logo, further images and clips.
    """

    image: PreparedFile | None
    attached: tuple[PreparedFile, ...]

    @property
    def files(self) -> tuple[PreparedFile, ...]:
        """All files, the image first."""
        return (self.image, *self.attached) if self.image else self.attached

    @property
    def purposes(self) -> str:
        """What each attached file is for, as a part of the message."""
        return ", ".join(f"{file.name} {_purpose(file)}" for file in self.attached)


def gather_inputs(step: StepContext, folder: Path) -> JobInputs:
    """Fetch and prepare the files to upload, under names that are unique in their session.

    Raises:
        FileRefusedError: A file cannot be used, or could not be fetched.
        StoreError: The media store failed.
        MemoryUnavailableError: Other files use all the memory for decoding.
    """
    has_image = not step.job.payload.get("pass_url") and not step.is_follow_up_edit
    image = _image(step, folder) if has_image else None
    attached = list(_attached(step, folder))
    tag = ""
    if step.uses_shared_session or step.is_follow_up_edit:
        # Other jobs upload files to the same session.
        tag = f"-{hashlib.sha256(step.job.id.encode()).hexdigest()[:12]}"
    taken: set[str] = set()

    def renamed(file: PreparedFile) -> PreparedFile:
        return replace(file, name=_unique_name(Path(file.name), tag, taken))

    return JobInputs(renamed(image) if image else None, tuple(map(renamed, attached)))


def prepare_within_memory(memory: MemoryBudget, needed: int, prepare: Callable[[], F]) -> F:
    """Prepare a file in a thread, once there is memory to decode it.

    Args:
        memory: The memory that all files share.
        needed: The bytes of memory that the preparation takes.
        prepare: Prepares the file.

    Raises:
        MemoryUnavailableError: Other files have used all of it for five minutes.
    """
    with memory.reserve(needed, _MEMORY_SECONDS):
        return offload(prepare)


def _image(step: StepContext, folder: Path) -> PreparedFile:
    payload = step.job.payload
    given = str(payload["image"])
    source = _fetch(step, str(payload.get("media") or given), folder)
    name = _file_name(given, "image")
    needed = offload(_measure_image, source, name)
    prepare = partial(prepare_image, source, name, folder)
    return prepare_within_memory(step.runtime.image_memory, needed, prepare)


def _measure_image(source: Path, name: str) -> int:
    """Check the shape of an image and return the memory that it needs, in one call of a thread."""
    check_image_shape(source, name)
    return memory_needed(source, name)


def _attached(step: StepContext, folder: Path) -> Iterator[PreparedFile]:
    names: dict[str, str] = step.job.payload.get("attach_names") or {}
    for number, given in enumerate(step.job.payload.get("attach") or (), start=1):
        subfolder, default = _subfolder(folder, number), f"attachment-{number}"
        source = _fetch(step, given, subfolder, "file")
        name = given
        if is_media_key(given):
            name = names.get(given) or f"{default}{Path(given).suffix}"
        name = _file_name(name, default)
        needed = offload(memory_needed, source, name)
        prepare = partial(check_attachment, source, name, subfolder)
        yield prepare_within_memory(step.runtime.image_memory, needed, prepare)


def _fetch(step: StepContext, given: str, folder: Path, expected: str = "picture") -> Path:
    """Fetch a file from the media store, the web, or a path or store that is allowed."""
    settings, target = step.runtime.settings, folder / "given"
    if is_media_key(given):
        step.runtime.media.fetch(given, target)
    elif is_url(given):
        download_source(
            given,
            target,
            private_hosts=private_hosts_of(settings),
            max_bytes=MAX_SOURCE_BYTES,
            expected=expected,
        )
    elif is_store_address(given):
        roots = settings.storage.media_roots
        fetch_allowed(StoreAddress.parse(given), roots, target, max_bytes=MAX_SOURCE_BYTES)
    else:
        roots = settings.storage.media_roots
        offload(copy_allowed_file, given, roots, target, max_bytes=MAX_SOURCE_BYTES)
    return target


def _subfolder(folder: Path, number: int) -> Path:
    subfolder = folder / str(number)
    subfolder.mkdir()
    return subfolder


def _file_name(given: str, default: str) -> str:
    return Path(given.split("?", 1)[0]).name or default


def _unique_name(name: Path, tag: str, taken: set[str]) -> str:
    """Return a name with the tag that is not taken yet, in upper or lower case, and take it."""
    unique, number = f"{name.stem}{tag}{name.suffix}", 1
    while unique.lower() in taken:
        number += 1
        unique = f"{name.stem}{tag}-{number}{name.suffix}"
    taken.add(unique.lower())
    return unique


def _purpose(file: PreparedFile) -> str:
    family = file.content_type.partition("/")[0]
    if family == "image" and _LOGO.search(file.name):
        return "as the logo"
    return _PURPOSES.get(family, "as material")

"""What a job brings: its image and what is attached, fetched, checked and cleaned."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from tasks.schema.addresses import is_url
from tasks.schema.media_keys import is_media_key
from tasks.step.context import StepContext
from worker.egress.sources import download_source
from worker.media import (
    MAX_SOURCE_BYTES,
    PreparedFile,
    check_attachment,
    memory_needed,
    prepare_image,
)
from worker.resources.memory_budget import MemoryBudget
from worker.resources.offload import offload
from worker.storage.allowed_paths import copy_allowed_file

F = TypeVar("F", bound=PreparedFile)

_MEMORY_SECONDS: Final = 300.0
"""Half of what a step may take. Who gives up fetches its file anew, so it is long."""
_USES: Final = {"audio": "as the music", "video": "as a further clip", "image": "as a picture"}
_LOGO: Final = re.compile(r"(?<![a-z])logo(?![a-z])|标志|徽标", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobInputs:
    """What is uploaded for a job.

    Attributes:
        image: The picture; None when its address is passed on, or when the session has it.
        attached: Music, logo, further pictures and clips.
    """

    image: PreparedFile | None
    attached: tuple[PreparedFile, ...]

    @property
    def files(self) -> tuple[PreparedFile, ...]:
        """All of it, the image first."""
        return (self.image, *self.attached) if self.image else self.attached

    @property
    def purposes(self) -> str:
        """What each attached file is for, as the message says it."""
        return ", ".join(f"{file.name} {_use(file)}" for file in self.attached)


def gather_inputs(step: StepContext, folder: Path) -> JobInputs:
    """The files to upload.

    Raises:
        FileRefusedError: A file cannot be used, may not or could not be fetched.
        StoreError: The media store failed.
        MemoryUnavailableError: Other pictures take all the memory there is for them.
    """
    payload, image = step.job.payload, None
    if not payload.get("pass_url") and not step.is_follow_up_edit:
        place = _place(folder, 0)
        given = str(payload["image"])
        raw = _fetch(step, str(payload.get("media") or given), place)
        image = run_within_memory(
            step.runtime.image_memory, prepare_image, raw, _name_of(given, "image"), place
        )
    material = JobInputs(image, tuple(_attached(step, folder)))
    return with_unique_names(
        material, step.job.id if step.uses_shared_session or step.is_follow_up_edit else ""
    )


def with_unique_names(material: JobInputs, owner: str = "") -> JobInputs:
    """The same files under names of which each is used once in its session.

    Args:
        material: The files.
        owner: The id of the job that brings them, where other jobs bring files too.
    """
    tag = f"-{hashlib.sha256(owner.encode()).hexdigest()[:6]}" if owner else ""
    taken: set[str] = set()
    named = []
    for file in material.files:
        path = Path(file.name)
        name, n = f"{path.stem}{tag}{path.suffix}", 1
        while name.lower() in taken:
            n += 1
            name = f"{path.stem}{tag}-{n}{path.suffix}"
        taken.add(name.lower())
        named.append(replace(file, name=name))
    if material.image is None:
        return JobInputs(None, tuple(named))
    return JobInputs(named[0], tuple(named[1:]))


def _attached(step: StepContext, folder: Path) -> Iterator[PreparedFile]:
    names: dict[str, str] = step.job.payload.get("attach_names") or {}
    for number, given in enumerate(step.job.payload.get("attach") or (), start=1):
        place = _place(folder, number)
        raw = _fetch(step, given, place)
        default = f"attachment-{number}"
        name = (
            names.get(given) or f"{default}{Path(given).suffix}" if is_media_key(given) else given
        )
        yield run_within_memory(
            step.runtime.image_memory, check_attachment, raw, _name_of(name, default), place
        )


def run_within_memory(
    memory: MemoryBudget, look: Callable[[Path, str, Path], F], raw: Path, name: str, place: Path
) -> F:
    """Look at a file in a thread, once there is memory for the pixels in it.

    Args:
        memory: What all looks share.
        look: `prepare_image` or `check_attachment`.
        raw: The file.
        name: What people call it.
        place: A folder for changed copies.

    Raises:
        MemoryUnavailableError: Other pictures took it all for five minutes.
    """
    needed = offload(memory_needed, raw, name)
    with memory.reserve(needed, _MEMORY_SECONDS):
        return offload(look, raw, name, place)


def _use(file: PreparedFile) -> str:
    family = file.content_type.partition("/")[0]
    if family == "image" and _LOGO.search(file.name):
        return "as the logo"
    return _USES.get(family, "as material")


def _place(folder: Path, number: int) -> Path:
    place = folder / str(number)
    place.mkdir()
    return place


def _fetch(step: StepContext, given: str, place: Path) -> Path:
    settings, raw = step.runtime.settings, place / "given"
    if is_media_key(given):
        step.runtime.media.fetch(given, raw)
        return raw
    if is_url(given):
        download_source(
            given,
            raw,
            private_hosts=settings.egress.private_hosts,
            api_host=settings.api.url,
            max_bytes=MAX_SOURCE_BYTES,
        )
        return raw
    offload(copy_allowed_file, given, settings.storage.media_roots, raw, max_bytes=MAX_SOURCE_BYTES)
    return raw


def _name_of(given: str, default: str) -> str:
    return Path(given.split("?", 1)[0]).name or default

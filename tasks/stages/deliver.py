"""The delivering stage: download the clip, check it, and write it to the output store."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tasks.schema.clip_names import clip_names, preferred_name
from tasks.stages.adoption import finish_delivered
from tasks.step.commits import (
    NO_RENDER,
    continue_in,
    fail,
    failure_facts,
    failures,
    hold,
    repeat_for,
    repeat_later,
)
from tasks.step.context import StepContext
from tasks.step.credentials import open_client
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.media.clip_frames import BadClip, IncompleteClip
from worker.media.clip_quality import ClipFinding, content_findings, property_findings
from worker.media.clips import Clip, ClipInspection, inspect_clip
from worker.media.prepared_file import sha256_of
from worker.nemo.draft import Draft
from worker.nemo.errors import (
    NemoError,
    PlanRefused,
    RateLimited,
    ServerFailed,
    TokenRefused,
    Unreachable,
)
from worker.policy import backoff_seconds
from worker.resources.offload import offload, offload_decoding
from worker.resources.scratch import scratch_folder
from worker.storage.errors import NotStoredError

MAX_CLIP_BYTES: Final = 2 * 10**9
MAX_DOWNLOADS: Final = 5
"""The most downloads of a clip that is damaged or incomplete each time."""
DOWNLOAD_PATIENCE_SECONDS: Final = 900.0
"""How long a download that fails because of a server or the network is repeated."""
POLICY_ERRORS: Final = (TokenRefused, RateLimited, PlanRefused, Unreachable, ServerFailed)
"""Errors of a download that the policy decides about. After others, the download is repeated."""


def deliver(step: StepContext) -> Commit:
    """Deliver the clip. It gets its final name only after it was downloaded and checked."""
    output = step.runtime.output
    if _name_is_taken(step) and (delivered := finish_delivered(step)) is not None:
        return delivered
    with scratch_folder() as folder:
        clip_file, poster_file = Path(folder) / "clip.mp4", Path(folder) / "poster.jpg"
        try:
            is_stored = _fetch_stored(step, clip_file)
            if not is_stored:
                _download(step, clip_file)
            inspection = offload_decoding(inspect_clip, clip_file, poster_file)
        except IncompleteClip as error:
            return _retry_or_hold(step, str(error))
        except BadClip as error:
            reason, message = Reason.BAD_CLIP, str(error)
            return _download_again(step, reason, message) or fail(step, reason, message)
        except POLICY_ERRORS:
            raise
        except NemoError as error:
            reason, message = Reason.DELIVERY_FAILED, error.message
            repeated = repeat_for(step, reason, message, DOWNLOAD_PATIENCE_SECONDS)
            return repeated or fail(step, reason, message)
        name = (
            step.job.facts["clip_name"]
            if is_stored
            else _store_clip(step, inspection.clip, clip_file)
        )
        output.put_file(poster_file, f"{name}.jpg")
    return continue_in(
        State.SUCCEEDED, {"clip": _clip_fact(inspection.clip, _findings(step, inspection), name)}
    )


def _name_is_taken(step: StepContext) -> bool:
    """Return whether the output store has a file of the clip's name, but the record names no clip.

    The file may be the clip of another job, or of this one if Redis has lost that fact.
    """
    runtime, job = step.runtime, step.job
    if job.fact("clip_name"):
        return False
    template = runtime.settings.storage.clip_name
    name = preferred_name(job, template=template, ledger=runtime.ledger)
    return runtime.output.exists(f"{name}.mp4")


def _fetch_stored(step: StepContext, clip_file: Path) -> bool:
    """Fetch the clip from the output store, if an earlier step has stored it.

    The worker may have died before the commit of that step, and the download link may have expired
    since.

    Returns:
        False if the store does not have the clip.
    """
    stored = step.job.fact("stored")
    if stored is None:
        return False
    try:
        step.runtime.output.fetch(f"{step.job.facts['clip_name']}.mp4", clip_file)
    except NotStoredError:
        return False
    return stored == _stored_clip(step, offload(sha256_of, clip_file))


def _download(step: StepContext, clip_file: Path) -> None:
    job = step.job
    with open_client(step) as client, clip_file.open("wb") as sink:
        client.download(job.fact("source_url"), job.facts["render_id"], sink, MAX_CLIP_BYTES)


def _retry_or_hold(step: StepContext, message: str) -> Commit:
    """Download an incomplete clip again; hold the job after `MAX_DOWNLOADS` downloads.

    Once released, the job renders again, because the rendered file itself may be incomplete.
    """
    return _download_again(step, Reason.CLIP_INCOMPLETE, message) or hold(
        step,
        Reason.CLIP_INCOMPLETE,
        f"Each of {MAX_DOWNLOADS} downloads was incomplete: {message}.",
        resume=State.RENDERING,
        facts=NO_RENDER,
    )


def _download_again(step: StepContext, reason: Reason, message: str) -> Commit | None:
    """Repeat the download, which is free; None after `MAX_DOWNLOADS` downloads."""
    earlier = failures(step, reason)
    if earlier + 1 >= MAX_DOWNLOADS:
        return None
    return repeat_later(step, backoff_seconds(earlier), **failure_facts(step, reason, message))


def _findings(step: StepContext, inspection: ClipInspection) -> tuple[ClipFinding, ...]:
    """Return the flaws of the clip. It was paid for, so it is delivered with any flaws."""
    payload = step.job.payload
    seconds = payload.get("seconds") or Draft.unpack(step.job.facts.get("draft", "")).seconds
    differences = property_findings(
        inspection.clip, seconds=seconds or None, aspect=payload.get("aspect")
    )
    return (*differences, *content_findings(inspection))


def _store_clip(step: StepContext, clip: Clip, clip_file: Path) -> str:
    """Store the clip under a name that no other clip has; return the name without its suffix.

    The name is recorded with the clip's digest before the file is created, so that a later step can
    find out whether the file of that name is this clip. A file with other content belongs to
    another ledger or to an earlier render, and is never replaced.
    """
    output = step.runtime.output
    for name in _names(step):
        step.update_facts(clip_name=name, stored=_stored_clip(step, clip.sha256))
        key = f"{name}.mp4"
        # A failed creation may have stored the clip, if only its answer was lost.
        if output.create_file(clip_file, key) or output.has_content(key, clip.sha256):
            return name
    raise AssertionError("the last names contain the id of the job")


def _names(step: StepContext) -> Iterator[str]:
    """Yield the name that an earlier step has recorded, then new ones."""
    runtime = step.runtime
    if recorded := step.job.fact("clip_name"):
        yield recorded
    yield from clip_names(
        step.job,
        template=runtime.settings.storage.clip_name,
        ledger=runtime.ledger,
        output=runtime.output,
    )


def _stored_clip(step: StepContext, sha256: str) -> str:
    """Identify a stored clip by its render and its content."""
    return f"{step.job.facts['render_id']} {sha256}"


def _clip_fact(clip: Clip, findings: tuple[ClipFinding, ...], name: str) -> str:
    record = {
        "width": clip.width,
        "height": clip.height,
        "seconds": clip.seconds,
        "codec": clip.codec,
        "bytes": clip.bytes,
        "sha256": clip.sha256,
        "key": f"{name}.mp4",
        "poster": f"{name}.jpg",
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(record)

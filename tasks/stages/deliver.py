"""Deliver: fetch the clip, look into it, and put it where people find it."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tasks.schema.clip_names import clip_name
from tasks.step.context import Step
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.media.clips import BadClip, Clip, QualityFinding, check, inspect, make_poster, probe
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
from worker.resources.offload import offload
from worker.resources.scratch import scratch_folder
from worker.storage.errors import NotStoredError

MAX_CLIP_BYTES = 2 * 10**9
FETCH_TRIES = 5
LEFT_TO_THE_POLICY = (TokenRefused, RateLimited, PlanRefused, Unreachable, ServerFailed)


def deliver(step: Step) -> Commit:
    """Nothing is visible under its final name before it is whole and was opened."""
    output = step.runtime.output
    with scratch_folder() as folder:
        film, still = Path(folder) / "clip.mp4", Path(folder) / "poster.jpg"
        try:
            is_stored = _find_stored(step, film)
            if not is_stored:
                _fetch(step, film)
            clip = offload(probe, film)
        except BadClip as error:
            return _retry_or_fail(step, Reason.BAD_CLIP, str(error))
        except NemoError as error:
            if isinstance(error, LEFT_TO_THE_POLICY):
                raise
            return _retry_or_fail(step, Reason.DELIVERY_FAILED, error.message)
        findings = _look(step, film, clip)
        name = _name(step, clip)
        if not is_stored:
            output.put_file(film, f"{name}.mp4")
        poster = None
        # A clip that was paid for is delivered, with or without a still of it.
        with suppress(BadClip):
            offload(make_poster, film, still)
            poster = f"{name}.jpg"
            output.put_file(still, poster)
    return Commit(State.SUCCEEDED, facts=_facts(clip, findings, name, poster))


def _look(step: Step, film: Path, clip: Clip) -> tuple[QualityFinding, ...]:
    """What should be marked. A clip that opens is delivered whatever is found: it was paid for."""
    payload = step.job.payload
    seconds = payload.get("seconds") or Draft.unpack(step.job.facts.get("draft", "")).seconds
    findings = check(clip, seconds=seconds or None, aspect=payload.get("aspect"))
    try:
        return (*findings, *offload(inspect, film))
    except BadClip as error:
        return (*findings, QualityFinding("damaged", f"Not all of it can be read: {error}."))


def _name(step: Step, clip: Clip) -> str:
    """The key of the job's clip without its ending, the same at each try."""
    name = step.job.fact("clip_name") or clip_name(step.runtime, step.job)
    # Recorded before anything is written there: what is found there later is its own, and by its
    # digest known to be whole.
    step.update_facts(clip_name=name, stored=_stored(step, clip.sha256))
    return name


def _find_stored(step: Step, film: Path) -> bool:
    """Take the clip from the store, if an earlier try has put it there.

    Whoever did so may have died before it was told, and the link may have ended since then.
    """
    stored = step.job.fact("stored")
    if stored is None:
        return False
    try:
        step.runtime.output.fetch(f"{step.job.facts['clip_name']}.mp4", film)
    except NotStoredError:
        return False
    return stored == _stored(step, offload(sha256_of, film))


def _stored(step: Step, sha256: str) -> str:
    """Which render a stored clip is of, and its content."""
    return f"{step.job.facts['render_id']} {sha256}"


def _fetch(step: Step, film: Path) -> None:
    job = step.job
    with step.runtime.clients.open(step.token()) as client, film.open("wb") as sink:
        client.download(job.fact("source_url"), job.facts["render_id"], sink, MAX_CLIP_BYTES)


def _retry_or_fail(step: Step, reason: Reason, message: str) -> Commit:
    tries = step.failures(reason)
    if tries + 1 >= FETCH_TRIES:
        return step.fail(reason, message)
    return step.retry_later(backoff_seconds(tries), **step.failure_facts(message, kind=reason))


def _facts(
    clip: Clip, findings: tuple[QualityFinding, ...], name: str, poster: str | None
) -> dict[str, str]:
    found = {
        **asdict(clip),
        "key": f"{name}.mp4",
        "poster": poster,
        "findings": [asdict(finding) for finding in findings],
    }
    return {"clip": json.dumps(found), "tries": "0"}

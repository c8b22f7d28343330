"""Texts about a job: follow-up edits, and requests that are answered immediately.

An edit is a new job in the same session, with its own paid message, render and clip. Everything
else is free. Source: docs/video-api.md, "What a message is".
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tasks.producer.follow_up.answers import (
    Answer,
    answer_credits,
    answer_export,
    answer_small_talk,
    answer_state,
)
from tasks.producer.follow_up.session_upload import upload
from tasks.producer.follow_up.text_routing import MAY_BE_AN_ANSWER, TextAction, action_of
from tasks.producer.local_files import LocalFiles
from tasks.producer.media_store import copy_to_media_store
from tasks.producer.producer import Producer
from tasks.producer.submissions import enqueue_record, new_job
from tasks.schema.errors import NotSayable, UnknownId
from tasks.schema.image_job import ImageJob
from tasks.schema.submission import Submission
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import SINGLE


def say(
    producer: Producer,
    job_id: str,
    text: str,
    *,
    attach: Sequence[str] = (),
    key: str | None = None,
) -> Submission | Answer:
    """Edit a job's clip further, or ask for its export, its state, the credits or an upload.

    An edit is a new, paid job in the same session, and of the same batch. Everything else is
    answered immediately, free of charge. ``text`` is in English or Chinese, and may be empty if
    files are attached.
    ``attach`` names files for the session: music, a logo, further pictures. ``key`` makes an edit
    idempotent: repeated with the same key, it is the same job and is paid once.

    Raises:
        UnknownId: There is no such job.
        NotSayable: The job cannot take this request in its current state.
        InvalidPayloadError: The text or a file is invalid.
        KeyConflict: The key was used with another text or for another job.
        RedisUnavailable: Redis does not answer.
    """
    job = _job(producer, job_id)
    match _action(job, text, attach):
        case TextAction.EXPORT:
            return answer_export(producer, job)
        case TextAction.CREDITS:
            return answer_credits(producer)
        case TextAction.STATE:
            return answer_state(producer, job)
        case TextAction.UPLOAD:
            return upload(producer, job, attach)
        case (
            TextAction.THANKS | TextAction.HELP | TextAction.CANCEL | TextAction.CLARIFY
        ) as action:
            return answer_small_talk(action, job)
        case TextAction.EDIT:
            return _edit(producer, job, text, attach, key)


def _action(job: Job, text: str, attach: Sequence[str]) -> TextAction:
    """Return what a text asks for.

    A very short text is an edit if it may answer a question of the agent, or if files are attached.
    """
    if not text.strip():
        return TextAction.UPLOAD
    action = action_of(text)
    has_context = job.reason is Reason.QUESTION or bool(attach)
    return TextAction.EDIT if has_context and action in MAY_BE_AN_ANSWER else action


def _job(producer: Producer, job_id: str) -> Job:
    with producer.redis_errors():
        job = producer.ledger.job(job_id)
        batch = producer.ledger.batch(job_id) if job is None else None
    if batch is not None:
        raise UnknownId(
            f"{job_id} is a batch: name one of its jobs (`reelqueue list --batch {job_id}`)."
        )
    if job is None:
        raise UnknownId(f"There is no job {job_id}.")
    return job


def _edit(
    producer: Producer, job: Job, text: str, attach: Sequence[str], key: str | None
) -> Submission:
    edit = ImageJob.read(
        {
            "image": str(job.payload["image"]),
            "media": job.payload.get("media"),
            "prompt": text,
            "language": job.payload.get("language", "en"),
            "priority": job.payload.get("priority", "normal"),
            "attach": list(attach),
            "key": key,
            "data": job.payload.get("data", {}),
        }
    )
    with producer.redis_errors():
        known = producer.ledger.job(edit.job_id) if key else None
    # A repeated request returns its job even if the edited job takes no more edits.
    if known is None:
        _check_editable(job)
    new = new_job(
        LocalFiles(copy_to_media_store(producer)).replace_in(edit, image=False),
        batch_id=job.batch_id or "",
        row=job.number("row"),
    )
    fingerprint = hashlib.sha256(f"{job.id}:{new.fingerprint}".encode()).hexdigest()
    # It starts even if the batch is paused, like a redo.
    return enqueue_record(
        producer,
        replace(new, fingerprint=fingerprint, parent_id=job.id, follows=job.id, flow_name=SINGLE),
    )


def _check_editable(job: Job) -> None:
    """Check that a job has, or will have, a session that an edit can continue.

    Raises:
        NotSayable: It has none. The text says what to do.
    """
    if job.state is State.CANCELLED:
        raise NotSayable(f"Job {job.id} was cancelled. Submit the image again.")
    if job.reason is Reason.SESSION_LOST:
        raise NotSayable(f"The project of job {job.id} is gone. {job.remedy}")
    has_project = job.fact("session_id") is not None
    if job.state in (State.QUEUED, State.HELD) and not has_project:
        raise NotSayable(
            f"Job {job.id} is {job.state} and has no project yet. {job.remedy}".rstrip()
            + f" Nothing was paid: cancel it with `reelqueue cancel {job.id}`, and submit the "
            "image with everything in one prompt."
        )
    if job.state is State.FAILED and not (has_project and job.paid_messages):
        raise NotSayable(
            f"Job {job.id} failed before a clip was made: {job.message} {job.remedy}".rstrip()
        )

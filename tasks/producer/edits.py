"""Further words about a job: an export, credits, the state, an upload, or another edit.

An edit is a job of its own in the same session, with its own paid message, render and clip; all
else is answered at once and is free. Source: the contract, «What a message is».
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.producer.balances import refresh_balances
from tasks.producer.local_files import LocalFiles, copy_to
from tasks.producer.producer import Producer, Submission
from tasks.producer.submission import raise_for_conflict
from tasks.producer.text_routing import TextAction, action_of
from tasks.schema.errors import UnknownId
from tasks.schema.payload import ImageJob, Result, job_id_for
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import ReleaseVerdict, RetryVerdict, SubmitVerdict
from worker.resources.scratch import scratch_folder


@dataclass(frozen=True, slots=True)
class Answer:
    """What was done about a text that needs no job."""

    action: TextAction
    text: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "action": self.action.value}


class NotSayable(ValueError):  # noqa: N818 - named for what happened
    """Nothing can be said about this job as it stands. The text says what can be done."""


def say(
    producer: Producer,
    job_id: str,
    text: str,
    *,
    attach: Sequence[str] = (),
    key: str | None = None,
) -> Submission | Answer:
    """Say something about a job.

    Args:
        producer: Where the job is.
        job_id: The job.
        text: What is wanted, in English or Chinese. May be empty where files are attached.
        attach: Files for the job's session: music, a logo, further pictures.
        key: Idempotency key: the same key is the same edit, paid once.

    Raises:
        UnknownId: There is no such job.
        NotSayable: Nothing can be said about it as it stands.
        InvalidPayloadError: The text or a file of it is refused.
        KeyConflict: The key is known with other words.
        RedisUnavailable: Redis does not answer.
    """
    job = _job(producer, job_id)
    match action_of(text) if text.strip() else TextAction.UPLOAD:
        case TextAction.EXPORT:
            return _export(producer, job)
        case TextAction.CREDITS:
            return balance(producer)
        case TextAction.STATE:
            return Answer(TextAction.STATE, _standing(producer, job))
        case TextAction.UPLOAD:
            return _upload(producer, job, attach)
        case TextAction.EDIT:
            return _edit(producer, job, text, attach, key)


def _job(producer: Producer, job_id: str) -> Job:
    with producer.redis_errors():
        job = producer.ledger.job(job_id)
        batch = producer.ledger.batch(job_id) if job is None else None
    if batch is not None:
        raise UnknownId(f"{job_id} is a batch: name one of its jobs (`reelqueue list`).")
    if job is None:
        raise UnknownId(f"There is no job {job_id}.")
    return job


# --- answered at once ----------------------------------------------------------------------


def _export(producer: Producer, job: Job) -> Answer:
    result = producer.get(job.id)
    if result.video is not None:
        return Answer(
            TextAction.EXPORT, f"The clip is there: {result.video.path or result.video.url}"
        )
    if job.fact("draft"):
        with producer.redis_errors():
            if job.state is State.HELD:
                done = producer.ledger.release(job.id, who="say: export") is ReleaseVerdict.OK
            elif job.state is State.FAILED:
                done = producer.ledger.retry(job.id) is RetryVerdict.OK
            else:
                done = False
        if done:
            return Answer(
                TextAction.EXPORT,
                f"Its export goes on, which costs no credits: `reelqueue watch {job.id}`.",
            )
    return Answer(TextAction.EXPORT, f"There is no clip yet. {_stand(result)}")


def _stand(result: Result) -> str:
    if result.reason is not None:
        return f"{result.state}: {result.reason.message} {result.reason.remedy}"
    if result.state.is_end:
        return f"The job is {result.state}, and has none."
    return f"{result.progress.message} It is exported by itself: `reelqueue watch {result.job_id}`."


def _standing(producer: Producer, job: Job) -> str:
    result = producer.get(job.id)
    if result.reason is not None:
        told = f"{result.reason.message} {result.reason.remedy}"
    else:
        told = result.progress.message
    return " ".join(filter(None, [f"{result.state}: {told}", result.timeline]))


def balance(producer: Producer) -> Answer:
    """What is left on each account, read anew."""
    stale = refresh_balances(producer)
    accounts = [account for account in producer.ledger.accounts() if account.is_read]
    told = [
        f"{account.name}: {account.available:g} credits available, {account.reserved:g} reserved, "
        f"{account.spent:g} spent."
        for account in accounts
    ]
    return Answer(TextAction.CREDITS, " ".join([*told, *stale]) or "No balance is known yet.")


# --- files ---------------------------------------------------------------------------------


def _upload(producer: Producer, job: Job, attach: Sequence[str]) -> Answer:
    if not attach:
        raise NotSayable("Name the file to upload: --attach FILE.")
    session_id = _session_at_rest(job)
    for name in attach:
        _upload_one(producer, job, session_id, Path(name))
    names = ", ".join(Path(name).name for name in attach)
    return Answer(
        TextAction.UPLOAD,
        f'Uploaded to its project: {names}. Say what to do with it: `reelqueue say {job.id} "…"`.',
    )


def _upload_one(producer: Producer, job: Job, session_id: str, path: Path) -> None:
    """Once for each content: a second copy in the same project would be another file."""
    from worker.media import MediaRefused, check_attachment  # noqa: PLC0415 - slow to load, as is the client
    from worker.nemo.errors import NemoError  # noqa: PLC0415
    from worker.runtime.runtime import Runtime  # noqa: PLC0415

    if "://" in str(path) or not path.is_file():
        raise NotSayable(f"{path} is no file on this machine.")
    runtime = Runtime.open(producer.settings)
    with scratch_folder() as folder:
        try:
            file = check_attachment(path, path.name, Path(folder))
        except MediaRefused as error:
            raise NotSayable(f"{error.message} {error.remedy}") from None
        known = producer.ledger.key("uploaded", session_id)
        with producer.redis_errors():
            if not producer.ledger.redis.sadd(known, file.sha256):
                return
        try:
            credential = runtime.accounts.credential(str(job.fact("account")))
            with (
                runtime.clients.open(credential.token) as client,
                file.path.open("rb") as content,
            ):
                client.upload_file(session_id, file.name, file.content_type, content)
        except NemoError as error:
            producer.ledger.redis.srem(known, file.sha256)
            raise NotSayable(
                f"{file.name} could not be uploaded to the project of {job.id}: {error.message}"
            ) from None


def _session_at_rest(job: Job) -> str:
    session_id = job.fact("session_id")
    if session_id is None:
        raise NotSayable(f"Job {job.id} has no project to upload to.")
    if job.state in (State.QUEUED, State.PREPARING, State.GENERATING, State.SETTLING):
        raise NotSayable(
            f"Job {job.id} is at work in its project. Upload when it is done, or attach the file "
            f'to an edit, which waits for its turn: `reelqueue say {job.id} "…" --attach FILE`.'
        )
    return session_id


# --- edits ---------------------------------------------------------------------------------


def _edit(
    producer: Producer, job: Job, text: str, attach: Sequence[str], key: str | None
) -> Submission:
    payload = ImageJob.read(
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
    new_id = job_id_for(payload.key)
    with producer.redis_errors():
        known = producer.ledger.job(new_id) if key else None
    # A repetition is answered whatever has become of the job since.
    if known is None:
        _refuse_unfit(job)
    payload = LocalFiles(copy_to(producer.media)).replace_attachments(payload)
    words = f"{job.id}:{payload.fingerprint}"
    new = NewJob(
        id=new_id,
        payload=payload.model_dump(mode="json", exclude_none=True),
        fingerprint=hashlib.sha256(words.encode()).hexdigest(),
        priority=payload.priority,
        key=payload.key or "",
        parent_id=job.id,
        follows=job.id,
    )
    with producer.redis_errors():
        answer = producer.ledger.submit(new)
        raise_for_conflict(payload, answer)
        if answer.verdict is SubmitVerdict.DUPLICATE:
            return producer.known(answer.job_id, new.key)
    return Submission(answer.job_id, State.QUEUED, duplicate=False)


def _refuse_unfit(job: Job) -> None:
    """Refuse an edit of a job that has, or will have, no project to go on in.

    Raises:
        NotSayable: It is such a job.
    """
    if job.state is State.CANCELLED:
        raise NotSayable(f"Job {job.id} was cancelled. Submit the image again.")
    if job.reason is Reason.SESSION_LOST:
        raise NotSayable(f"The project of job {job.id} is gone. {job.remedy}")
    if job.fact("session_id") is None and job.state in (State.FAILED, State.QUEUED, State.HELD):
        raise NotSayable(
            f"Job {job.id} is {job.state} and has no project yet. {job.remedy}".rstrip()
            + " Nothing was paid: `reelqueue cancel` it, and submit the image with all that is "
            "wanted in one prompt."
        )
    if job.state is State.FAILED and not job.paid_messages:
        raise NotSayable(f"Job {job.id} failed before anything was made: {job.message}")

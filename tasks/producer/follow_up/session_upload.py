"""Uploads of files to the session of a job, between its edits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from redis.exceptions import RedisError

from tasks.producer.follow_up.answers import Answer
from tasks.producer.follow_up.text_routing import TextAction
from tasks.producer.producer import Producer
from tasks.schema.errors import NotSayable
from worker.file_refusal import FileRefusedError
from worker.ledger.conditional_delete import delete_if_equal
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import SESSION_STATES, State
from worker.media.prepared_file import PreparedFile
from worker.resources.scratch import scratch_folder

UPLOAD_SECONDS: Final = 600
"""The life of the lock on a file that is uploaded, if the command that has the lock dies."""


def upload(producer: Producer, job: Job, files: Sequence[str]) -> Answer:
    """Upload files to a job's session.

    Raises:
        NotSayable: There are no files, a file cannot be used, or the session cannot take any now.
    """
    if not files:
        raise NotSayable("There is no file to upload. Name one: --attach FILE.")
    session_id = _idle_session(producer, job)
    for name in files:
        _upload_once(producer, job, session_id, Path(name))
    names = ", ".join(Path(name).name for name in files)
    return Answer(
        TextAction.UPLOAD,
        f"Uploaded to the project of the job: {names}. Say what to do with it: "
        f'`reelqueue say {job.id} "…"`.',
    )


def _idle_session(producer: Producer, job: Job) -> str:
    session_id = job.fact("session_id")
    if session_id is None:
        raise NotSayable(
            f"Job {job.id} has no project to upload to. Attach the file when you submit the image: "
            "`reelqueue submit IMAGE --attach FILE`."
        )
    user = job if job.state is State.QUEUED else _user_of(producer, job, session_id)
    if user is not None:
        raise NotSayable(
            f"Job {user.id} is still using its project. Upload when it is done, or attach the file "
            f'to an edit, which is queued until then: `reelqueue say {job.id} "…" --attach FILE`.'
        )
    return session_id


def _user_of(producer: Producer, job: Job, session_id: str) -> Job | None:
    """Return the job that works in a session now: this one, or an edit that follows it."""
    if job.state in SESSION_STATES:
        return job
    with producer.redis_errors():
        holder = producer.ledger.session_holder(session_id)
        other = next(producer.ledger.jobs([holder]), None) if holder else None
    is_working = other is not None and other.state in SESSION_STATES
    return other if is_working else None


def _upload_once(producer: Producer, job: Job, session_id: str, path: Path) -> None:
    """Upload a file unless the session has its content: a second copy would be another file."""
    # These are slow to import.
    from worker.accounts.credentials import (  # noqa: PLC0415
        AccountCoolingDownError,
        TokenPendingError,
    )
    from worker.media.attachments import check_attachment  # noqa: PLC0415
    from worker.nemo.errors import NemoError  # noqa: PLC0415
    from worker.runtime.runtime import Runtime  # noqa: PLC0415

    if "://" in str(path) or not path.is_file():
        raise NotSayable(f"{path} is not a file on this machine. Name a local file.")
    runtime = Runtime.with_ledger(producer.ledger, producer.settings)
    with scratch_folder() as folder:
        try:
            file = check_attachment(path, path.name, Path(folder))
        except FileRefusedError as error:
            raise NotSayable(f"{error.message} {error.remedy}") from None
        name = str(job.fact("keeper") or job.fact("account"))
        with _claim_upload(producer, job, session_id, file) as is_new:
            if not is_new:
                return
            try:
                credential = runtime.accounts.credential(runtime.ledger.account(name))
                with (
                    runtime.open_client(credential.token) as client,
                    file.path.open("rb") as content,
                ):
                    client.upload_file(session_id, file.name, file.content_type, content)
            except NemoError as error:
                raise _not_uploaded(file.name, job, error.message) from None
            except (AccountCoolingDownError, TokenPendingError):
                why = f"the account {name} is cooling down. Repeat this in a minute."
                raise _not_uploaded(file.name, job, why) from None


@contextmanager
def _claim_upload(
    producer: Producer, job: Job, session_id: str, file: PreparedFile
) -> Iterator[bool]:
    """Lock a file for an upload, and yield whether the session lacks it: then the block uploads it.

    The upload is recorded after the block, so that an interrupted one is repeated.

    Raises:
        NotSayable: Another command is uploading the file.
    """
    ledger, nonce = producer.ledger, uuid4().hex
    uploaded = ledger.key("uploaded", session_id)
    lock = ledger.key("uploading", f"{session_id}:{file.sha256}")
    with producer.redis_errors():
        if not ledger.redis.set(lock, nonce, nx=True, ex=UPLOAD_SECONDS):
            raise _not_uploaded(file.name, job, "another command is uploading it. Wait for it.")
    try:
        with producer.redis_errors():
            is_new = not ledger.redis.sismember(uploaded, file.sha256)
        yield is_new
        with producer.redis_errors():
            ledger.redis.sadd(uploaded, file.sha256)
    finally:
        with suppress(RedisError):
            delete_if_equal(ledger.redis, lock, nonce)


def _not_uploaded(name: str, job: Job, why: str) -> NotSayable:
    return NotSayable(f"{name} could not be uploaded to the project of {job.id}: {why}")

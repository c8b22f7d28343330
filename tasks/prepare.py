"""Prepare: the files, the account, the money gate, the session, the upload."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from tasks.material import gather, purpose
from tasks.step import FORGET_SESSION, Step
from worker.accounts import Credential
from worker.ledger.ledger import Commit
from worker.ledger.states import Reason, State
from worker.media import PreparedFile
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError, RateLimited
from worker.policy import growing_wait

log = structlog.get_logger(__name__)


def prepare(step: Step) -> Commit:
    """Bring the job to where only the paid message is missing; done parts are not done again."""
    runtime = step.runtime
    known = step.job.fact("account")
    credential = step.credential()
    moved = known is not None and known != credential.name
    if step.job.fact("uploaded") and not moved:
        return Commit(State.GENERATING, facts={"tries": "0"})
    short = _gate(step, credential)
    if short is not None:
        return short
    with tempfile.TemporaryDirectory(prefix="reelqueue-") as folder:
        files = gather(step, Path(folder))
        _note(step, files)
        with runtime.clients.open(credential.token) as client:
            # A session belongs to the account that opened it.
            session_id = _session(step, client, may_reuse=not moved)
            step.record(uploading="1")
            _upload(step, client, session_id, files)
    return Commit(State.GENERATING, facts={"uploaded": "1", "uploading": "", "tries": "0"})


def _note(step: Step, files: Sequence[PreparedFile]) -> None:
    """Keep what was changed, and what the message says of the attached files."""
    passed = bool(step.job.payload.get("pass_url"))
    image, attached = ([], files) if passed else (files[:1], files[1:])
    changes = [change for file in image for change in file.changes]
    step.record(
        media_name=image[0].name if image else "",
        changes=json.dumps(changes, ensure_ascii=False),
        attached=", ".join(purpose(file) for file in attached),
    )


def _gate(step: Step, credential: Credential) -> Commit | None:
    """No upload for a job that cannot be paid; the reservation itself is made at the message."""
    runtime, settings = step.runtime, step.runtime.settings
    account = runtime.ledger.account(credential.name)
    if account is None:
        if not runtime.treasury.read(credential):
            return step.again(growing_wait(0))
        account = runtime.ledger.account(credential.name)
    if account is not None and not account.can_pay(settings.clip_cost):
        return step.hold(
            Reason.CREDITS,
            f"{account.headroom:g} credits are left on {credential.name}, a clip costs about "
            f"{settings.clip_cost}.",
        )
    return None


def _session(step: Step, client: NemoClient, *, may_reuse: bool) -> str:
    """The job's session: the one that is open and clean, else a new one.

    An upload that may have arrived makes a session unclean: a second copy of the image would
    change the clip.
    """
    known = step.job.fact("session_id")
    if known and may_reuse and not step.job.fact("uploading"):
        return known
    step.record(**FORGET_SESSION)
    session = client.create_session(str(step.job.payload.get("language", "en")))
    step.record(
        session_id=session.session_id,
        task_id=session.task_id,
        bind_id=session.bind_id or "",
    )
    try:
        step.record(claim_url=client.claim_link(session.task_id, session.session_id))
    except RateLimited:
        raise
    except NemoError as error:
        # The link is a convenience for people; a job does not wait for it.
        log.info("there is no link to the project", error=str(error))
    return session.session_id


def _upload(step: Step, client: NemoClient, session_id: str, files: Sequence[PreparedFile]) -> None:
    if step.job.payload.get("pass_url"):
        client.upload_urls(session_id, [str(step.job.payload["image"])])
    for prepared in files:
        with prepared.path.open("rb") as file:
            client.upload_file(session_id, prepared.name, prepared.content_type, file)

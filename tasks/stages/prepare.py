"""The preparing stage: chooses an account, checks the credits, and uploads files to a session."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from tasks.stages.adoption import attempt_number
from tasks.stages.inputs import JobInputs, gather_inputs
from tasks.step.commits import (
    NO_SESSION,
    continue_in,
    hold_for_budget,
    hold_for_credits,
    hold_for_plan,
    repeat_later,
    with_jitter,
)
from tasks.step.context import LeaseLostError, StepContext
from tasks.step.credentials import job_credential
from tasks.step.session_acquisition import acquire_session
from worker.accounts.credentials import Credential
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.media.prepared_file import PreparedFile
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError, RateLimited
from worker.policy import backoff_seconds
from worker.resources.scratch import scratch_folder

log = structlog.get_logger(__name__)

MAX_BALANCE_AGE_MS: Final = 5_000
"""No job is held for lack of credits because of an older balance."""


def prepare(step: StepContext) -> Commit:
    """Do all that precedes the paid message, except what an earlier step has completed."""
    attempt = attempt_number(step)
    if isinstance(attempt, Commit):
        return attempt
    blocked = acquire_session(step)
    if blocked is not None:
        return blocked
    runtime, known_account = step.runtime, step.job.fact("account")
    credential = job_credential(step)
    # A session belongs to the account that opened it; another account needs a new session.
    keeps_session = known_account in (None, credential.name)
    if step.is_follow_up_edit and not keeps_session:
        # A follow-up edit stays in its session and is paid by the account that owns it now.
        step.note_facts(account=credential.name)
        keeps_session = True
    if step.job.fact("uploaded") and keeps_session:
        return continue_in(State.GENERATING)
    with runtime.open_client(credential.token) as client:
        held = _check_credits(step, client, credential, keeps_session=keeps_session)
        if held is not None:
            return held
        with scratch_folder() as folder:
            inputs = gather_inputs(step, Path(folder))
            _record_inputs(step, inputs)
            known_session = step.job.fact("session_id")
            session_id = _open_session(step, client, credential, keeps_session=keeps_session)
            _note_upload(step, is_new=session_id != known_session)
            _upload(step, client, session_id, inputs.files)
    return continue_in(State.GENERATING, {"uploaded": "1", "uploading": ""})


def _check_credits(
    step: StepContext, client: NemoClient, credential: Credential, *, keeps_session: bool
) -> Commit | None:
    """Hold a job that cannot be paid, before it uploads. The intent to pay reserves the price."""
    runtime, clip_cost = step.runtime, step.runtime.settings.api.clip_cost
    account = step.account or runtime.ledger.account(credential.name)
    age = step.clock.now_ms() - account.read_at
    # The account may have been topped up since the last reading, and the job then released.
    is_old = not account.affordable_clips(clip_cost) and age > MAX_BALANCE_AGE_MS
    if not account.is_read or is_old:
        if not runtime.balance_monitor.read_balance(credential):
            return repeat_later(step, with_jitter(backoff_seconds(0)))
        account = runtime.ledger.account(credential.name)
    if not account.affordable_clips(clip_cost):
        if credential.anonymous and not account.bind_id:
            # The link for the registration of the account contains the id of a session.
            _open_session(step, client, credential, keeps_session=keeps_session)
        return hold_for_credits(step, account)
    if account.plan_refused:
        return hold_for_plan(step, credential.name)
    batch = runtime.ledger.batch(step.job.batch_id) if step.job.batch_id else None
    if batch is not None and not batch.may_spend(account.price(clip_cost)):
        return hold_for_budget(step, batch.max_credits or 0)
    return None


def _record_inputs(step: StepContext, inputs: JobInputs) -> None:
    """Note how the image was changed, and what the message says about the files."""
    image, picture = inputs.image, ""
    if step.uses_shared_session:
        picture = image.name if image else str(step.job.payload["image"])
    step.note_facts(
        # A follow-up edit keeps the image name of the job that it edits.
        media_name=image.name if image else step.job.fact("media_name") or "",
        changes=json.dumps(image.changes if image else (), ensure_ascii=False),
        attached=inputs.purposes,
        picture=picture,
    )


def _open_session(
    step: StepContext, client: NemoClient, credential: Credential, *, keeps_session: bool
) -> str:
    """Return the id of the job's session; open a new one if there is none that can be used.

    A session in which an upload may have arrived cannot be used, because a second copy of the image
    would change the clip.
    """
    session_id = step.job.fact("session_id")
    is_clean = step.is_follow_up_edit or not step.job.fact("uploading")
    if session_id and keeps_session and is_clean:
        return session_id
    step.note_facts(**NO_SESSION)
    session = client.create_session(str(step.job.payload.get("language", "en")))
    step.note_facts(
        session_id=session.session_id,
        task_id=session.task_id,
        bind_id=session.bind_id or "",
    )
    runtime = step.runtime
    if credential.anonymous:
        runtime.payments.store_bind_id(credential.name, session.bind_id or session.task_id)
    try:
        step.note_facts(claim_url=client.claim_link(session.task_id, session.session_id))
    except RateLimited:
        raise
    except NemoError as error:
        # The job does not need the link.
        log.info("claim link not available", error=str(error))
    return session.session_id


def _note_upload(step: StepContext, *, is_new: bool) -> None:
    """Note that an upload may arrive in the session, which is not used again if the step fails.

    A new session is not in the record yet. If no other job uses it, the note needs no write of its
    own, because a worker that dies leaves neither the session nor the note in the record.

    Args:
        step: The step.
        is_new: Whether the step itself has opened the session.
    """
    if is_new and not step.uses_shared_session:
        step.note_facts(uploading="1")
        return
    step.update_facts(uploading="1")
    if is_new and not step.runtime.ledger.share_session(step.job.id, step.lease.fence):
        raise LeaseLostError


def _upload(
    step: StepContext, client: NemoClient, session_id: str, files: Sequence[PreparedFile]
) -> None:
    if step.job.payload.get("pass_url"):
        client.upload_urls(session_id, [str(step.job.payload["image"])])
    for prepared in files:
        with prepared.path.open("rb") as file:
            client.upload_file(session_id, prepared.name, prepared.content_type, file)

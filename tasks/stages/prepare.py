"""Prepare: the files, the account, the money gate, the session, the upload."""

import json
from collections.abc import Sequence
from pathlib import Path

import structlog

from tasks.stages.inputs import JobInputs, gather_inputs
from tasks.step.context import FORGET_SESSION, LeaseLostError, Step, with_jitter
from tasks.step.session_acquisition import acquire_session, is_follow_up_edit, uses_shared_session
from worker.accounts.credentials import Credential
from worker.ledger.ledger import Commit
from worker.ledger.model.states import State
from worker.media import PreparedFile
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError, RateLimited
from worker.policy import backoff_seconds
from worker.resources.scratch import scratch_folder

log = structlog.get_logger(__name__)


def prepare(step: Step) -> Commit:
    """Bring the job to where only the paid message is missing; done parts are not done again."""
    joined = acquire_session(step)
    if isinstance(joined, Commit):
        return joined
    step, runtime = joined, joined.runtime
    known = step.job.fact("account")
    credential = step.credential()
    moved = known is not None and known != credential.name
    if moved and is_follow_up_edit(step):
        # It stays in its session, and is paid from the account that keeps this by now.
        step.update_facts(account=credential.name)
        moved = False
    if step.job.fact("uploaded") and not moved:
        return Commit(State.GENERATING, facts={"tries": "0"})
    with runtime.clients.open(credential.token) as client:
        short = _gate(step, client, credential, may_reuse=not moved)
        if short is not None:
            return short
        with scratch_folder() as folder:
            material = gather_inputs(step, Path(folder))
            _note(step, material)
            # A session belongs to the account that opened it.
            session_id = _session(step, client, credential, may_reuse=not moved)
            step.update_facts(uploading="1")
            _upload(step, client, session_id, material.files)
    return Commit(State.GENERATING, facts={"uploaded": "1", "uploading": "", "tries": "0"})


def _note(step: Step, material: JobInputs) -> None:
    """Keep what was changed, and what the message says of the files."""
    image = material.image
    step.update_facts(
        # A follow-up shows the picture of the job that it follows.
        media_name=image.name if image else step.job.fact("media_name") or "",
        changes=json.dumps(image.changes if image else (), ensure_ascii=False),
        attached=material.purposes,
        picture=_picture(step, material) if uses_shared_session(step) else "",
    )


def _picture(step: Step, material: JobInputs) -> str:
    return material.image.name if material.image else str(step.job.payload["image"])


def _gate(
    step: Step, client: NemoClient, credential: Credential, *, may_reuse: bool
) -> Commit | None:
    """No upload for a job that cannot be paid; the reservation itself is made at the message."""
    runtime, at_least = step.runtime, step.runtime.settings.api.clip_cost
    account = runtime.ledger.account(credential.name)
    if not account.is_read:
        if not runtime.balance_monitor.read_balance(credential):
            return step.retry_later(with_jitter(backoff_seconds(0)))
        account = runtime.ledger.account(credential.name)
    price = account.price(at_least)
    if not account.affordable_clips(at_least):
        if credential.anonymous and not account.bind_id:
            # Without a session there is no link by which its owner could register.
            _session(step, client, credential, may_reuse=may_reuse)
        return step.hold_for_credits(
            f"{account.headroom:g} credits are left on {account.name}, a clip costs about "
            f"{price:g}."
        )
    batch = runtime.ledger.batch(step.job.batch_id) if step.job.batch_id else None
    if batch is not None and not batch.may_spend(price):
        return step.hold_for_budget(batch.max_credits or 0)
    return None


def _session(step: Step, client: NemoClient, credential: Credential, *, may_reuse: bool) -> str:
    """The job's session: the one that is open and clean, else a new one.

    An upload that may have arrived makes a session unclean: a second copy of the image would
    change the clip.
    """
    known = step.job.fact("session_id")
    if known and may_reuse and (is_follow_up_edit(step) or not step.job.fact("uploading")):
        return known
    step.update_facts(**FORGET_SESSION)
    session = client.create_session(str(step.job.payload.get("language", "en")))
    step.update_facts(
        session_id=session.session_id,
        task_id=session.task_id,
        bind_id=session.bind_id or "",
    )
    if credential.anonymous:
        step.runtime.ledger.store_bind_id(credential.name, session.bind_id or session.task_id)
    try:
        step.update_facts(claim_url=client.claim_link(session.task_id, session.session_id))
    except RateLimited:
        raise
    except NemoError as error:
        # The link is a convenience for people; a job does not wait for it.
        log.info("there is no link to the project", error=str(error))
    if uses_shared_session(step) and not step.runtime.ledger.share_session(
        step.job.id, step.lease.fence
    ):
        raise LeaseLostError
    return session.session_id


def _upload(step: Step, client: NemoClient, session_id: str, files: Sequence[PreparedFile]) -> None:
    if step.job.payload.get("pass_url"):
        client.upload_urls(session_id, [str(step.job.payload["image"])])
    for prepared in files:
        with prepared.path.open("rb") as file:
            client.upload_file(session_id, prepared.name, prepared.content_type, file)

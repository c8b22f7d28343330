"""Prepare: the image, the account, the money gate, the session, the upload."""

import json
import tempfile
from pathlib import Path

from worker.media import PreparedImage, prepare_image
from worker.offload import offload
from worker.sources import fetch_image, resolve_path

from tasks.step import Step
from worker.accounts import Credential
from worker.ledger.ledger import Commit
from worker.ledger.states import Reason, State
from worker.nemo.client import NemoClient
from worker.nemo.errors import NemoError, RateLimited
from worker.policy import growing_wait

MAX_IMAGE_BYTES = 200 * 10**6


def prepare(step: Step) -> Commit:
    """Bring the job to where only the paid message is missing; done parts are not done again."""
    facts = dict(step.job.facts)
    if facts.get("uploaded"):
        return Commit(State.GENERATING, facts={"tries": "0"})
    runtime = step.runtime
    with tempfile.TemporaryDirectory(prefix="reelqueue-") as folder:
        image = None
        if not _passes_url(step):
            image = _image(step, Path(folder))
        credential = (
            runtime.accounts.of(facts["account"])
            if facts.get("account")
            else runtime.accounts.choose()
        )
        step.record(account=credential.name, token_id=credential.token_id)
        short = _gate(step, credential)
        if short is not None:
            return short
        with runtime.clients.open(credential.token) as client:
            session_id = _session(step, client)
            step.record(uploading="1")
            _upload(step, client, session_id, image)
    return Commit(State.GENERATING, facts={"uploaded": "1", "uploading": "", "tries": "0"})


def _passes_url(step: Step) -> bool:
    return bool(step.job.payload.get("pass_url"))


def _image(step: Step, folder: Path) -> PreparedImage:
    """Fetch, check and clean the image; the cleaned one is what is uploaded."""
    payload, settings = step.job.payload, step.runtime.settings
    given = str(payload["image"])
    raw = folder / "given"
    if payload.get("media"):
        step.runtime.media.fetch(payload["media"], raw)
    elif given.startswith(("http://", "https://")):
        fetch_image(
            given,
            raw,
            private_hosts=settings.private_hosts,
            api_host=settings.api_url,
            max_bytes=MAX_IMAGE_BYTES,
        )
    else:
        raw = resolve_path(given, settings.media_roots)
    name = Path(given.split("?", 1)[0]).name or "image"
    cleaned = folder / "cleaned"
    cleaned.mkdir()
    image = offload(prepare_image, raw, name, cleaned)
    step.record(media_name=image.name, changes=json.dumps(image.changes, ensure_ascii=False))
    return image


def _gate(step: Step, credential: Credential) -> Commit | None:
    """No upload for a job that cannot be paid; the reservation itself is made at the message."""
    runtime, settings = step.runtime, step.runtime.settings
    account = runtime.ledger.account(credential.name)
    if account is None:
        if not runtime.treasury.read(credential):
            return step.again(growing_wait(0))
        account = runtime.ledger.account(credential.name)
    if account is not None and account.headroom < settings.clip_cost:
        return step.hold(
            Reason.CREDITS,
            f"{account.headroom:g} credits are left on {credential.name}, a clip costs about "
            f"{settings.clip_cost}.",
        )
    return None


def _session(step: Step, client: NemoClient) -> str:
    """The job's session: the one that is open and clean, else a new one.

    An upload that may have arrived makes a session unclean: a second copy of the image would
    change the clip.
    """
    known = step.job.fact("session_id")
    if known and not step.job.fact("uploading"):
        return known
    session = client.create_session(str(step.job.payload.get("language", "en")))
    step.record(
        session_id=session.session_id,
        task_id=session.task_id,
        bind_id=session.bind_id or "",
        claim_url="",
        uploading="",
    )
    try:
        step.record(claim_url=client.claim_link(session.task_id, session.session_id))
    except RateLimited:
        raise
    except NemoError:
        # The link is a convenience for people; a job does not wait for it.
        step.record(claim_url="")
    return session.session_id


def _upload(step: Step, client: NemoClient, session_id: str, image: PreparedImage | None) -> None:
    if image is None:
        client.upload_urls(session_id, [str(step.job.payload["image"])])
        return
    with image.path.open("rb") as file:
        client.upload_file(session_id, image.name, image.content_type, file)

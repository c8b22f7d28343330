"""Render: one export, polled at the interval; once more with a new id when it fails."""

from uuid import uuid4

from tasks.step.context import RENDER_TRIES, Step
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.nemo.client import NemoClient
from worker.nemo.draft import Draft
from worker.nemo.errors import Refusal
from worker.nemo.responses import RenderState, RenderStatus


def render(step: Step) -> Commit:
    """Submit the export, or look at it."""
    with step.runtime.clients.open(step.token()) as client:
        if not step.job.fact("render_id"):
            # Recorded before the request: whoever comes after knows which render to look for.
            render_id = f"render_{step.runtime.ledger.now_ms()}_{uuid4().hex[:8]}"
            step.update_facts(render_id=render_id, polls="0", render_submitted="")
            return _submit(step, client, render_id)
        render_id = step.job.facts["render_id"]
        if not step.job.fact("render_submitted"):
            return _find_or_submit(step, client, render_id)
        return _look(step, client.render_status(render_id))


def _submit(step: Step, client: NemoClient, render_id: str) -> Commit:
    draft = Draft.unpack(step.job.facts["draft"])
    client.submit_render(render_id, step.job.facts["session_id"], draft)
    return Commit(
        State.RENDERING,
        delay=step.runtime.settings.timing.render_poll_seconds,
        facts={"render_submitted": "1", "tries": "0"},
    )


def _find_or_submit(step: Step, client: NemoClient, render_id: str) -> Commit:
    """The request may or may not have arrived; the same id makes it one render either way."""
    try:
        status = client.render_status(render_id)
    except Refusal as error:
        if error.repeatable:
            raise
        return _submit(step, client, render_id)
    step.update_facts(render_submitted="1")
    return _look(step, status)


def _look(step: Step, status: RenderStatus) -> Commit:
    settings = step.runtime.settings
    polls = step.job.number("polls") + 1
    match status.status:
        case RenderState.COMPLETED:
            return Commit(
                State.DELIVERING,
                facts={"source_url": status.url or "", "polls": str(polls), "tries": "0"},
            )
        case RenderState.FAILED:
            return step.render_again(status.message or "The API says that the render failed.")
        case RenderState.PENDING | RenderState.PROCESSING:
            if polls < settings.timing.render_max_polls:
                return Commit(
                    State.RENDERING,
                    delay=settings.timing.render_poll_seconds,
                    facts={"polls": str(polls), "tries": "0"},
                )
            if step.job.number("render_tries") + 1 < RENDER_TRIES:
                return step.render_again("The render is slow.")
            return step.hold(
                Reason.RENDER_SLOW,
                f"The render is still {status.status} after {polls} looks.",
                facts={"polls": "0"},
            )

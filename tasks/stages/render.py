"""The rendering stage: submits an export and polls it, and renders once more if it fails."""

from dataclasses import dataclass
from uuid import uuid4

from tasks.step.commits import MAX_RENDERS, continue_in, hold, render_again
from tasks.step.context import StepContext
from tasks.step.credentials import account_name, open_client
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.nemo.client import NemoClient
from worker.nemo.draft import Draft
from worker.nemo.errors import Refusal
from worker.nemo.responses import RenderState, RenderStatus


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """The answer to a poll that was made before its step runs.

    Attributes:
        found: The status of the render, or the error of the poll.
        token_id: The fingerprint of the token that it was made with.
    """

    found: RenderStatus | Exception
    token_id: str


def render(step: StepContext) -> Commit:
    """Submit the export, or poll it if it was submitted."""
    with open_client(step) as client:
        render_id = step.job.fact("render_id")
        if render_id is None:
            # Recorded before the request, so that a later step can look for the render.
            step.update_facts(**_new_render(step))
            return _submit(step, client, step.job.facts["render_id"])
        if not step.job.fact("render_submitted"):
            if step.job.fact("render_step") == str(step.job.fence):
                return _submit(step, client, render_id)
            return _find_or_submit(step, client, render_id)
        return _evaluate(step, client.render_status(render_id))


def first_render(step: StepContext) -> dict[str, str]:
    """Return the facts of a render that the next step submits.

    The fence of each step is one more than that of the step before. So the step whose fence is
    ``render_step`` is the first one after this, and no step has submitted the render before it.
    """
    return {**_new_render(step), "render_step": str(step.job.fence + 1)}


def _new_render(step: StepContext) -> dict[str, str]:
    render_id = f"render_{step.clock.now_ms()}_{uuid4().hex[:8]}"
    return {"render_id": render_id, "polls": "0", "render_submitted": ""}


def render_after_poll(step: StepContext, answer: PollAnswer) -> Commit:
    """Do what follows from a poll that was made already.

    Raises:
        Exception: The error of the poll.
    """
    step.used_tokens.append(answer.token_id)
    if isinstance(answer.found, Exception):
        raise answer.found
    return _evaluate(step, answer.found)


def is_polled_again(status: RenderStatus, polls: int, max_polls: int) -> bool:
    """Return whether a render is polled again after this many polls."""
    is_unfinished = status.status in {RenderState.PENDING, RenderState.PROCESSING}
    return is_unfinished and polls < max_polls


def _submit(step: StepContext, client: NemoClient, render_id: str) -> Commit:
    draft = Draft.unpack(step.job.facts["draft"])
    client.submit_render(render_id, step.job.facts["session_id"], draft)
    # The account has another name if its token was replaced.
    for name in {account_name(step), step.job.facts["account"]}:
        step.runtime.payments.clear_plan_refused(name)
    return _poll_later(step, render_submitted="1")


def _find_or_submit(step: StepContext, client: NemoClient, render_id: str) -> Commit:
    """Find a render whose request may have arrived; else submit it with the same id."""
    try:
        status = client.render_status(render_id)
    except Refusal as error:
        if error.repeatable:
            raise
        return _submit(step, client, render_id)
    step.update_facts(render_submitted="1")
    return _evaluate(step, status)


def _evaluate(step: StepContext, status: RenderStatus) -> Commit:
    """Decide what follows from the status of the render."""
    polls = step.job.number("polls") + 1
    if is_polled_again(status, polls, step.runtime.settings.timing.render_max_polls):
        return _poll_later(step, polls=str(polls))
    match status.status:
        case RenderState.COMPLETED:
            return continue_in(
                State.DELIVERING, {"source_url": status.url or "", "polls": str(polls)}
            )
        case RenderState.FAILED:
            return render_again(step, status.message or "The API reports that the render failed.")
        case RenderState.PENDING | RenderState.PROCESSING:
            if step.job.number("render_tries") + 1 < MAX_RENDERS:
                return render_again(step, "The render is slow.")
            return hold(
                step,
                Reason.RENDER_SLOW,
                f"The render is still {status.status} after {polls} polls.",
                facts={"polls": "0"},
            )


def _poll_later(step: StepContext, **facts: str) -> Commit:
    delay = step.runtime.settings.timing.render_poll_seconds
    return continue_in(State.RENDERING, facts, delay=delay)

"""The reply of a job: what the agent said, for people who do not see its screen.

Source: docs/video-api.md, "What the backend says and what we do". The job exports by itself, and
the reply adds the timeline and the credits where the agent refers to them. An edit would be a paid
message, so the reply only names the command for it.
"""

from collections.abc import Callable

from tasks.step.context import StepContext
from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Job
from worker.nemo.agent_text import ImpliedAction, remove_instructions
from worker.nemo.draft import Draft


def reply_of(
    job: Job, agent_text: str, timeline: str, read_account: Callable[[], Account | None]
) -> str:
    """Return the agent's text without instructions for a screen, and with what they refer to.

    Args:
        job: The job.
        agent_text: All texts of the message's stream.
        timeline: The draft in one line.
        read_account: Reads the job's account; None if it has none. Few texts need it.
    """
    if not agent_text:
        return f"Done; the agent sent no text. {timeline}"
    cleaned = remove_instructions(agent_text)
    parts = [cleaned.text or "Done."]
    if ImpliedAction.TIMELINE in cleaned.actions or not cleaned.text:
        parts.append(timeline)
    if ImpliedAction.CREDITS in cleaned.actions:
        account = read_account()
        if account is not None and account.is_read:
            left = f"{account.available:g} available, {account.reserved:g} reserved"
            parts.append(f"Credits: {left}.")
    if ImpliedAction.EDIT in cleaned.actions:
        parts.append(f'To change the clip, describe the change: `reelqueue say {job.id} "…"`.')
    return "\n\n".join(parts)


def question_of(agent_text: str) -> str:
    """Return the agent's question without instructions for a screen, unless nothing is left."""
    return remove_instructions(agent_text).text or agent_text


def draft_facts(step: StepContext, draft: Draft, agent_text: str) -> dict[str, str]:
    """Return the facts of a finished draft, which all exports of the job use."""
    job, timeline = step.job, draft.timeline()

    def read_account() -> Account | None:
        name = job.fact("account")
        return step.runtime.ledger.account(name) if name else None

    return {
        "draft": draft.pack(),
        "timeline": timeline,
        "reply": reply_of(job, agent_text, timeline, read_account),
    }

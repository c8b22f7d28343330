"""The reply of a job: what the agent said, for people who have no screen of it.

Source: the contract, «What the backend says and what we do». The export follows by itself; the
timeline and the credits are told where the agent points at them; an edit by dragging would be a
paid message, so it is left to a person.
"""

from typing import Final

from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Job
from worker.nemo.agent_text import ImpliedAction, translate

SILENT_EDIT: Final = "Done without a word. {timeline}"


def reply_of(job: Job, said: str, timeline: str, account: Account | None) -> str:
    """The agent's words without its instructions, and what these stood for.

    Args:
        job: The job.
        said: All texts of the message's stream.
        timeline: The draft in a line.
        account: What is known of the money of the job's account.
    """
    if not said:
        return SILENT_EDIT.format(timeline=timeline)
    speech = translate(said)
    parts = [speech.text or "Done."]
    if ImpliedAction.TIMELINE in speech.actions or not speech.text:
        parts.append(timeline)
    if ImpliedAction.CREDITS in speech.actions and account is not None and account.is_read:
        parts.append(f"Credits: {account.available:g} available, {account.reserved:g} reserved.")
    if ImpliedAction.EDIT in speech.actions:
        parts.append(f'To change it by words: `reelqueue say {job.id} "…"`.')
    return "\n\n".join(parts)


def question_of(said: str) -> str:
    """A question of the agent without its instructions; whole where nothing else is left."""
    return translate(said).text or said

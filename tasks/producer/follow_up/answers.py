"""Answers to texts that need no new job: an export, the credits or the state of a job. All free."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from tasks.producer.balances import refresh_balances
from tasks.producer.follow_up.text_routing import TextAction
from tasks.producer.producer import Producer
from tasks.producer.queries import get
from tasks.schema.result import Result
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.verdicts import ReleaseVerdict, RetryVerdict


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a text that makes no job: the action that was recognized, and a text."""

    action: TextAction
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {**asdict(self), "action": self.action.value}


HELP: Final = (
    "You can describe a change to the clip, which is a new, paid edit. Free of charge, you can ask "
    "for the export, the credits or the status, upload a file, or cancel the job."
)


def answer_small_talk(action: TextAction, job: Job) -> Answer:
    """Answer a text on which nothing is done here, such as thanks or a cancellation."""
    texts = {
        TextAction.THANKS: f"You are welcome. {HELP}",
        TextAction.HELP: HELP,
        TextAction.CANCEL: f"Nothing was changed. To cancel the job: `reelqueue cancel {job.id}`.",
        TextAction.CLARIFY: "Nothing was sent. Describe the change in a few words, as in "
        '"zoom in on the cup, 5 seconds".',
    }
    return Answer(action, texts[action])


def answer_export(producer: Producer, job: Job) -> Answer:
    """Answer where the clip is. If only the export is missing, resume it, which costs nothing."""
    result = get(producer, job.id)
    if result.video is not None:
        text = f"The clip is ready: {result.video.path or result.video.url}"
    elif job.fact("draft") and _resume_export(producer, job):
        text = f"The export continues, at no cost: `reelqueue watch {job.id}`."
    else:
        text = f"There is no clip yet. {_why_no_clip(result)}"
    return Answer(TextAction.EXPORT, text)


def _resume_export(producer: Producer, job: Job) -> bool:
    with producer.redis_errors():
        if job.state is State.HELD:
            return producer.ledger.release(job.id, who="say: export") is ReleaseVerdict.OK
        if job.state is State.FAILED:
            return producer.ledger.retry(job.id) is RetryVerdict.OK
    return False


def _why_no_clip(result: Result) -> str:
    if result.reason is not None:
        return f"{result.state}: {result.reason.message} {result.reason.remedy}"
    if result.state.is_end:
        return f"The job is {result.state} and will have none."
    return (
        f"{result.progress.message} It will be exported automatically: "
        f"`reelqueue watch {result.job_id}`."
    )


def answer_state(producer: Producer, job: Job) -> Answer:
    """Answer what state a job is in, and what is on its timeline."""
    result = get(producer, job.id)
    if result.reason is not None:
        message = f"{result.reason.message} {result.reason.remedy}"
    else:
        message = result.progress.message
    parts = [f"{result.state}: {message}", result.timeline]
    return Answer(TextAction.STATE, " ".join(filter(None, parts)))


def answer_credits(producer: Producer) -> Answer:
    """Read the balance of each account from the video API, and report it."""
    problems = refresh_balances(producer)
    balances = [
        f"{account.name}: {account.available:g} credits available, {account.reserved:g} reserved, "
        f"{account.spent:g} spent."
        for account in producer.ledger.accounts()
        if account.is_read
    ]
    text = " ".join([*balances, *problems]) or "No balance is known yet."
    return Answer(TextAction.CREDITS, text)

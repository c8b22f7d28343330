"""The way out of each hold and failure, as a sentence with the command that takes it."""

from urllib.parse import quote

from config.settings import Settings
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason


def remedy_message(reason: Reason, job: Job, settings: Settings, *, bind_id: str = "") -> str:
    """What a person can do about a job that stands still.

    Args:
        reason: Why it does.
        job: The job.
        settings: Whose accounts they are.
        bind_id: What binds the anonymous account to a registered one (contract, "Codes", 2001).
    """
    match reason:
        case Reason.CREDITS:
            if settings.api.tokens:
                return (
                    f"Top up the account at {settings.api.web_url}; the job goes on by itself when "
                    f"the balance has grown."
                )
            link = f"{settings.api.web_url}/register?bind={quote(bind_id, safe='')}"
            return (
                f"Register at {link}, or set NEMO_TOKEN; the job goes on by itself when there are "
                f"credits."
            )
        case Reason.BUDGET:
            return (
                "Submit the batch again with a higher --max-credits: what that pays for goes on by "
                "itself."
            )
        case Reason.TOKEN:
            return (
                f"Set a valid NEMO_TOKEN and restart the workers; what has not paid goes on by "
                f"itself then, and the rest by `reelqueue release {job.id}`."
            )
        case Reason.PLAN:
            return (
                f"The plan does not allow export. Upgrade it, or set a NEMO_TOKEN whose plan does, "
                f"then `reelqueue release {job.id}`: the clip is exported, not paid again."
            )
        case Reason.SESSION_LOST if not job.paid_messages:
            return (
                "Nothing was paid for this edit; the project that it was to go on in is gone. "
                "Submit the image again, with all that is wanted in one prompt."
            )
        case Reason.OUTCOME_UNKNOWN | Reason.SESSION_LOST:
            return (
                f"Look at the project ({job.fact('claim_url') or 'no link'}), then choose: "
                f"`reelqueue release {job.id} --as-done` takes its present draft, "
                f"`reelqueue release {job.id} --pay-again` pays for a new one."
            )
        case Reason.QUESTION:
            return (
                f"Submit the image again with a clearer prompt, or pay for another try: "
                f"`reelqueue release {job.id} --pay-again`."
            )
        case Reason.RENDER_SLOW:
            return f"`reelqueue release {job.id}` looks again; it costs nothing."
        case Reason.POISON:
            return f"Look at the workers' logs, then `reelqueue release {job.id}`."
        case Reason.BLOCKED:
            return "Decide about the job before it in its shared session first."
        case Reason.RENDER_FAILED | Reason.DELIVERY_FAILED | Reason.BAD_CLIP:
            return f"`reelqueue retry {job.id}` renders and fetches again; it costs nothing."
        case Reason.SOURCE_UNREACHABLE:
            return f"Check the address, then `reelqueue retry {job.id}`."
        case Reason.FORBIDDEN_SOURCE:
            return "Name an image that this service may read; see REELQUEUE_MEDIA_ROOTS."
        case Reason.UNSUPPORTED_FILE | Reason.BAD_IMAGE:
            return "Give a JPEG, PNG, WEBP, GIF, HEIC, AVIF, TIFF or BMP image that opens."
        case Reason.FILE_TOO_LARGE:
            return "Compress or trim the file to at most 200 MB."
        case Reason.BAD_REQUEST | Reason.KEY_CONFLICT:
            return "Mend the request and submit it again."

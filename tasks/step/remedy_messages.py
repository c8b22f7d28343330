"""What people can do about a held or failed job, with the command that does it."""

from urllib.parse import quote

from config.settings import Settings
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import POISON_REMEDY, Reason


def remedy_without_draft(job: Job) -> str:
    """Return what people can do about an undecided job whose project shows no draft of its own."""
    return (
        f"Look at the project ({job.fact('claim_url') or 'no link'}). `reelqueue release {job.id} "
        f"--pay-again` pays for a new clip, `reelqueue cancel {job.id} --yes` gives this one up."
    )


def remedy_message(reason: Reason, job: Job, settings: Settings, *, bind_id: str = "") -> str:
    """Return what people can do about a held or failed job.

    Args:
        reason: Why the job is held or failed.
        job: The job.
        settings: The worker's settings.
        bind_id: The id that binds the anonymous account to a registered one (docs/video-api.md,
            "Codes", 2001).
    """
    web_url, release = settings.api.web_url, f"reelqueue release {job.id}"
    match reason:
        case Reason.CREDITS if settings.api.tokens:
            return f"Top up the account at {web_url}; the job continues when the balance has grown."
        case Reason.CREDITS:
            link = f"{web_url}/register?bind={quote(bind_id, safe='')}"
            return f"Register at {link}, or set NEMO_TOKEN; the job continues when it has credits."
        case Reason.BUDGET:
            return (
                f"Run `reelqueue release {job.batch_id or 'BATCH'} --max-credits CREDITS` with "
                "what the batch may spend in total. The jobs that it covers continue."
            )
        case Reason.TOKEN:
            return (
                f"Set a valid NEMO_TOKEN and restart the workers. A job that has not paid "
                f"continues by itself; for one that has, run `{release}`."
            )
        case Reason.PLAN if not job.paid_messages:
            return (
                "Nothing was paid. Upgrade the plan, or set a NEMO_TOKEN whose plan allows "
                "exports. The job continues when an export of a paid job succeeds, or after "
                "`reelqueue release --reason plan`."
            )
        case Reason.PLAN:
            return (
                f"The plan does not allow export. Upgrade it, or set a NEMO_TOKEN whose plan does, "
                f"then run `{release}`: the clip is exported and not paid for again. The export "
                f"of one job is also tried again from time to time."
            )
        case Reason.SESSION_LOST if not job.paid_messages:
            return (
                "Nothing was paid for this edit, and the project that it edits no longer exists. "
                "Submit the image again, with everything that you want in one prompt."
            )
        case Reason.OUTCOME_UNKNOWN | Reason.SESSION_LOST if job.fact("as_done"):
            return remedy_without_draft(job)
        case Reason.SESSION_LOST:
            return (
                f"`{release} --pay-again` pays for a new clip in a new project, `reelqueue cancel "
                f"{job.id} --yes` gives this one up. If the project is there again, "
                f"`{release} --as-done` uses its current draft."
            )
        case Reason.OUTCOME_UNKNOWN:
            return (
                f"Look at the project ({job.fact('claim_url') or 'no link'}), then choose: "
                f"`{release} --as-done` uses its current draft, "
                f"`{release} --pay-again` pays for a new one."
            )
        case Reason.QUESTION:
            return (
                f"Submit the image again with a clearer prompt, or pay for another attempt: "
                f"`{release} --pay-again`."
            )
        case Reason.RENDER_SLOW:
            return f"Run `{release}` to check the render again, free of charge."
        case Reason.POISON:
            return POISON_REMEDY % job.id
        case Reason.BLOCKED:
            return "Release or cancel the job that blocks it; this one then continues by itself."
        case Reason.STORE:
            return (
                f"Correct what `reelqueue doctor` reports about the store. The job continues by "
                f"itself minutes later, and immediately after `{release}`; for all such jobs, run "
                "`reelqueue release --reason store`. Nothing is paid again."
            )
        case Reason.CLIP_INCOMPLETE:
            return f"Run `{release}` to render and download again, free of charge."
        case Reason.RENDER_FAILED | Reason.DELIVERY_FAILED | Reason.BAD_CLIP:
            return f"Run `reelqueue retry {job.id}` to render and download again, free of charge."
        case Reason.SOURCE_UNREACHABLE:
            return f"Check the address, then run `reelqueue retry {job.id}`."
        case Reason.FORBIDDEN_SOURCE:
            return "Use an image that this service may read; see REELQUEUE_MEDIA_ROOTS."
        case Reason.UNSUPPORTED_FILE | Reason.BAD_IMAGE:
            return "Use a JPEG, PNG, WEBP, GIF, HEIC, AVIF, TIFF or BMP image that can be opened."
        case Reason.FILE_TOO_LARGE:
            return "Compress or trim the file to at most 200 MB."
        case Reason.BAD_REQUEST | Reason.KEY_CONFLICT:
            return "Correct the request and submit it again."

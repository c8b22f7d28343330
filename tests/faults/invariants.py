"""The invariants of the ledger: each is a function that yields the violations in the evidence.

Source: docs/reliability.md, "The promises". They hold when no job is running any more; those about
counters hold at all times and are checked with samples, too.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.faults.evidence import Evidence, Fields
from worker.ledger.model.states import ENDS, RUNNING, State

Invariant = Callable[[Evidence], Iterator[str]]

_FINISHED: Final = frozenset({"clean", "silent"})
_RESULT_STATUS: Final = {
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "REVOKED",
    State.HELD: "HELD",
}


def turns(job: Fields) -> list[str]:
    """Return the calls of a job's turns: messages that were, or may have been, sent."""
    numbers = range(1, int(job["turn"]) + 1)
    return [call for n in numbers if (call := job.get(f"call:{n}"))]


def _jobs_by_picture(evidence: Evidence) -> Mapping[str, str]:
    """Return the job of each picture that was sent; the picture itself where it is of no job."""
    pictures = {
        message["image_sha256"]: f"picture {message['image_sha256']}" for message in evidence.sent
    }
    return {**pictures, **{picture: job_id for job_id, picture in evidence.inputs.items()}}


def paid_once_per_turn(evidence: Evidence) -> Iterator[str]:
    """A picture has at most as many messages as its job has turns with a call."""
    sent = Counter(message["image_sha256"] for message in evidence.sent)
    allowed = {evidence.inputs.get(job_id): turns(job) for job_id, job in evidence.jobs.items()}
    jobs = _jobs_by_picture(evidence)
    for picture, number in sent.items():
        calls = allowed.get(picture, [])
        if number > len(calls):
            yield f"{jobs[picture]}: {number} paid messages, {len(calls)} turns"


def paid_once_per_input(evidence: Evidence) -> Iterator[str]:
    """Whatever the records say: an input is paid once, and once more after a question or decision.

    All messages count, also those that were answered by a question.
    """
    sent = Counter(message["image_sha256"] for message in evidence.sent)
    asked = {m["image_sha256"] for m in evidence.sent if m["outcome"] == "question"}
    decided = {evidence.inputs.get(job_id): n for job_id, n in evidence.decided.items()}
    jobs = _jobs_by_picture(evidence)
    for picture, number in sent.items():
        questions, decisions = int(picture in asked), decided.get(picture, 0)
        if number > 1 + questions + decisions:
            yield (
                f"{jobs[picture]}: {number} paid messages, {questions} answered questions, "
                f"{decisions} decisions of a person"
            )


def messages_have_an_entry(evidence: Evidence) -> Iterator[str]:
    """Each paid message has an attempt in the payment journal that is not marked as not charged."""
    sent = Counter(message["image_sha256"] for message in evidence.sent)
    for job_id, picture in evidence.inputs.items():
        attempts = evidence.attempts.get(job_id, ())
        if sent[picture] > len(attempts):
            yield f"{job_id}: {sent[picture]} paid messages, {len(attempts)} entries"


def records_agree_with_the_journal(evidence: Evidence) -> Iterator[str]:
    """The calls on record are the attempts in the journal that may have been charged."""
    for job_id, job in evidence.jobs.items():
        recorded, written = turns(job), list(evidence.attempts.get(job_id, ()))
        if recorded != written:
            yield f"{job_id}: paid by its record {recorded}, by the journal {written}"


def later_turns_have_a_reason(evidence: Evidence) -> Iterator[str]:
    """A later turn follows only a question or a person's decision; `paid` counts the calls."""
    for job_id, job in evidence.jobs.items():
        for number in range(1, int(job["turn"])):
            if job.get(f"outcome:{number}") not in {"question", "pay_again"}:
                yield f"{job_id}: turn {number + 1} after {job.get(f'outcome:{number}')!r}"
        if int(job["paid"]) != len(turns(job)):
            yield f"{job_id}: {job['paid']} paid by its counter, but {len(turns(job))} calls"


def messages_never_overlap(evidence: Evidence) -> Iterator[str]:
    """A session has one message at a time."""
    for message in evidence.messages:
        if message["overlapping"]:
            yield f"session {message['session_id']}: two messages at the same time"


def no_job_is_lost(evidence: Evidence) -> Iterator[str]:
    """Each submitted job has a record, and there are no other records."""
    for job_id in evidence.inputs.keys() - evidence.jobs.keys():
        yield f"{job_id}: lost"
    for job_id in evidence.jobs.keys() - evidence.inputs.keys():
        yield f"{job_id}: never submitted"


def every_submission_is_a_job(evidence: Evidence) -> Iterator[str]:
    """Each submission by message has a job, and the Celery result that names it."""
    for task_id, job_id in evidence.submissions.items():
        if job_id not in evidence.jobs:
            yield f"{task_id}: no job"
        elif evidence.answers.get(task_id) != job_id:
            yield f"{task_id}: its result names {evidence.answers.get(task_id)}, not {job_id}"


def every_job_is_in_one_place(evidence: Evidence) -> Iterator[str]:
    """A job is in exactly one of: a flow, the agenda, a held set, a final state."""
    places = Counter(
        [
            *(job_id for queue in evidence.flows.values() for job_id in queue),
            *evidence.agenda,
            *(job_id for parked in evidence.held.values() for job_id in parked),
            *evidence.in_state(*ENDS),
        ]
    )
    for job_id in evidence.jobs:
        if places[job_id] != 1:
            yield f"{job_id} ({evidence.jobs[job_id]['state']}): in {places[job_id]} places"
    for job_id in places.keys() - evidence.jobs.keys():
        yield f"{job_id}: queued, but it has no record"


def limits_count_running_jobs_alone(evidence: Evidence) -> Iterator[str]:
    """No job counts against the limits on preparing when no job is running any more."""
    for job_id in evidence.preparing:
        yield f"{job_id}: still counted as preparing"


def no_job_is_left_running(evidence: Evidence) -> Iterator[str]:
    """Each job has ended or is held with reason, message and remedy; no job has an owner."""
    for job_id, job in evidence.in_state(State.QUEUED, *RUNNING).items():
        yield f"{job_id}: still {job['state']}"
    for job_id, job in evidence.in_state(State.HELD).items():
        if not (job.get("reason") and job.get("message") and job.get("remedy")):
            yield f"{job_id}: held without reason, message or remedy"
    for job_id, job in evidence.jobs.items():
        if job.get("owner"):
            yield f"{job_id}: owned by {job['owner'][:8]}, but it is {job['state']}"


def counters_add_up(evidence: Evidence) -> Iterator[str]:
    """Counters agree with the records, and in each sample they add up to all jobs."""
    found = Counter(f"n:{job['state']}" for job in evidence.jobs.values())
    found.update(f"h:{job['reason']}" for job in evidence.in_state(State.HELD).values())
    for name in sorted(found.keys() | evidence.counts.keys()):
        if found[name] != evidence.counts.get(name, 0):
            yield f"{name}: counted {evidence.counts.get(name, 0)}, found {found[name]}"
    for number, moment in enumerate(evidence.samples):
        total = sum(n for name, n in moment.counts.items() if name.startswith("n:"))
        if total != moment.jobs or min(moment.counts.values(), default=0) < 0:
            yield f"sample {number}: {dict(moment.counts)} of {moment.jobs} jobs"


def reservations_are_released(evidence: Evidence) -> Iterator[str]:
    """No slot is occupied; reservations add up to the stored sum and never exceed the balance."""
    for call in evidence.slots:
        yield f"call {call}: still occupies a slot"
    for account, (stored, single) in evidence.reserved.items():
        if abs(stored - sum(single.values())) > 1e-6:
            yield f"{account}: stored sum {stored:g}, but {sum(single.values()):g} reserved"
    for number, moment in enumerate(evidence.samples):
        for account, headroom in moment.headroom.items():
            if headroom < 0:
                yield f"sample {number}: {account} has reserved {-headroom:g} more than its balance"


def paid_clips_are_delivered(evidence: Evidence) -> Iterator[str]:
    """A job whose message made a clip is neither held nor failed, whatever the reason."""
    made = {m["image_sha256"] for m in evidence.messages if m["outcome"] in _FINISHED}
    for job_id, job in evidence.in_state(State.HELD, State.FAILED).items():
        if evidence.inputs.get(job_id) in made:
            yield f"{job_id}: {job['state']}, {job.get('reason')}, but its clip was made"


def finished_renders_are_delivered(evidence: Evidence) -> Iterator[str]:
    """A session with a completed render has one that was downloaded, and a succeeded job."""
    downloaded: dict[str, int] = {}
    for render in evidence.renders:
        if render["status"] == "completed":
            session = render["session_id"]
            downloaded[session] = downloaded.get(session, 0) + render["downloads"]
    succeeded = {job.get("session_id") for job in evidence.in_state(State.SUCCEEDED).values()}
    for session, downloads in downloaded.items():
        if not downloads:
            yield f"session {session}: its render was never downloaded"
        if session not in succeeded:
            yield f"session {session}: rendered, but no job of it succeeded"


def clips_match_their_records(evidence: Evidence) -> Iterator[str]:
    """The clips in the output store are those of the records.

    Where Redis has lost data, one may be there twice: the record of its first delivery was lost
    before the payment journal had the end, and a file in the store is never replaced.
    """
    recorded = {}
    for job_id, job in evidence.in_state(State.SUCCEEDED).items():
        clip = json.loads(job.get("clip") or "{}")
        if not clip:
            yield f"{job_id}: succeeded without a clip"
            continue
        recorded[clip["key"]] = clip["sha256"]
    for key in sorted(recorded.keys() | evidence.clips.keys()):
        if key not in recorded and key in evidence.stored_twice:
            continue
        if recorded.get(key) != evidence.clips.get(key):
            yield f"{key}: {evidence.clips.get(key)} in the store, {recorded.get(key)} on record"


def notifications_are_sent(evidence: Evidence) -> Iterator[str]:
    """The outbox is empty, and each job's Celery result agrees with its state."""
    for entry in evidence.outbox:
        yield f"{entry}: pending notification"
    for job_id, job in evidence.jobs.items():
        expected = _RESULT_STATUS.get(State(job["state"]))
        if expected and evidence.results.get(job_id) != expected:
            yield f"{job_id}: {job['state']}, but its result is {evidence.results.get(job_id)}"


def no_token_on_download_links(evidence: Evidence) -> Iterator[str]:
    """No token was sent with a download link."""
    if evidence.tokens_on_links:
        yield f"{evidence.tokens_on_links} downloads carried a token"


INVARIANTS: Final[tuple[Invariant, ...]] = (
    paid_once_per_turn,
    paid_once_per_input,
    messages_have_an_entry,
    records_agree_with_the_journal,
    later_turns_have_a_reason,
    messages_never_overlap,
    no_job_is_lost,
    every_submission_is_a_job,
    every_job_is_in_one_place,
    limits_count_running_jobs_alone,
    no_job_is_left_running,
    counters_add_up,
    reservations_are_released,
    paid_clips_are_delivered,
    finished_renders_are_delivered,
    clips_match_their_records,
    notifications_are_sent,
    no_token_on_download_links,
)


def violations(evidence: Evidence) -> list[str]:
    """Return all violations, each with the name of its invariant."""
    return [
        f"{invariant.__name__}: {found}"
        for invariant in INVARIANTS
        for found in invariant(evidence)
    ]

"""The invariants of the design, each a function from the evidence to what breaks it.

Source: the agenda protocol, «Invariants». They hold when nothing moves any more; those about
counters were sampled while it ran.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from tests.faults.evidence import Evidence, Fields
from worker.ledger.model.states import ENDS, RUNNING, Reason, State

Invariant = Callable[[Evidence], Iterator[str]]

_FINISHED: Final = frozenset({"clean", "silent"})
_TOLD: Final = {
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "REVOKED",
    State.HELD: "HELD",
}


def turns(job: Fields) -> list[str]:
    """The calls of a job's turns: messages that were, or may have been, sent."""
    numbers = range(1, int(job["turn"]) + 1)
    return [call for n in numbers if (call := job.get(f"call:{n}"))]


def paid_once_per_turn(evidence: Evidence) -> Iterator[str]:
    """No picture has more messages than its job has turns with a call."""
    sent = Counter(m["image_sha256"] for m in evidence.messages if m["outcome"] != "refused")
    allowed = {evidence.inputs.get(job_id): turns(job) for job_id, job in evidence.jobs.items()}
    for picture, number in sent.items():
        calls = allowed.get(picture, [])
        if number > len(calls):
            yield f"picture {picture[:12]}: {number} paid messages, {len(calls)} turns"


def later_turns_have_a_reason(evidence: Evidence) -> Iterator[str]:
    """A later turn stands only behind a question or a person's decision; «paid» counts calls."""
    for job_id, job in evidence.jobs.items():
        for number in range(1, int(job["turn"])):
            if job.get(f"outcome:{number}") not in {"question", "pay_again"}:
                yield f"{job_id}: turn {number + 1} after {job.get(f'outcome:{number}')!r}"
        if int(job["paid"]) != len(turns(job)):
            yield f"{job_id}: {job['paid']} paid by its counter, {len(turns(job))} calls"


def messages_never_overlap(evidence: Evidence) -> Iterator[str]:
    """One message at a time in a session."""
    for message in evidence.messages:
        if message["overlapping"]:
            yield f"session {message['session_id']}: two messages at once"


def no_job_is_lost(evidence: Evidence) -> Iterator[str]:
    """Each job that was submitted has a record, and there is no other."""
    for job_id in evidence.inputs.keys() - evidence.jobs.keys():
        yield f"{job_id}: lost"
    for job_id in evidence.jobs.keys() - evidence.inputs.keys():
        yield f"{job_id}: never submitted"


def every_job_is_in_one_place(evidence: Evidence) -> Iterator[str]:
    """A job is in exactly one of: a flow, the agenda, a held set, an end."""
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
        yield f"{job_id}: queued, but there is no record"


def no_job_is_left_running(evidence: Evidence) -> Iterator[str]:
    """Each job has ended or is held with a reason, a sentence and a way out; nobody owns it."""
    for job_id, job in evidence.in_state(State.QUEUED, *RUNNING).items():
        yield f"{job_id}: still {job['state']}"
    for job_id, job in evidence.in_state(State.HELD).items():
        if not (job.get("reason") and job.get("message") and job.get("remedy")):
            yield f"{job_id}: held without reason, sentence or way out"
    for job_id, job in evidence.jobs.items():
        if job.get("owner"):
            yield f"{job_id}: owned by {job['owner'][:8]}, but it is {job['state']}"


def counters_add_up(evidence: Evidence) -> Iterator[str]:
    """Counters are those of the records, and added up to all jobs at each sampled moment."""
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
    """No slot is kept, the sum of reservations is theirs, and it never passed the balance."""
    for call in evidence.slots:
        yield f"call {call}: still takes a slot"
    for account, (noted, single) in evidence.reserved.items():
        if abs(noted - sum(single.values())) > 1e-6:
            yield f"{account}: {noted:g} reserved by its sum, {sum(single.values()):g} one by one"
    for number, moment in enumerate(evidence.samples):
        for account, headroom in moment.headroom.items():
            if headroom < 0:
                yield f"sample {number}: {account} has reserved {-headroom:g} more than it has"


def finished_messages_are_recognized(evidence: Evidence) -> Iterator[str]:
    """What a message has made is never given up: its job is no unknown outcome."""
    made = {m["image_sha256"] for m in evidence.messages if m["outcome"] in _FINISHED}
    for job_id, job in evidence.in_state(State.HELD, State.FAILED).items():
        unknown = job.get("reason") in {Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST}
        if unknown and evidence.inputs.get(job_id) in made:
            yield f"{job_id}: {job['reason']}, but its clip was made"


def finished_renders_are_delivered(evidence: Evidence) -> Iterator[str]:
    """A session with a completed render has one that was fetched, and a job that succeeded."""
    fetched: dict[str, int] = {}
    for render in evidence.renders:
        if render["status"] == "completed":
            session = render["session_id"]
            fetched[session] = fetched.get(session, 0) + render["downloads"]
    succeeded = {job.get("session_id") for job in evidence.in_state(State.SUCCEEDED).values()}
    for session, downloads in fetched.items():
        if not downloads:
            yield f"session {session}: its render was never fetched"
        if session not in succeeded:
            yield f"session {session}: rendered, but no job of it succeeded"


def clips_match_their_records(evidence: Evidence) -> Iterator[str]:
    """Under a final name lies the clip of the record, and nothing else."""
    recorded = {}
    for job_id, job in evidence.in_state(State.SUCCEEDED).items():
        clip = json.loads(job.get("clip") or "{}")
        if not clip:
            yield f"{job_id}: succeeded without a clip"
            continue
        recorded[clip["key"]] = clip["sha256"]
    for key in sorted(recorded.keys() | evidence.clips.keys()):
        if recorded.get(key) != evidence.clips.get(key):
            yield f"{key}: {evidence.clips.get(key)} in the store, {recorded.get(key)} on record"


def notifications_are_sent(evidence: Evidence) -> Iterator[str]:
    """The outbox is empty, and each job's Celery result says how it stands."""
    for entry in evidence.outbox:
        yield f"{entry}: still to be told"
    for job_id, job in evidence.jobs.items():
        expected = _TOLD.get(State(job["state"]))
        if expected and evidence.results.get(job_id) != expected:
            yield f"{job_id}: {job['state']}, told as {evidence.results.get(job_id)}"


def no_token_on_download_links(evidence: Evidence) -> Iterator[str]:
    """No token was sent along with a download link."""
    if evidence.tokens_on_links:
        yield f"{evidence.tokens_on_links} downloads carried a token"


INVARIANTS: Final[tuple[Invariant, ...]] = (
    paid_once_per_turn,
    later_turns_have_a_reason,
    messages_never_overlap,
    no_job_is_lost,
    every_job_is_in_one_place,
    no_job_is_left_running,
    counters_add_up,
    reservations_are_released,
    finished_messages_are_recognized,
    finished_renders_are_delivered,
    clips_match_their_records,
    notifications_are_sent,
    no_token_on_download_links,
)


def violations(evidence: Evidence) -> list[str]:
    """Everything that breaks an invariant, each named by it."""
    return [
        f"{invariant.__name__}: {found}"
        for invariant in INVARIANTS
        for found in invariant(evidence)
    ]

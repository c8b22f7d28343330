"""A trial run of a manifest: what submitting it would do, and nothing written."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.manifests.batch_submission import AcceptedRow, RejectedRow, SessionMode, check_rows
from tasks.manifests.manifest import Manifest, batch_id_for
from tasks.manifests.suggestions import LOW_CONTRAST, Observations, is_vague
from tasks.producer.local_files import LocalFiles, hash_only
from tasks.producer.producer import Producer
from tasks.schema.estimates import estimate_seconds, jobs_ahead
from worker.file_refusal import FileRefusedError
from worker.ledger.pages import pages
from worker.media import measure_contrast


@dataclass(frozen=True, slots=True)
class DryRun:
    """What submitting a manifest would do. Credits and seconds are estimates."""

    rows: int
    good: int
    rejected: list[dict[str, Any]]
    duplicates: int
    credits: float
    seconds: float
    suggestions: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: the suggestions are called ``hints`` there."""
        fields = asdict(self)
        fields["hints"] = fields.pop("suggestions")
        return fields


@dataclass(slots=True)
class _Tally:
    """What was counted so far. Keys are kept by their hashes, to stay small."""

    contents: LocalFiles
    new: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    seen: Observations = field(default_factory=Observations)
    prints: dict[int, int] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    pictures: dict[str, float | str] = field(default_factory=dict)

    def reject(self, number: int, reason: str) -> None:
        self.rejected.append({"row": number, "reason": reason})


def dry_run_batch(
    producer: Producer,
    manifest: Manifest,
    *,
    name: str | None = None,
    session: SessionMode = SessionMode.OWN,
) -> DryRun:
    """Say what ``submit_manifest`` would do. Nothing is written and nothing copied.

    It looks closer than a submission: every picture is opened, so that a damaged one is told
    now and not when its job fails.

    Raises:
        ManifestError: The manifest cannot be read to its end.
        RedisUnavailable: Redis does not answer.
    """
    producer.ping()
    batch_id = batch_id_for(name or manifest.name)
    tally = _Tally(LocalFiles(hash_only, manifest.folder))
    for page in pages(manifest.rows):
        _count(producer, check_rows(page, batch_id, tally.contents), tally)
    jobs = tally.new.total()
    good = jobs + tally.duplicates
    return DryRun(
        rows=good + len(tally.rejected),
        good=good,
        rejected=sorted(tally.rejected, key=lambda row: int(row["row"])),
        duplicates=tally.duplicates,
        credits=jobs * producer.clip_price(),
        seconds=_estimate_seconds(producer, tally.new, batch_id, session),
        suggestions=list(_suggestions(producer, jobs, tally)),
    )


def _count(producer: Producer, page: list[AcceptedRow | RejectedRow], tally: _Tally) -> None:
    entries = [row for row in page if isinstance(row, AcceptedRow)]
    with producer.redis_errors():
        known = producer.ledger.lookup_keys(entry.new.key for entry in entries)
    taken = {entry.new.key: at[1] for entry, at in zip(entries, known, strict=True) if at}
    for row in page:
        if isinstance(row, RejectedRow):
            tally.reject(row.row.number, row.reason)
        else:
            _count_entry(row, taken.get(row.new.key), tally)


def _count_entry(entry: AcceptedRow, taken: str | None, tally: _Tally) -> None:
    number, mine = entry.row.number, hash(entry.new.fingerprint)
    before = tally.prints.setdefault(hash(entry.new.key), mine) if taken is None else hash(taken)
    if before != mine:
        tally.reject(number, f"key: {entry.job.key!r} is known with another payload.")
        return
    again = taken is not None or hash(entry.new.key) in tally.counted
    tally.counted.add(hash(entry.new.key))
    picture = _contrast(entry, tally)
    if isinstance(picture, str):
        tally.reject(number, picture)
    elif again:
        tally.duplicates += 1
    else:
        tally.new[entry.job.priority] += 1
        if picture < LOW_CONTRAST:
            tally.seen.low_contrast.add(number)
        if is_vague(entry.job.prompt):
            tally.seen.vague.add(number)


def _contrast(entry: AcceptedRow, tally: _Tally) -> float | str:
    """A picture's contrast, or what is wrong with it; each is opened once."""
    job = entry.job
    name = job.media or job.image
    if name in tally.pictures:
        return tally.pictures[name]
    if job.media is None:
        tally.seen.by_address.add(entry.row.number)
        return LOW_CONTRAST
    try:
        found: float | str = measure_contrast(tally.contents.path_of(job.image), job.image)
    except FileRefusedError as error:
        found = f"image: {error.message} {error.remedy}"
    except OSError as error:
        found = f"image: {job.image} cannot be read: {error.strerror}"
    tally.pictures[name] = found
    return found


def _estimate_seconds(
    producer: Producer, new: Counter[str], batch_id: str, session: SessionMode
) -> float:
    if not new:
        return 0.0
    with producer.redis_errors():
        pace, flows = producer.ledger.pace(), producer.ledger.flows()
    if session is SessionMode.SHARED:
        return round(estimate_seconds(new.total(), 0, pace, concurrency=1), 1)
    ahead = jobs_ahead(new, flows, batch_id)
    concurrency = pace.max_admitted or producer.configured_concurrency()
    return round(estimate_seconds(new.total(), 0, pace, concurrency=concurrency, ahead=ahead), 1)


def _suggestions(producer: Producer, jobs: int, tally: _Tally) -> Iterator[str]:
    if jobs > 1 and not producer.settings.api.tokens:
        yield "NEMO_TOKEN is not set: an anonymous token has 100 credits, about one clip."
    yield from tally.seen.suggestions()

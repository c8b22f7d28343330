"""Dry runs: what submitting a manifest would do, without writing anything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tasks.manifests.batch_submission import SessionMode
from tasks.manifests.checked_rows import AcceptedRow, CheckedRow, RejectedRow, accepted, check_rows
from tasks.manifests.manifest import Manifest, batch_id_for
from tasks.manifests.suggestions import LOW_CONTRAST, Observations, is_vague
from tasks.producer.local_files import LocalFiles, hash_only
from tasks.producer.producer import Producer
from tasks.schema.clip_length import stated_lengths
from tasks.schema.estimates import estimate_seconds, jobs_ahead
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from worker.egress.signed_addresses import expiry
from worker.file_refusal import FileRefusedError
from worker.ledger.pages import pages
from worker.media.images import measure_contrast


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
        """Return the public JSON form, in which the suggestions are ``hints``."""
        fields = asdict(self)
        fields["hints"] = fields.pop("suggestions")
        return fields


def dry_run_batch(
    producer: Producer,
    manifest: Manifest,
    *,
    name: str | None = None,
    session: SessionMode = SessionMode.OWN,
) -> DryRun:
    """Return what ``submit_manifest`` would do.

    Every image is opened, so that a damaged one is rejected now and not by a worker.

    Raises:
        ManifestError: The manifest cannot be read to its end.
        RedisUnavailable: Redis does not answer.
    """
    producer.ping()
    batch_id = batch_id_for(name or manifest.name)
    tally = _Tally(LocalFiles(hash_only, manifest.folder))
    for page in pages(manifest.rows):
        checked = check_rows(page, batch_id, tally.files)
        tally.add_page(checked, _known_fingerprints(producer, accepted(checked)))
    jobs = tally.new_jobs.total()
    good = jobs + tally.duplicates
    return DryRun(
        rows=good + len(tally.rejected),
        good=good,
        rejected=sorted(tally.rejected, key=lambda row: int(row["row"])),
        duplicates=tally.duplicates,
        credits=jobs * producer.clip_price(),
        seconds=_estimate_seconds(producer, tally.new_jobs, batch_id, session),
        suggestions=list(_suggestions(producer, jobs, tally.observations)),
    )


class _Tally:
    """What was counted. Keys and fingerprints are kept as hashes, which need less memory."""

    def __init__(self, files: LocalFiles) -> None:
        self.files = files
        self.new_jobs: Counter[str] = Counter()
        self.duplicates = 0
        self.rejected: list[dict[str, Any]] = []
        self.observations = Observations()
        self._fingerprints: dict[int, int] = {}
        self._contrasts: dict[str, float | str] = {}

    def add_page(self, rows: list[CheckedRow], known: dict[str, str]) -> None:
        """Count rows. ``known`` has the fingerprints of the keys that are in the ledger."""
        for row in rows:
            if isinstance(row, RejectedRow):
                self._reject(row, row.reason)
            else:
                self._add(row, known.get(row.new.key))

    def _add(self, row: AcceptedRow, known: str | None) -> None:
        key, fingerprint = hash(row.new.key), hash(row.new.fingerprint)
        duplicate = known is not None or key in self._fingerprints
        first = self._fingerprints.setdefault(key, fingerprint if known is None else hash(known))
        if first != fingerprint:
            self._reject(row, f"key: {row.job.key!r} was used with another payload.")
            return
        contrast = self._contrast(row)
        if isinstance(contrast, str):
            self._reject(row, contrast)
        elif duplicate:
            self.duplicates += 1
        else:
            self.new_jobs[row.job.priority] += 1
            if contrast < LOW_CONTRAST:
                self.observations.low_contrast.add(row.row.number)
            if is_vague(row.job.prompt):
                self.observations.vague.add(row.row.number)
            for end in filter(None, map(expiry, (row.job.image, *row.job.attach))):
                self.observations.add_expiry(row.row.number, end)
                break
            if _states_other_length(row.job):
                self.observations.other_length.add(row.row.number)

    def _contrast(self, row: AcceptedRow) -> float | str:
        """Return the contrast of a row's image, or why it cannot be used. Open each image once."""
        job = row.job
        if job.media is None:
            self.observations.by_address.add(row.row.number)
            return LOW_CONTRAST
        if job.media not in self._contrasts:
            self._contrasts[job.media] = _measure(self.files, job.image)
        return self._contrasts[job.media]

    def _reject(self, row: CheckedRow, reason: str) -> None:
        self.rejected.append({"row": row.row.number, "reason": reason})


def _states_other_length(job: ImageJob) -> bool:
    if job.seconds is None or job.prompt == DEFAULT_PROMPT:
        return False
    return bool(stated_lengths(job.prompt) - {float(job.seconds)})


def _measure(files: LocalFiles, image: str) -> float | str:
    try:
        return measure_contrast(files.path_of(image), image)
    except FileRefusedError as error:
        return f"image: {error.message} {error.remedy}"
    except OSError as error:
        return f"image: {image} cannot be read: {error.strerror}"


def _known_fingerprints(producer: Producer, rows: list[AcceptedRow]) -> dict[str, str]:
    with producer.redis_errors():
        known = producer.ledger.lookup_keys(row.new.key for row in rows)
    return {row.new.key: found[1] for row, found in zip(rows, known, strict=True) if found}


def _estimate_seconds(
    producer: Producer, new_jobs: Counter[str], batch_id: str, session: SessionMode
) -> float:
    if not new_jobs:
        return 0.0
    with producer.redis_errors():
        pace, flows = producer.ledger.pace(), producer.ledger.flows()
    ahead, concurrency = 0, 1
    if session is SessionMode.OWN:
        ahead = jobs_ahead(new_jobs, flows, batch_id)
        concurrency = pace.max_admitted or producer.configured_concurrency()
    queued = new_jobs.total()
    return round(estimate_seconds(queued, 0, pace, concurrency=concurrency, ahead=ahead), 1)


def _suggestions(producer: Producer, jobs: int, observations: Observations) -> Iterator[str]:
    if jobs > 1 and not producer.settings.api.tokens:
        yield "NEMO_TOKEN is not set: an anonymous token has 100 credits, about one clip."
    yield from observations.suggestions()

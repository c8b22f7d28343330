"""Dry runs: what submitting a manifest would do, without writing anything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

from tasks.manifests.batch_submission import SessionMode
from tasks.manifests.checked_rows import AcceptedRow, CheckedRow, RejectedRow, check_rows
from tasks.manifests.columns import Columns
from tasks.manifests.deferred_rows import answered_pages, changed_row
from tasks.manifests.dry_runs.suggestions import LOW_CONTRAST, Observations, is_vague
from tasks.manifests.manifest import Manifest
from tasks.producer.local_files import LocalFiles, hash_only
from tasks.producer.producer import Producer
from tasks.schema.batch import batch_id_for
from tasks.schema.clip_length import stated_lengths
from tasks.schema.estimates import estimate_seconds, jobs_ahead
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from worker.egress.signed_addresses import expiry
from worker.file_refusal import FileRefusedError
from worker.ledger.model.submissions import SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict
from worker.ledger.rows import Rows, RowSubmission, manifest_tag
from worker.media.images import measure_contrast


@dataclass(frozen=True, slots=True)
class DryRun:
    """What submitting a manifest would do. Credits and seconds are estimates.

    Rows are those of the manifest; duplicates, changed rows and ``jobs``, the new ones, are counted
    in each aspect.

    ``changed`` is as in ``BatchSubmission``. ``encoding`` is that of a text file.
    """

    rows: int
    good: int
    rejected: list[dict[str, Any]]
    duplicates: int
    changed: int
    changed_rows: list[dict[str, Any]]
    jobs: int
    credits: float
    seconds: float
    suggestions: list[str]
    encoding: str | None = None
    columns: Columns = field(default_factory=Columns)

    def as_dict(self) -> dict[str, Any]:
        """Return the public JSON form, in which the suggestions are ``hints``."""
        fields = {**asdict(replace(self, columns=Columns())), "columns": self.columns.as_dict()}
        fields["hints"] = fields.pop("suggestions")
        return fields


def dry_run_batch(
    producer: Producer,
    manifest: Manifest,
    *,
    name: str | None = None,
    session: SessionMode = SessionMode.OWN,
    redo_changed: bool = False,
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
    with producer.redis_errors():
        rows = Rows(producer.ledger)
        submission = RowSubmission(
            *(batch_id, uuid4().hex[:8], manifest_tag(manifest.source)),
            is_first=not rows.bring_up(batch_id),
            redo=redo_changed,
            dry=True,
        )
        checked = (
            check_rows(page, batch_id, tally.files, manifest.aspects) for page in manifest.pages()
        )
        for page, answers in answered_pages(rows, submission, checked):
            tally.add_page(page, answers)
    jobs = tally.new_jobs.total()
    return DryRun(
        rows=tally.rows,
        good=tally.rows - len(tally.rejected),
        rejected=[{"row": row, "reason": why} for row, why in sorted(tally.rejected.items())],
        duplicates=tally.duplicates,
        changed=len(tally.changed_rows),
        changed_rows=sorted(tally.changed_rows, key=lambda row: int(row["row"])),
        jobs=jobs,
        credits=jobs * producer.clip_price(),
        seconds=_estimate_seconds(producer, tally.new_jobs, batch_id, session),
        suggestions=[*_reading_notes(manifest), *_suggestions(producer, jobs, tally.observations)],
        encoding=manifest.encoding.name if manifest.encoding else None,
        columns=manifest.columns,
    )


class _Tally:
    """What was counted. Keys and contents are kept as hashes, which need less memory."""

    def __init__(self, files: LocalFiles) -> None:
        self.files = files
        self.new_jobs: Counter[str] = Counter()
        self.rows = 0
        self.duplicates = 0
        self.changed_rows: list[dict[str, Any]] = []
        self.rejected: dict[int, str] = {}
        self.observations = Observations()
        self._contents: set[int] = set()
        self._contents_of_keys: dict[int, int] = {}
        self._contrasts: dict[str, float | str] = {}

    def add_page(self, rows: list[CheckedRow], answers: list[SubmitResult]) -> None:
        """Count rows, with the answers for those that can be submitted."""
        found = iter(answers)
        for row in rows:
            if isinstance(row, RejectedRow):
                self.rows += 1
                self._reject(row, row.reason)
            else:
                # In several aspects, a row comes several times.
                self.rows += row.variant == 0
                self._add(row, next(found))

    def _add(self, row: AcceptedRow, answer: SubmitResult) -> None:
        content = hash(row.new.content)
        is_conflict = answer.verdict is SubmitVerdict.CONFLICT
        # What the rows before this one would have written is not in the ledger.
        if row.new.key:
            first = self._contents_of_keys.setdefault(hash(row.new.key), content)
            is_conflict = is_conflict or first != content
        if is_conflict:
            self._reject(row, f"key: {row.job.key!r} was used with another payload.")
            return
        is_again = content in self._contents
        self._contents.add(content)
        contrast = self._contrast(row)
        if isinstance(contrast, str):
            self._reject(row, contrast)
            return
        if answer.verdict is SubmitVerdict.KEPT:
            self.changed_rows.append(changed_row(row, answer))
        elif answer.verdict is SubmitVerdict.DUPLICATE or is_again:
            self.duplicates += 1
        else:
            if answer.verdict is SubmitVerdict.REMADE:
                self.changed_rows.append(changed_row(row, answer))
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
        self.rejected.setdefault(row.row.number, reason)


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


def _reading_notes(manifest: Manifest) -> Iterator[str]:
    """Yield what people should know about how their manifest was read."""
    if manifest.encoding and manifest.encoding.is_guess:
        yield (
            f"The file does not say its encoding; it was read as {manifest.encoding.name}. If "
            f"letters are wrong, save it as UTF-8, or name its encoding with --encoding."
        )
    yield from manifest.columns.notes


def _suggestions(producer: Producer, jobs: int, observations: Observations) -> Iterator[str]:
    if jobs > 1 and not producer.settings.api.tokens:
        yield "NEMO_TOKEN is not set: an anonymous token has 100 credits, about one clip."
    yield from observations.suggestions()

"""Dry runs: what submitting a manifest would do, without writing anything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

from tasks.manifests.batch_submission import SessionMode
from tasks.manifests.checked_rows import check_rows
from tasks.manifests.columns import Columns
from tasks.manifests.deferred_rows import states_of_known, submit_pages
from tasks.manifests.dry_runs.funds import funds_for
from tasks.manifests.dry_runs.image_looks import ImageLooks
from tasks.manifests.dry_runs.suggestions import Observations
from tasks.manifests.dry_runs.tally import Tally
from tasks.manifests.manifest import Manifest
from tasks.producer.local_files import LocalFiles
from tasks.producer.producer import Producer
from tasks.producer.queries import slowest_pace
from tasks.schema.addresses import private_hosts_of
from tasks.schema.batch import batch_id_for
from tasks.schema.estimates import estimate_seconds, jobs_ahead, latest_seconds
from worker.ledger.rows import Rows, RowSubmission, manifest_tag
from worker.runtime.worker_registry import announced_accounts


@dataclass(frozen=True, slots=True)
class DryRun:
    """What submitting a manifest would do. Credits and seconds are estimates.

    ``rows``, ``good`` and ``rejected`` count each row of the manifest once; ``duplicates``,
    ``changed`` and ``jobs``, the new ones, count it once for each aspect.

    ``changed`` and ``known`` are as in ``BatchSubmission``. ``encoding`` is that of a text file.
    ``latest_seconds`` is how long the jobs take if each needs the longest time. ``available`` are
    the credits of the accounts, ``max_credits`` is the limit of the batch, and ``affordable`` the
    number of new clips that both pay for; each is None if it is not known. ``left_out`` are the
    files of a folder that are not submitted. ``prompts`` are those of the first rows, as sent.
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
    known: dict[str, int] = field(default_factory=dict)
    latest_seconds: float | None = None
    available: float | None = None
    max_credits: float | None = None
    affordable: int | None = None
    left_out: list[dict[str, str]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

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
    max_credits: float | None = None,
    session: SessionMode = SessionMode.OWN,
    redo_changed: bool = False,
) -> DryRun:
    """Return what ``submit_manifest`` would do with the same arguments.

    Every image is opened, so that a damaged one is found now and not by a worker.

    Raises:
        ManifestError: The manifest cannot be read to its end.
        RedisUnavailable: Redis does not answer.
    """
    producer.ping()
    batch_id = batch_id_for(name or manifest.name)
    looks = ImageLooks()
    tally = Tally(looks, private_hosts_of(producer.settings))
    files = LocalFiles(looks.measure, manifest.folder, manifest.archive)
    with producer.redis_errors():
        rows = Rows(producer.ledger)
        submission = RowSubmission(
            *(batch_id, uuid4().hex[:8], manifest_tag(manifest.source)),
            is_first=not rows.upgrade(batch_id),
            redo=redo_changed,
            dry=True,
        )
        checked = (check_rows(page, batch_id, files, manifest.aspects) for page in manifest.pages())
        for page, answers in submit_pages(rows, submission, checked):
            tally.add_page(page, answers)
            tally.known.update(states_of_known(producer.ledger, answers))
    funds = funds_for(producer, batch_id, max_credits)
    usual, latest = _estimate_seconds(producer, tally.new_jobs, batch_id, session)
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
        seconds=usual,
        suggestions=[*_reading_notes(manifest), *_suggestions(producer, jobs, tally.observations)],
        encoding=manifest.encoding.name if manifest.encoding else None,
        columns=manifest.columns,
        known=dict(tally.known),
        latest_seconds=latest,
        available=funds.available,
        max_credits=funds.max_credits,
        affordable=funds.affordable,
        left_out=[asdict(found) for found in manifest.left_out],
        prompts=tally.prompts,
    )


def _estimate_seconds(
    producer: Producer, new_jobs: Counter[str], batch_id: str, session: SessionMode
) -> tuple[float, float | None]:
    """Estimate when the new jobs have ended: usually, and at the latest if a worker is running."""
    if not new_jobs:
        return 0.0, 0.0
    with producer.redis_errors():
        pace, flows = producer.ledger.pace(), producer.ledger.flows()
    ahead, concurrency = 0, 1
    if session is SessionMode.OWN:
        ahead = jobs_ahead(new_jobs, flows, batch_id)
        concurrency = pace.max_admitted or producer.configured_concurrency()
    queued, slowest = new_jobs.total(), slowest_pace(producer.settings)
    usual = estimate_seconds(queued, 0, pace, concurrency=concurrency, ahead=ahead)
    if not pace.max_admitted:
        return round(usual, 1), None
    latest = latest_seconds(queued, 0, slowest, concurrency=concurrency, ahead=ahead)
    return round(usual, 1), round(max(usual, latest), 1)


def _reading_notes(manifest: Manifest) -> Iterator[str]:
    """Yield messages for people about how their manifest was read."""
    if manifest.encoding and manifest.encoding.is_guess:
        yield (
            f"The file does not say its encoding; it was read as {manifest.encoding.name}. If "
            f"letters are wrong, save it as UTF-8, or name its encoding with --encoding."
        )
    yield from manifest.columns.notes


def _suggestions(producer: Producer, jobs: int, observations: Observations) -> Iterator[str]:
    if jobs > 1 and not _has_registered_account(producer):
        yield "NEMO_TOKEN is not set: an anonymous token has 100 credits, about one clip."
    yield from observations.suggestions()


def _has_registered_account(producer: Producer) -> bool:
    """Return whether a token is set in this process or in a live worker."""
    # It imports the client of the video API, which is slow and which dry runs do not need.
    from worker.accounts.credentials import ANONYMOUS  # noqa: PLC0415

    if producer.settings.api.tokens:
        return True
    with producer.redis_errors():
        return bool(announced_accounts(producer.ledger) - {ANONYMOUS})

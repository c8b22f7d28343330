"""The commands of operators: ``credits``, ``doctor``, ``prune`` and ``schema``."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tasks.cli.error_handling import ExitCode
from tasks.cli.options import JsonOption
from tasks.cli.output import console, emit, note, table
from tasks.producer.balances import refresh_balances
from tasks.producer.producer import default_producer
from tasks.schema.batch import Batch
from tasks.schema.image_job import ImageJob
from tasks.schema.result import Result
from worker.accounts.credit_shortfall import credit_shortfall
from worker.ledger.model.accounts import Account
from worker.runtime import retention
from worker.runtime.checks.store_ids import check_same_store
from worker.shown_text import on_one_line


def credits_(
    cached: Annotated[
        bool,
        typer.Option("--cached", help="Print the balances last read, without asking the API."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the balance of each account, and the credits reserved for running jobs."""
    producer = default_producer()
    producer.ping()
    problems = [] if cached else refresh_balances(producer)
    accounts = producer.ledger.accounts()
    records = [_record(account) for account in accounts]
    if as_json:
        for record in records:
            emit(record)
    elif records:
        grid = table(*records[0])
        for record in records:
            grid.add_row(*(f"{v:g}" if isinstance(v, float) else str(v) for v in record.values()))
        console().print(grid)
        names = [account.name for account in accounts]
        shortfall = credit_shortfall(producer.ledger, names, producer.settings.api.clip_cost)
        if shortfall.waiting:
            note(str(shortfall))
    elif not problems:
        note("No account is known yet. Set NEMO_TOKEN, or submit a job to get an anonymous token.")
    for problem in problems:
        note(problem)
    raise typer.Exit(ExitCode.UNAVAILABLE if problems else ExitCode.DONE)


def _record(account: Account) -> dict[str, Any]:
    return {
        "account": account.name,
        "available": account.available,
        "frozen": account.frozen,
        "total": account.total,
        "reserved": account.reserved,
        "spent": account.spent,
        "estimate": account.estimate,
    }


def doctor(as_json: JsonOption = False) -> None:
    """Check every part of the service, and print what to do where a check fails."""
    # The checks import an HTTP client, which is slow and which no other command needs.
    from tasks.cli.checks.doctor_checks import run_checks  # noqa: PLC0415

    all_ok = True
    for check in run_checks(default_producer()):
        all_ok = all_ok and check.ok
        remedy = check.suggestion if check.ok else check.remedy
        if as_json:
            fields = {"check": check.check, "ok": check.ok, "found": check.found}
            emit({**fields, "remedy": remedy or None})
            continue
        sign, style = ("✓", "green") if check.ok else ("✗", "red")
        out = console()
        out.print(f"{sign} {check.check}: {on_one_line(check.found)}", style=style)
        if remedy:
            out.print(f"  {remedy}")
    raise typer.Exit(ExitCode.DONE if all_ok else ExitCode.UNAVAILABLE)


def prune(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="DAYS",
            help="Delete jobs that ended more than this many days ago.",
            show_default="REELQUEUE_RESULT_DAYS, or 30",
        ),
    ] = None,
    *,
    clips: Annotated[
        bool, typer.Option("--clips", help="Also delete their clips from the output store.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how much would be deleted; delete nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the records of jobs that ended long ago, and of batches that have no jobs left.

    The jobs of a batch are deleted together, when all of them ended that long ago.

    The keys of deleted jobs stay known, so that a late duplicate is not paid for. The workers
    delete old records by themselves, but never a clip.
    """
    producer = default_producer()
    producer.ping()
    ledger, settings = producer.ledger, producer.settings.retention
    if clips:
        # From another store no clip would be deleted, but its record would be gone.
        with producer.redis_errors():
            check_same_store(ledger, "output", producer.output)
    before = retention.cutoff_ms(ledger, settings.result_days if days is None else days)
    if dry_run:
        found = retention.count_prunable(ledger, before, clips=clips)
    else:
        found = retention.prune(
            ledger,
            before,
            tombstone_days=settings.tombstone_days,
            clips=producer.output if clips else None,
        )
    if as_json:
        cutoff = datetime.fromtimestamp(before / 1000, UTC).isoformat()
        emit({**asdict(found), "before": cutoff, "dry_run": dry_run})
    else:
        done = "would be deleted" if dry_run else "deleted"
        console().print(
            f"{found.jobs} jobs, {found.batches} batches and {found.clips} clips {done}."
        )


def schema() -> None:
    """Print the JSON Schemas of payload, result and batch."""
    emit(
        {
            "payload": ImageJob.model_json_schema(),
            "result": Result.model_json_schema(mode="serialization"),
            "batch": Batch.model_json_schema(mode="serialization"),
        }
    )

"""Operating: balances, the check of every part, and the schemas."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from config.settings import get_settings
from tasks.cli.error_handling import ExitCode
from tasks.cli.output import Json, console, emit, note, table
from tasks.producer.balances import refresh_balances
from tasks.producer.producer import Producer, default_producer
from tasks.schema.batch import Batch
from tasks.schema.image_job import ImageJob
from tasks.schema.result import Result
from worker.accounts.credit_shortfall import credit_shortfall
from worker.ledger.model.accounts import Account
from worker.runtime.retention import PruneResult, count_expired, cutoff_ms
from worker.runtime.retention import prune as forget


def credits_(
    cached: Annotated[
        bool,
        typer.Option("--cached", help="Print the balances last read, without asking the API."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the balance of each account, and the credits reserved for running jobs."""
    producer = default_producer()
    producer.ping()
    stale = [] if cached else refresh_balances(producer)
    accounts = producer.ledger.accounts()
    if as_json:
        for account in accounts:
            emit(_record(account))
    elif accounts:
        grid = table(*_record(accounts[0]))
        for account in accounts:
            grid.add_row(*(_figure(value) for value in _record(account).values()))
        console().print(grid)
        _note_waiting(producer, accounts)
    elif not stale:
        note("No account yet: set NEMO_TOKEN, or submit a job and get an anonymous token.")
    for trouble in stale:
        note(trouble)
    raise typer.Exit(ExitCode.UNAVAILABLE if stale else ExitCode.DONE)


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


def _note_waiting(producer: Producer, accounts: list[Account]) -> None:
    names = [account.name for account in accounts]
    shortfall = credit_shortfall(producer.ledger, names, producer.settings.api.clip_cost)
    if shortfall.waiting:
        note(str(shortfall))


def _figure(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def doctor(as_json: Json = False) -> None:
    """Check every part of the service, and print what to do where a check fails."""
    from tasks.cli.doctor_checks import run_checks  # noqa: PLC0415 - as above

    wrong = False
    for finding in run_checks(Producer.open(get_settings())):
        wrong = wrong or not finding.ok
        remedy = "" if finding.ok else finding.remedy
        if as_json:
            emit(
                {
                    "check": finding.check,
                    "ok": finding.ok,
                    "found": finding.found,
                    "remedy": remedy or None,
                }
            )
            continue
        sign, style = ("✓", "green") if finding.ok else ("✗", "red")
        out = console()
        out.print(f"{sign} {finding.check}: {finding.found}", style=style)
        if remedy:
            out.print(f"  {remedy}")
    raise typer.Exit(ExitCode.UNAVAILABLE if wrong else ExitCode.DONE)


def prune(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="DAYS",
            help="Delete what ended more than this many days ago.",
            show_default="REELQUEUE_RESULT_DAYS, or 30",
        ),
    ] = None,
    *,
    clips: Annotated[
        bool, typer.Option("--clips", help="Also delete their clips from the output store.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many jobs would be deleted; delete none.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete the records of jobs that ended long ago, and of batches that have no jobs left.

    Their keys stay known, so that a late repetition is not paid again. The workers delete old
    records by themselves, but never a clip.
    """
    producer = default_producer()
    producer.ping()
    ledger, settings = producer.ledger, producer.settings
    before = cutoff_ms(ledger, settings.retention.result_days if days is None else days)
    if dry_run:
        found = PruneResult(count_expired(ledger, before), 0, 0)
    else:
        found = forget(
            ledger,
            before,
            tombstone_days=settings.retention.tombstone_days,
            clips=producer.output if clips else None,
        )
    if as_json:
        moment = datetime.fromtimestamp(before / 1000, UTC).isoformat()
        emit({**asdict(found), "before": moment, "dry_run": dry_run})
    elif dry_run:
        console().print(f"{found.jobs} jobs would go.")
    else:
        console().print(f"{found.jobs} jobs, {found.batches} batches and {found.clips} clips gone.")


def schema() -> None:
    """Print the JSON Schemas of payload, result and batch."""
    emit(
        {
            "payload": ImageJob.model_json_schema(),
            "result": Result.model_json_schema(mode="serialization"),
            "batch": Batch.model_json_schema(mode="serialization"),
        }
    )

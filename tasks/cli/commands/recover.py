"""The command ``recover``: rebuild the records from the payment journal."""

from dataclasses import asdict
from typing import Annotated

import typer

from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.options import JsonOption
from tasks.cli.output import console, emit, note
from tasks.producer.producer import default_producer
from worker.recovery.by_person import OtherJournalError, recover_by_person


def recover(
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be recovered; write nothing."),
    ] = False,
    new_journal: Annotated[
        bool,
        typer.Option(
            "--new-journal",
            help="Use the journal that REELQUEUE_JOURNAL_URL names, even if the records belong to "
            "another one. The payments in the records are copied into it first.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild lost records from the payment journal. Nothing is paid.

    Jobs that had ended get their results and clips back. Jobs that had paid continue.

    The workers recover by themselves after most losses. If they have stopped paying because workers
    on another Redis use the same journal, stop those workers, then run this command: the workers on
    this Redis then pay again.

    The command may run beside workers, and continues where it was interrupted.
    """
    producer = default_producer()
    producer.ping()
    with producer.redis_errors():
        try:
            counts = recover_by_person(
                producer.ledger,
                producer.journal,
                producer.output,
                dry_run=dry_run,
                new_journal=new_journal,
            )
        except OtherJournalError:
            raise CommandError(
                f"The payment journal {producer.journal.store.address} does not belong to these "
                "records. Set REELQUEUE_JOURNAL_URL to the store that all workers share. If that "
                "store is lost, or if these records are a copy that needs a journal of its own, "
                "run `reelqueue recover --new-journal`.",
                ExitCode.UNAVAILABLE,
            ) from None
    if as_json:
        emit(asdict(counts))
    else:
        what = "would be recovered" if dry_run else "recovered"
        console().print(
            f"{counts.delivered + counts.resumed + counts.held} jobs {what}: {counts.delivered} "
            f"had ended, {counts.resumed} continue to their clips, {counts.held} are held. "
            f"{counts.known} were known."
        )
    if counts.unreadable:
        note(
            f"{counts.unreadable} jobs have an entry in the journal that cannot be read. They are "
            "not paid again; submit them again to have them held, and decide about each. "
            "`reelqueue doctor` names some."
        )
    raise typer.Exit(ExitCode.JOB_FAILED if counts.unreadable else ExitCode.DONE)

"""Batches: submit, pause and resume them, and take their results."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final, TextIO

import typer

from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.output import Json, console, emit, note, print_batch, printable
from tasks.cli.progress import exit_code, wait_until_done
from tasks.manifests.batch_submission import BatchSubmission, SessionMode, submit_manifest
from tasks.manifests.dry_run import dry_run_batch
from tasks.manifests.manifest import Manifest, open_manifest
from tasks.manifests.rejects import Rejects, default_rejects_path
from tasks.producer import actions, queries, submissions
from tasks.producer.producer import Producer, default_producer
from tasks.reports.batch_index import write_batch_index
from tasks.reports.export import write_csv, write_jsonl
from tasks.reports.gallery import write_page
from tasks.schema.addresses import webhook_address
from tasks.schema.batch import Batch
from tasks.schema.image_job import DEFAULT_PROMPT
from worker.storage.errors import StoreError

app = typer.Typer(no_args_is_help=True, help="Submit, pause and resume batches of images.")

MAX_SHOWN: Final = 100
"""Rejected rows that a person is told of, one by one."""

BatchId = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch.")]


def nonempty_path(text: str | Path) -> Path:
    """A path that somebody named: a variable that is empty does not mean this folder.

    Raises:
        typer.BadParameter: It is empty.
    """
    if not str(text):
        raise typer.BadParameter("it is empty; «.» is this folder.")
    return Path(text)


@app.command()
def submit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv|FILE.jsonl|FOLDER",
            help="The manifest: a table with one image per row, or a folder of images.",
            parser=nonempty_path,
        ),
    ],
    *,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Prompt for rows without one. {column} stands for the row's value in a column.",
            show_default=DEFAULT_PROMPT,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the batch. The same rows under the same name are paid once.",
            show_default="name of the file or folder",
        ),
    ] = None,
    max_credits: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="CREDITS",
            help="The most that the batch may spend in total. What exceeds it is held.",
            show_default="no limit",
        ),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Run N jobs, then pause the batch.",
            show_default="run all jobs",
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for rejected rows and the reasons.",
            show_default="beside the manifest",
        ),
    ] = None,
    session: Annotated[
        SessionMode,
        typer.Option(
            metavar="MODE",
            help="own: a session with the video API for each row. shared: one for all rows, which "
            "then run one after another.",
        ),
    ] = SessionMode.OWN,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Address that is sent a signed message when the batch or one of its jobs ends.",
            show_default="no webhook",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check every row and estimate the cost; submit nothing."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until all jobs end or are held; print the batch."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Submit the rows of a manifest as one batch.

    Rejected rows do not stop the others. Submitting the same manifest under the same name again
    adds only the rows that are new.
    """
    producer, manifest = default_producer(), open_manifest(source, prompt)
    if webhook is not None:
        submissions.check_webhook(producer, webhook_address(webhook))
    if dry_run:
        _dry_run(producer, manifest, name, session, as_json=as_json)
        return
    sink = manifest.rejects(rejects or default_rejects_path(source)) if manifest.rejects else None
    done = submit_manifest(
        producer,
        manifest,
        name=name,
        max_credits=max_credits,
        pilot=pilot,
        rejects=sink,
        session=session,
        webhook=webhook,
    )
    if not done.jobs + done.duplicates + len(done.rejected):
        raise CommandError(f"{source} holds no rows.")
    if not as_json or wait:
        _note_rejected(done.rejected)
    _write_rejects(sink, done, name or manifest.name)
    if as_json and not wait:
        emit(done.as_dict())
    elif not as_json:
        counts = f"{done.jobs} new jobs, {done.duplicates} known already"
        console().print(f"{done.batch_id}  {counts}, {len(done.rejected)} rejected")
    if done.rejected and not done.jobs + done.duplicates:
        raise typer.Exit(ExitCode.BAD_INPUT)
    if pilot is not None:
        note(
            f"The batch pauses after {pilot}. `reelqueue batch resume {done.batch_id}` runs the "
            f"rest; for another prompt, `reelqueue cancel {done.batch_id}` and submit anew under "
            f"another --name."
        )
    if wait:
        _wait(producer, done.batch_id, as_json=as_json, pilot=pilot is not None)
    elif not as_json:
        note(f"Follow with `reelqueue watch {done.batch_id}`.")


def _write_rejects(sink: Rejects | None, done: BatchSubmission, name: str) -> None:
    """Write the rejected rows, so that they can be mended; the others are in already."""
    if sink is None or not done.rejected:
        return
    try:
        written = sink.close()
    except OSError as error:
        note(f"The rejected rows cannot be written ({error.strerror}): name a place by --rejects.")
        return
    note(
        f"The rejected rows are in {written}. Mend them there, and add them with `reelqueue batch "
        f"submit {quote(str(written))} --name {quote(printable(name))}` and the same options."
    )


def _dry_run(
    producer: Producer,
    manifest: Manifest,
    name: str | None,
    session: SessionMode,
    *,
    as_json: bool,
) -> None:
    found = dry_run_batch(producer, manifest, name=name, session=session)
    if as_json:
        emit(found.as_dict())
        return
    _note_rejected(found.rejected)
    out = console()
    out.print(
        f"{found.rows} rows: {found.good} good, of them {found.duplicates} known already; "
        f"{len(found.rejected)} rejected."
    )
    out.print(f"About {found.credits:g} credits and {_minutes(found.seconds)}.")
    for suggestion in found.suggestions:
        out.print(suggestion)


def _minutes(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _note_rejected(rejected: list[dict[str, Any]]) -> None:
    for row in rejected[:MAX_SHOWN]:
        note(f"row {row['row']}: {printable(str(row['reason']))}")
    if len(rejected) > MAX_SHOWN:
        note(f"… and {len(rejected) - MAX_SHOWN:,} more rows; --json names them all.")


def _wait(producer: Producer, batch_id: str, *, as_json: bool, pilot: bool) -> None:
    batch = wait_until_done(producer, [batch_id], quiet=as_json)[batch_id]
    assert isinstance(batch, Batch)  # noqa: S101 - a batch was waited for
    if as_json:
        emit(batch)
    else:
        print_batch(batch)
    code = exit_code([batch])
    if code is ExitCode.DONE and batch.open and not pilot:
        note(f"The batch is paused: `reelqueue batch resume {batch_id}` lets it go on.")
        code = ExitCode.JOB_HELD
    raise typer.Exit(code)


@app.command()
def pause(batch_id: BatchId, as_json: Json = False) -> None:
    """Pause a batch: jobs that run go on, no further job starts."""
    actions.pause(default_producer(), batch_id)
    _show_batch(batch_id, as_json=as_json)


@app.command()
def resume(batch_id: BatchId, as_json: Json = False) -> None:
    """Resume a paused batch."""
    actions.resume(default_producer(), batch_id)
    _show_batch(batch_id, as_json=as_json)


def _show_batch(batch_id: str, *, as_json: bool) -> None:
    batch = queries.get_batch(default_producer(), batch_id)
    if as_json:
        emit(batch)
    else:
        print_batch(batch)


class Format(StrEnum):
    """How results are written."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


def results(
    batch_id: Annotated[str, typer.Argument(metavar="BATCH", help="Id of the batch.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl: one record per line. csv: a table. html: a page that shows the clips.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="File to write.",
            show_default="standard output",
        ),
    ] = None,
) -> None:
    """Write the results of a batch, in the order of its rows."""
    producer = default_producer()
    batch = queries.get_batch(producer, batch_id)
    with _open_output(output) as sink:
        match form:
            case Format.JSONL:
                write_jsonl(queries.list_batch_jobs(producer, batch_id), sink)
            case Format.CSV:
                write_csv(lambda: queries.list_batch_jobs(producer, batch_id), sink)
            case Format.HTML:
                folder = output.absolute().parent if output else None
                write_page(batch.name, queries.list_batch_jobs(producer, batch_id), sink, folder)
    try:
        write_batch_index(producer, batch_id)
    except StoreError as error:
        note(f"The table beside the clips is not up to date. {error.message} {error.remedy}")


@contextmanager
def _open_output(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is whole or not there."""
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as sink:
            yield sink
        part.replace(output)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)

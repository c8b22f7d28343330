"""The command ``results``: a batch as JSON lines, as a table or as a page."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from tasks.cli.encoding import utf8_output
from tasks.cli.error_handling import CommandError
from tasks.cli.options import BatchId
from tasks.cli.output import note
from tasks.cli.output_file import is_regular, open_output_file
from tasks.producer import queries
from tasks.producer.names import find_batch
from tasks.producer.producer import Producer, default_producer
from tasks.reports.batch_index import write_missing_index
from tasks.reports.export import write_csv, write_jsonl
from tasks.reports.gallery import write_page
from tasks.reports.signed_links import SignedLinks
from tasks.reports.workbook import write_workbook
from worker.resources.scratch import scratch_folder
from worker.runtime.checks.store_ids import check_same_store
from worker.storage.errors import StoreError


class Format(StrEnum):
    """The form of the results."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"
    XLSX = "xlsx"


def results(
    batch_id: BatchId,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl: one record per line. csv: a table. html: a page that shows the clips. "
            "xlsx: a spreadsheet with links to the clips.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="File to write; - is standard output.",
            show_default="standard output",
        ),
    ] = None,
) -> None:
    """Write the results of a batch, in the order of its rows."""
    if output == Path("-"):
        output = None
    producer = default_producer()
    is_shared = _note_other_store(producer)
    batch_id = find_batch(producer, batch_id)
    batch = queries.get_batch(producer, batch_id)
    if form is Format.XLSX and output is None and sys.stdout.isatty():
        raise CommandError("A terminal cannot show a spreadsheet: name a file with -o FILE.")
    folder = output.resolve().parent if output and is_regular(output) else None
    links = SignedLinks.of(producer)
    jobs = links.add_to(queries.list_batch_jobs(producer, batch_id))
    columns = [*links.columns, *_own_columns(producer, batch_id, form)]
    with _open_output(output) as sink:
        match form:
            case Format.JSONL:
                write_jsonl(jobs, sink)
            case Format.CSV:
                write_csv(columns, jobs, sink)
            case Format.XLSX:
                with scratch_folder() as scratch:
                    book = Path(scratch) / "results.xlsx"
                    write_workbook(batch.name, columns, jobs, book, folder)
                    with book.open("rb") as file:
                        shutil.copyfileobj(file, sink.buffer)
            case Format.HTML:
                write_page(batch.name, jobs, sink, folder)
    if links.note:
        note(links.note)
    if not is_shared:
        return
    try:
        write_missing_index(producer, batch_id)
    except StoreError as error:
        note(f"The table beside the clips could not be updated. {error.message} {error.remedy}")


def _note_other_store(producer: Producer) -> bool:
    """Print a note if the workers use another output store; return whether they use the same.

    Records have only the names of clips: this process makes the paths, from its own store.
    """
    try:
        with producer.redis_errors():
            check_same_store(producer.ledger, "output", producer.output)
    except StoreError as error:
        note(f"The paths of the clips may be wrong. {error.message} {error.remedy}")
        return False
    return True


def _own_columns(producer: Producer, batch_id: str, form: Format) -> Iterable[str]:
    """Return the columns of the caller's rows. Only a table needs them before its rows."""
    is_table = form in (Format.CSV, Format.XLSX)
    return queries.list_batch_columns(producer, batch_id) if is_table else ()


@contextmanager
def _open_output(output: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a file that is replaced only when the text is complete."""
    if output is None:
        with utf8_output() as sink:
            yield sink
        return
    try:
        with open_output_file(output) as sink:
            yield sink
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}.") from error

"""The result of a submission, for people: how many jobs are new, and what became of known rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import Any, Final

from tasks.cli.output import console, emit, local_time, note
from tasks.manifests.batch_submission import BatchSubmission
from tasks.manifests.deferred_rows import PRUNED
from tasks.manifests.formats.rejects import Rejects
from worker.ledger.model.states import State
from worker.shown_text import on_one_line

MAX_SHOWN: Final = 100
"""Rejected rows that are printed for people."""


def report_submission(
    done: BatchSubmission,
    rejects_file: Rejects | None,
    source: str,
    title: str,
    *,
    redo_changed: bool,
    as_json: bool,
    wait: bool,
) -> None:
    """Print what became of the rows, and write the rejected ones to their file, if there is one.

    With ``--json --wait``, standard output has only the record of the ended batch.
    """
    if as_json and not wait:
        _write_rejects(rejects_file, done, title)
        emit(done.as_dict())
        return
    note_rejected(done.rejected)
    note_changed(done.changed_rows, redo_changed=redo_changed)
    _write_rejects(rejects_file, done, title)
    if not as_json:
        _print_counts(done)
    _note_known(done, source, title)


def _print_counts(done: BatchSubmission) -> None:
    known = f" ({known_states(done.known)})" if done.known else ""
    counts = f"{done.jobs} new jobs, {done.duplicates} already submitted{known}"
    changed = f"{done.changed} changed, " if done.changed else ""
    console().print(f"{done.batch_id}  {counts}, {changed}{len(done.rejected)} rejected")


def known_states(known: dict[str, int]) -> str:
    """Return the states of known rows as a text."""
    return ", ".join(f"{rows} {state}" for state, rows in sorted(known.items()))


def _note_known(done: BatchSubmission, source: str, name: str) -> None:
    """Print which commands make the clips of known rows that will otherwise have none."""
    batch_id = done.batch_id
    advice = {
        State.CANCELLED: f"`reelqueue redo {batch_id} --state cancelled` makes their clips, and "
        "pays for them.",
        State.FAILED: f"`reelqueue retry {batch_id}` continues them, and pays nothing again; "
        f"`reelqueue redo {batch_id}` makes new clips, and pays for them.",
        PRUNED: "Their records were deleted, and under this name they are not paid again. To make "
        f"all clips again: `reelqueue batch submit {quote(on_one_line(source))} --name "
        f"{quote(on_one_line(f'{name} again'))}` with the same options.",
    }
    for state, text in advice.items():
        if rows := done.known.get(state):
            subject = "1 known row is" if rows == 1 else f"{rows} known rows are"
            note(f"{subject} {state}. {text}")


def note_rejected(rejected: Sequence[dict[str, Any]]) -> None:
    """Print the rows that were rejected, and why."""
    for row in rejected[:MAX_SHOWN]:
        note(f"row {row['row']}: {on_one_line(str(row['reason']))}")
    if len(rejected) > MAX_SHOWN:
        note(f"… and {len(rejected) - MAX_SHOWN:,} more rows. Use --json to list all.")


def note_changed(changed: Sequence[dict[str, Any]], *, redo_changed: bool) -> None:
    """Print the rows that were changed after their job had paid."""
    for row in changed[:MAX_SHOWN]:
        image, job_id = on_one_line(str(row["image"])), row["job_id"]
        note(f"row {row['row']}: {image} was changed after its job had paid (job {job_id})")
    if len(changed) > MAX_SHOWN:
        note(f"… and {len(changed) - MAX_SHOWN:,} more rows. Use --json to list all.")
    if changed and not redo_changed:
        note("Changed rows keep their clips. --redo-changed makes new clips, and pays for them.")


def note_start(start: datetime) -> None:
    """Print when the jobs of a batch start."""
    if start <= datetime.now(UTC):
        note(f"The jobs start as soon as possible, because {local_time(start)} has passed.")
    else:
        note(f"No job starts before {local_time(start)}.")


def _write_rejects(rejects_file: Rejects | None, done: BatchSubmission, name: str) -> None:
    """Write the rejected rows to a file in which they can be corrected and submitted again."""
    if not done.rejected:
        return
    if rejects_file is None:
        note("Correct the images in the archive, and submit it again under the same --name.")
        return
    try:
        written = rejects_file.close()
    except OSError as error:
        note(f"The rejected rows could not be written ({error.strerror}): use --rejects FILE.")
        return
    note(
        f"The rejected rows are in {written}. Correct them there, and add them with `reelqueue "
        f"batch submit {quote(str(written))} --name {quote(on_one_line(name))}` and the same "
        "options."
    )

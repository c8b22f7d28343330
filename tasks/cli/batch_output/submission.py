"""The result of a submission, for people: how many jobs are new, and what became of known rows."""

from pathlib import Path
from shlex import quote

from tasks.cli.output import console, note, printable
from tasks.manifests.batch_submission import PRUNED, BatchSubmission
from worker.ledger.model.states import State


def print_submission(done: BatchSubmission) -> None:
    """Print the counts of a submission."""
    known = f" ({known_states(done.known)})" if done.known else ""
    counts = f"{done.jobs} new jobs, {done.duplicates} already submitted{known}"
    changed = f"{done.changed} changed, " if done.changed else ""
    console().print(f"{done.batch_id}  {counts}, {changed}{len(done.rejected)} rejected")


def known_states(known: dict[str, int]) -> str:
    """Return what became of known rows."""
    return ", ".join(f"{rows} {state}" for state, rows in sorted(known.items()))


def note_known(done: BatchSubmission, source: Path, name: str) -> None:
    """Say which commands make the clips of known rows that have none, and will have none."""
    batch_id = done.batch_id
    advice = {
        State.CANCELLED: f"`reelqueue redo {batch_id} --state cancelled` makes their clips, and "
        "pays for them.",
        State.FAILED: f"`reelqueue retry {batch_id}` continues them, and pays nothing again; "
        f"`reelqueue redo {batch_id}` makes new clips, and pays for them.",
        PRUNED: "Their records were deleted, and under this name they are not paid again. To make "
        f"all clips again: `reelqueue batch submit {quote(printable(str(source)))} --name "
        f"{quote(printable(f'{name} again'))}` with the same options.",
    }
    for state, text in advice.items():
        if rows := done.known.get(state):
            subject = "1 known row is" if rows == 1 else f"{rows} known rows are"
            note(f"{subject} {state}. {text}")

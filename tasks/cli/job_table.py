"""The table of `reelqueue list`. Id, state and reason are shown at every width of a terminal."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.table import Table

from tasks.cli.output import STATE_STYLES, table_console, truncated
from tasks.schema.result import Result

SHORT_ID: Final = 8
_ID: Final = 36
_GAP: Final = 2
_READABLE: Final = 12
"""The least width of the column of the images or the prompts."""


def print_jobs(results: Sequence[Result]) -> None:
    """Print a table of jobs."""
    out = table_console()
    out.print(job_table(results, out.width))


def job_table(results: Sequence[Result], width: int) -> Table:
    """Return a table of jobs for a width in columns.

    On a narrow terminal, ids are shortened to the length that commands accept. The image and the
    prompt share the remaining width.
    """
    codes = [result.reason.code if result.reason else "" for result in results]
    states = max(map(len, ("state", *(result.state for result in results))))
    reasons = max(map(len, ("reason", *codes)))
    fixed = states + reasons + 2 * _GAP
    id_width = _ID if width >= _ID + fixed + _GAP + _READABLE else SHORT_ID
    rest = width - id_width - fixed

    grid = Table(box=None, header_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False)
    grid.add_column("job", no_wrap=True, min_width=id_width)
    grid.add_column("state", no_wrap=True, min_width=states)
    grid.add_column("reason", no_wrap=True, min_width=reasons)
    columns = [
        (heading, [truncated(getattr(result, heading)) for result in results])
        for heading in ("image", "prompt")
    ]
    shown = []
    for heading, texts in columns:
        if rest < _GAP + _READABLE:
            break
        needed = max(map(cell_len, (heading, *texts)))
        # Leave the prompt at least its least width.
        most = rest - _GAP
        if heading == "image" and most - needed < _GAP + _READABLE:
            most = max(_READABLE, min(needed, most // 2))
        grid.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=min(needed, most))
        shown.append(texts)
        rest -= _GAP + min(needed, most)
    for at, (result, code) in enumerate(zip(results, codes, strict=True)):
        cells = (result.job_id[:id_width], result.state, code, *(texts[at] for texts in shown))
        grid.add_row(*cells, style=STATE_STYLES.get(result.state))
    return grid

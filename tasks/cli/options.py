"""Arguments and options that several commands share."""

from typing import Annotated

import typer

AnyId = Annotated[str, typer.Argument(metavar="ID", help="Id of a job or a batch.")]
AnyIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs or batches.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="Id of the batch.")]

AttachOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="File for the session: music, a logo, an image or a clip. Repeatable.",
        show_default="no files",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line, and nothing else.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Idempotency key: repeated with the same key, the command returns the same job, "
        "which is paid for once.",
        show_default="no key",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Wait until all jobs have ended or are held; print the outcome."),
]

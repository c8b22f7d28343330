"""Arguments and options that several commands share."""

from typing import Annotated, Final

import typer

HOW_TO_NAME: Final = "an id, at least its first 8 characters, or the name of a batch"
HOW_TO_NAME_A_BATCH: Final = "its name, its id, or at least the first 8 characters of the id"
AnyId = Annotated[str, typer.Argument(metavar="ID", help=f"A job or a batch: {HOW_TO_NAME}.")]
AnyIds = Annotated[
    list[str], typer.Argument(metavar="ID…", help=f"Jobs or batches: {HOW_TO_NAME}.")
]
BatchId = Annotated[
    str,
    typer.Argument(metavar="BATCH", help=f"The batch: {HOW_TO_NAME_A_BATCH}."),
]

AttachOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="File for the project: music, a logo, an image or a clip. Repeatable.",
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

"""Saying: further words about a job."""

from typing import Annotated

import typer

from tasks.cli.error_handling import CommandError
from tasks.cli.output import Json, console, emit, note, printable
from tasks.cli.progress import exit_with_results
from tasks.producer.answers import Answer
from tasks.producer.edits import say as say_to
from tasks.producer.producer import default_producer
from tasks.schema.errors import NotSayable


def say(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="What to do, in English or Chinese.", show_default=False
        ),
    ] = "",
    *,
    attach: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="File to upload to the job's session: music, a logo or an image. Repeatable.",
            show_default="no files",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency key of an edit: the same key is the same edit, paid once.",
            show_default="each edit is a new job",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the edit ends or is held; print its result.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Edit a job's clip, or ask for its export, its status, credits or an upload.

    An edit is a new job in the same session with the video API, and is paid for. Export, status,
    credits and uploads are answered immediately, free of charge.
    """
    if not text.strip() and not attach:
        raise CommandError("Say something, or give --attach FILE.")
    producer = default_producer()
    try:
        done = say_to(producer, job_id, text, attach=attach or [], key=key)
    except NotSayable as error:
        raise CommandError(str(error)) from None
    if isinstance(done, Answer):
        if as_json:
            emit(done.as_dict())
        else:
            console().print(printable(done.text))
        return
    if wait:
        exit_with_results(producer, [done.job_id], as_json=as_json)
    elif as_json:
        emit(done.as_dict())
    else:
        known = "  (known already)" if done.duplicate else ""
        console().print(f"{done.job_id}  {done.state}{known}")
        note(f"Follow with `reelqueue watch {done.job_id}`.")

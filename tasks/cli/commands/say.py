"""The command ``say``: edits of a clip, and requests that are answered immediately."""

from typing import Annotated

import typer

from tasks.cli.error_handling import CommandError
from tasks.cli.options import AttachOption, JsonOption, KeyOption, WaitOption
from tasks.cli.output import console, emit, note, print_submission
from tasks.cli.waiting import exit_with_results
from tasks.producer.follow_up.answers import Answer
from tasks.producer.follow_up.edits import say as say_to
from tasks.producer.names import find_job
from tasks.producer.producer import default_producer
from worker.shown_text import on_one_line


def say(
    job_id: Annotated[
        str,
        typer.Argument(metavar="JOB", help="The job: its id, or at least its first 8 characters."),
    ],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="What to do, in English or Chinese.", show_default=False
        ),
    ] = "",
    *,
    attach: AttachOption = None,
    key: KeyOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Edit a job's clip, or ask for its export, its status, credits or an upload.

    An edit is a new job in the same project of the video API, and is paid for. Export, status,
    credits and upload requests are answered immediately, free of charge.
    """
    if not text.strip() and not attach:
        raise CommandError("Give a text, or --attach FILE.")
    producer = default_producer()
    job_id = find_job(producer, job_id)
    answer = say_to(producer, job_id, text, attach=attach or [], key=key)
    if isinstance(answer, Answer):
        if as_json:
            emit(answer.as_dict())
        else:
            console().print(on_one_line(answer.text))
        return
    if wait:
        exit_with_results(producer, [answer.job_id], as_json=as_json)
    print_submission(answer, as_json=as_json)
    if not as_json:
        note(f"Follow with `reelqueue watch {answer.job_id}`.")

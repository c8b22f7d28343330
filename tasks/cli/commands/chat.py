"""The command ``chat``: a clip made and edited in a conversation."""

from typing import Annotated

import typer

from tasks.cli.commands.submit import checked_jobs
from tasks.cli.conversation.conversation import Conversation
from tasks.cli.conversation.terminal_input import input_lines
from tasks.producer.producer import default_producer


def chat(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE…", help="Image files or https:// addresses."),
    ] = None,
) -> None:
    """Make a clip and edit it in a conversation, one line at a time.

    Each edit is paid for, and its price is shown first. Exports, uploads, and questions about the
    credits or the status are free. "exit" or Ctrl-D ends the conversation. Ctrl-C stops waiting for
    a job, which continues.
    """
    checked_jobs(images or [], {})
    producer = default_producer()
    producer.ping()
    conversation = Conversation(producer, images or [])
    try:
        conversation.open()
        for line in input_lines():
            conversation.handle(line)
    finally:
        conversation.close()

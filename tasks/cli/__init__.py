"""The command line: ``reelqueue``. Exit codes and JSON records are part of the public surface."""

import typer

from tasks.cli.commands import batches, jobs
from tasks.cli.commands import chat as chatting
from tasks.cli.commands import decisions as steering
from tasks.cli.commands import operations as operating
from tasks.cli.commands import say as saying
from tasks.cli.commands import starters as starting
from tasks.cli.commands import watch as watching
from tasks.cli.error_handling import ErrorHandlingGroup

app = typer.Typer(
    cls=ErrorHandlingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn still images into short MP4 clips, one or a hundred thousand at a time.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(jobs.submit)
app.add_typer(batches.app, name="batch")
app.command("list")(jobs.list_)
app.command()(jobs.status)
app.command()(watching.watch)
app.command()(batches.results)
app.command()(saying.say)
app.command()(chatting.chat)
app.command()(steering.retry)
app.command()(steering.release)
app.command()(steering.cancel)
app.command()(steering.redo)
app.command("credits")(operating.credits_)
app.command()(operating.doctor)
app.command()(operating.prune)
app.command()(operating.schema)
for starter in (starting.worker, starting.sandbox, starting.flower):
    app.command(context_settings=starting.PASS_EVERYTHING)(starter)
app.command(context_settings=starting.PASS_THE_REST)(starting.valkey)

"""The commands of ``batch``: submit a manifest, pause and resume its batch."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tasks.cli.batch_output.dry_run import print_dry_run
from tasks.cli.batch_output.held_jobs import print_held_of_batch
from tasks.cli.batch_output.submission import note_start, report_submission
from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.options import BatchId, JsonOption, WaitOption
from tasks.cli.output import emit, note, print_record
from tasks.cli.waiting import exit_code, note_paused, wait_until_done
from tasks.manifests.batch_submission import SessionMode, submit_manifest
from tasks.manifests.dry_runs.dry_run import dry_run_batch
from tasks.manifests.manifest import ManifestOptions
from tasks.manifests.sources import manifest_from, rejects_path, shown_source
from tasks.producer import actions, queries, submissions
from tasks.producer.names import find_batch
from tasks.producer.producer import Producer, default_producer
from tasks.schema.batch import Batch
from tasks.schema.batch_options.aspects import read_aspects
from tasks.schema.batch_options.start_time import read_start_time
from tasks.schema.image_job import DEFAULT_PROMPT
from tasks.schema.prompts.presets import Preset, find_preset
from worker.ledger.model.states import State

app = typer.Typer(no_args_is_help=True, help="Submit, pause and resume batches of images.")


def nonempty(text: str) -> str:
    """Refuse an empty path. It may come from an unset shell variable, and would mean the folder.

    Raises:
        typer.BadParameter: The path is empty.
    """
    if not text:
        raise typer.BadParameter('it is empty; use "." for the working directory.')
    return text


@app.command()
def submit(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER|ADDRESS",
            help="The manifest: a file with one image per row, or a folder or archive of images. "
            "A file can be at a web address, and a folder in a store, such as s3://bucket/folder.",
            parser=nonempty,
        ),
    ],
    *,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Prompt for rows without one. {column} stands for the row's value in a column.",
            show_default=DEFAULT_PROMPT,
        ),
    ] = None,
    aspect: Annotated[
        str | None,
        typer.Option(
            metavar="RATIO,…",
            help="Aspect ratios for rows without one: 16:9, 9:16, 1:1. A clip is made, and paid "
            "for, in each.",
            show_default="one clip per row, in a ratio chosen by the video API",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompt, aspect ratio and seconds for rows without their own: a name that "
            "`reelqueue presets` lists, or a TOML file. --prompt and --aspect have precedence.",
            show_default="no preset",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the batch. The same rows under the same name are paid for once.",
            show_default="name of the file or folder",
        ),
    ] = None,
    max_credits: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="CREDITS",
            help="The most that the batch may spend in total. Jobs beyond it are held.",
            show_default="no limit, or that of an earlier submission",
        ),
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Start no job of the batch before this time: HH:MM of the local clock, or a date "
            "and time such as 2026-12-01T22:00. `now` starts a batch that waits.",
            show_default="as soon as possible",
        ),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Run N jobs, then pause the batch.",
            show_default="run all jobs",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of the images.",
            show_default="image, or a common name for it",
        ),
    ] = None,
    prompt_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of the prompts.",
            show_default="prompt, or a common name for it if there is no --prompt",
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name or number of a sheet in a spreadsheet.",
            show_default="the first visible sheet",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The encoding of a text file, such as windows-1252.",
            show_default="detected, and shown by --dry-run",
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for rejected rows and the reasons.",
            show_default="beside the manifest",
        ),
    ] = None,
    session: Annotated[
        SessionMode,
        typer.Option(
            metavar="MODE",
            help="own: a project of the video API for each row. shared: one project for all rows, "
            "which then run one after another.",
        ),
    ] = SessionMode.OWN,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Address to notify when the batch ends, and when one of its jobs ends or is held.",
            show_default="no webhook, or that of an earlier submission",
        ),
    ] = None,
    redo_changed: Annotated[
        bool,
        typer.Option(
            "--redo-changed",
            help="Make new clips, and pay for them, also for changed rows that have a clip, or "
            "whose job has paid. Without it, these rows keep their jobs.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check every row and estimate the cost; submit nothing."),
    ] = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit the rows of a manifest as one batch.

    Rejected rows do not stop the others. Submitting the same manifest under the same name again
    adds the new rows, and replaces the jobs of changed rows that have not paid yet.
    """
    chosen = Preset("") if preset is None else find_preset(preset)
    if aspect is not None:
        chosen = replace(chosen, aspect=None)
    template = chosen.prompt if prompt is None else prompt
    options = ManifestOptions(image_column, prompt_column, sheet, encoding)
    producer = default_producer()
    settings, defaults = producer.settings, chosen.row_defaults
    opened = manifest_from(source, template, options, settings=settings, defaults=defaults)
    manifest = context.with_resource(opened)
    if aspect is not None:
        manifest = replace(manifest, aspects=read_aspects(aspect.split(",")))
    submissions.check_webhook(producer, webhook)
    start = None if not_before is None else read_start_time(not_before, datetime.now(UTC))
    if start is not None and not as_json:
        note_start(start)
    if dry_run:
        plan = dry_run_batch(
            producer,
            manifest,
            name=name,
            max_credits=max_credits,
            session=session,
            redo_changed=redo_changed,
        )
        if as_json:
            emit(plan.as_dict())
        else:
            print_dry_run(plan, manifest.aspects, redo_changed=redo_changed)
        if not plan.rows:
            raise CommandError(f"{shown_source(source)} has no rows.")
        raise typer.Exit(ExitCode.DONE if plan.good else ExitCode.BAD_INPUT)
    rejects_file = None
    if manifest.rejects is not None:
        rejects_file = manifest.rejects(rejects or rejects_path(source, manifest))
    done = submit_manifest(
        producer,
        manifest,
        name=name,
        max_credits=max_credits,
        pilot=pilot,
        rejects=rejects_file,
        session=session,
        webhook=webhook,
        redo_changed=redo_changed,
        not_before=start,
    )
    accepted = done.jobs + done.duplicates + done.changed
    if not accepted and not done.rejected:
        raise CommandError(f"{shown_source(source)} has no rows.")
    report_submission(
        done,
        rejects_file,
        shown_source(source),
        name or manifest.name,
        redo_changed=redo_changed,
        as_json=as_json,
        wait=wait,
    )
    if not accepted:
        raise CommandError("No row was accepted: nothing was submitted.")
    if pilot is not None and _will_pause(producer, done.batch_id):
        note(
            f"The batch pauses after {pilot} {'job' if pilot == 1 else 'jobs'}. `reelqueue batch "
            f"resume {done.batch_id}` runs the rest. To change the prompt instead, submit the "
            f"manifest again with the new --prompt: jobs that have not paid are replaced."
        )
    if wait:
        _wait(producer, done.batch_id, as_json=as_json, pilot=pilot is not None)
    if not as_json:
        note(f"Follow with `reelqueue watch {done.batch_id}`.")


def _will_pause(producer: Producer, batch_id: str) -> bool:
    """Return whether a batch is paused, or has more waiting jobs than its pilot has left."""
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
    if batch is None:
        return False
    left, waiting = batch.pilot, batch.counts.get(State.QUEUED, 0)
    return batch.paused or (left is not None and waiting > left)


def _wait(producer: Producer, batch_id: str, *, as_json: bool, pilot: bool) -> NoReturn:
    batch = wait_until_done(producer, [batch_id], quiet=as_json)[batch_id]
    print_record(batch, as_json=as_json)
    code = exit_code([batch])
    if isinstance(batch, Batch):
        if not as_json:
            print_held_of_batch(batch)
        if note_paused(batch) and code is ExitCode.DONE and not pilot:
            code = ExitCode.JOB_HELD
    raise typer.Exit(code)


@app.command()
def pause(batch_id: BatchId, as_json: JsonOption = False) -> None:
    """Pause a batch: running jobs continue, no more jobs start."""
    _change(actions.pause, batch_id, as_json=as_json)


@app.command()
def resume(batch_id: BatchId, as_json: JsonOption = False) -> None:
    """Resume a paused batch."""
    _change(actions.resume, batch_id, as_json=as_json)


def _change(action: Callable[[Producer, str], None], batch: str, *, as_json: bool) -> None:
    """Apply an action to a batch, and print the batch."""
    producer = default_producer()
    batch_id = find_batch(producer, batch)
    action(producer, batch_id)
    print_record(queries.get_batch(producer, batch_id), as_json=as_json)

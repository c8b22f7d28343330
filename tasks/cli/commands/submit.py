"""Jobs: submit, list, status."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

import typer

from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.output import (
    STATE_STYLES,
    Json,
    console,
    emit,
    note,
    print_batch,
    print_result,
    printable,
    table,
    truncated,
)
from tasks.cli.progress import exit_with_results
from tasks.producer import queries, submissions
from tasks.producer.local_files import LocalFiles, hash_only
from tasks.producer.producer import Producer, default_producer
from tasks.schema.batch import Batch
from tasks.schema.errors import InvalidPayloadError, UnknownId
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from tasks.schema.result import Result
from worker.ledger.model.states import Reason, State


def submit(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Image files, or addresses such as https://…."),
    ],
    *,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="What the clip should show.")
    ] = DEFAULT_PROMPT,
    aspect: Annotated[
        str | None,
        typer.Option(
            metavar="RATIO",
            help="Aspect ratio of the clip: 16:9, 9:16 or 1:1.",
            show_default="chosen by the video API",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Length of the clip, 1 to 60 seconds.",
            show_default="as in the prompt",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(metavar="CODE", help="Language of the session with the video API.")
    ] = "en",
    priority: Annotated[
        str, typer.Option(metavar="PRIORITY", help="Priority in the queue: high, normal or low.")
    ] = "normal",
    attach: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="File to use in the clip: music, a logo or another clip. Repeatable.",
            show_default="no files",
        ),
    ] = None,
    pass_url: Annotated[
        bool,
        typer.Option(
            "--pass-url", help="Let the video API download the image from its address itself."
        ),
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Address that is sent a signed message when a job ends or is held.",
            show_default="no webhook",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency key: the same key is the same job, paid once. For one image.",
            show_default="each submission is a new job",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the jobs end or are held; print the results.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Submit images, one job each."""
    if key is not None and len(images) > 1:
        raise CommandError("--key names one job: give one image with it.")
    options: dict[str, Any] = {
        "prompt": prompt,
        "aspect": aspect,
        "seconds": seconds,
        "language": language,
        "priority": priority,
        "attach": attach or [],
        "pass_url": pass_url,
        "webhook": webhook,
        "key": key,
    }
    jobs = checked_jobs(images, options)
    producer = default_producer()
    submitted = [submissions.submit(producer, job) for job in jobs]
    job_ids = [submission.job_id for submission in submitted]
    if wait:
        exit_with_results(producer, job_ids, as_json=as_json)
    for submission, job in zip(submitted, jobs, strict=True):
        if as_json:
            emit(submission.as_dict())
        else:
            known = "  (known already)" if submission.duplicate else ""
            console().print(
                f"{submission.job_id}  {submission.state}  {printable(job.image)}{known}"
            )
    if not as_json:
        note(f"Follow with `reelqueue watch {' '.join(job_ids[:3])}`.")


def checked_jobs(images: Iterable[str], options: Mapping[str, Any]) -> list[ImageJob]:
    """One payload for each image. None is enqueued, and later paid, while one is at fault.

    Raises:
        InvalidPayloadError: A payload or a file is refused; all such files are named.
    """
    jobs = [ImageJob.read({"image": image, **options}) for image in images]
    files = LocalFiles(hash_only)
    problems = dict.fromkeys(problem for job in jobs for problem in files.problems_of(job))
    if problems:
        raise InvalidPayloadError(list(problems))
    return jobs


def status(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs or batches.")],
    as_json: Json = False,
) -> None:
    """Print the records of jobs or batches, in the order given."""
    producer = default_producer()
    unknown = False
    for any_id in ids:
        try:
            record = read_record(producer, any_id)
        except UnknownId as error:
            note(str(error))
            unknown = True
            continue
        if as_json:
            emit(record)
        elif isinstance(record, Batch):
            print_batch(record)
        else:
            print_result(record)
    raise typer.Exit(ExitCode.BAD_INPUT if unknown else ExitCode.DONE)


def read_record(producer: Producer, any_id: str) -> Result | Batch:
    """The record of a job or a batch.

    Raises:
        UnknownId: It is neither's.
    """
    if queries.is_batch(producer, any_id):
        return queries.get_batch(producer, any_id)
    return queries.get(producer, any_id)


def list_(
    *,
    batches: Annotated[
        bool, typer.Option("--batches", help="List batches instead of jobs.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only jobs of this batch.", show_default="all jobs"),
    ] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(
            metavar="STATE",
            help=f"Only jobs in this state: {', '.join(State)}. Repeatable.",
            show_default="all states",
        ),
    ] = None,
    reason: Annotated[
        Reason | None,
        typer.Option(
            metavar="REASON",
            help=f"Only jobs held or failed for this reason: {', '.join(Reason)}.",
            show_default="all reasons",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Print at most this many.")] = 100,
    as_json: Json = False,
) -> None:
    """List jobs or batches, newest first.

    The jobs of one batch are listed in the order of its rows.
    """
    producer = default_producer()
    if batches:
        _list_batches(producer, limit, as_json=as_json)
        return
    found = islice(_matching(_candidates(producer, batch), state or [], reason), limit)
    if as_json:
        for result in found:
            emit(result)
        return
    grid = table("job", "state", "reason", "image", "prompt")
    for result in found:
        why = result.reason.code.value if result.reason else ""
        cells = (
            result.job_id,
            result.state.value,
            why,
            truncated(result.image),
            truncated(result.prompt),
        )
        grid.add_row(*cells, style=STATE_STYLES.get(result.state))
    console().print(grid)


def _candidates(producer: Producer, batch_id: str | None) -> Iterator[Result]:
    if batch_id is not None:
        queries.get_batch(producer, batch_id)
        return queries.list_batch_jobs(producer, batch_id)
    return queries.list_jobs(producer)


def _matching(
    found: Iterable[Result], states: list[State], reason: Reason | None
) -> Iterator[Result]:
    for result in found:
        if states and result.state not in states:
            continue
        if reason is not None and (result.reason is None or result.reason.code != reason):
            continue
        yield result


def _list_batches(producer: Producer, limit: int, *, as_json: bool) -> None:
    for batch in islice(queries.list_batches(producer), limit):
        if as_json:
            emit(batch)
        else:
            print_batch(batch)

"""The command ``submit``: images, one job each."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from config.settings import Settings
from tasks.cli.error_handling import CommandError
from tasks.cli.options import AttachOption, JsonOption, KeyOption, WaitOption
from tasks.cli.output import note, print_submission
from tasks.cli.waiting import exit_with_results
from tasks.producer.local_files import LocalFiles, hash_only
from tasks.producer.producer import default_producer
from tasks.producer.submissions import submit as submit_job
from tasks.schema.addresses import private_addresses, private_hosts_of
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from worker.file_refusal import without_secrets


def submit(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Image files, https:// or s3:// addresses."),
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
        str, typer.Option(metavar="CODE", help="Language of the project at the video API.")
    ] = "en",
    priority: Annotated[
        str, typer.Option(metavar="PRIORITY", help="Priority in the queue: high, normal or low.")
    ] = "normal",
    attach: AttachOption = None,
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
            help="Address to notify when a job ends or is held.",
            show_default="no webhook",
        ),
    ] = None,
    key: KeyOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit images, one job each.

    If one of them cannot be used, none is submitted.
    """
    if key is not None and len(images) > 1:
        raise CommandError("--key is for one job: give one image with it.")
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
    submissions = [submit_job(producer, job) for job in jobs]
    job_ids = [submission.job_id for submission in submissions]
    _note_private(producer.settings, jobs)
    if wait:
        exit_with_results(producer, job_ids, as_json=as_json)
    for submission, job in zip(submissions, jobs, strict=True):
        print_submission(submission, job.image, as_json=as_json)
    if not as_json:
        note(f"Follow with `reelqueue watch {' '.join(job_ids[:3])}`.")


def _note_private(settings: Settings, jobs: Iterable[ImageJob]) -> None:
    """Name addresses that workers may refuse. Their settings, which decide, are not known here."""
    allowed = private_hosts_of(settings)
    named = chain.from_iterable(job.fetched for job in jobs)
    for address in dict.fromkeys(private_addresses(named, allowed)):
        note(
            f"{without_secrets(address)} is a private address. The job fails as forbidden_source, "
            "unless the setting REELQUEUE_PRIVATE_HOSTS of the workers names its host."
        )


def checked_jobs(images: Collection[str], options: Mapping[str, Any]) -> list[ImageJob]:
    """Return the payload of each image, after a check of all files.

    Raises:
        InvalidPayloadError: A payload or a file is invalid. The error names all such files.
    """
    jobs = [ImageJob.read({"image": image, **options}) for image in images]
    files = LocalFiles(hash_only)
    problems = dict.fromkeys(problem for job in jobs for problem in files.problems_of(job))
    if problems:
        raise InvalidPayloadError([*problems, *_advice(map(files.path_of, images))])
    return jobs


def _advice(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the right command for each path that is that of a manifest instead of an image."""
    # Submissions without an error need no manifests.
    from tasks.manifests.manifest import SUFFIXES  # noqa: PLC0415

    for path in paths:
        command = f"`reelqueue batch submit {quote(str(path))}`"
        if path.is_dir():
            yield f"{path} is a folder: {command} submits the images in it."
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            yield f"{path} can be a manifest: {command} submits the images that it lists."

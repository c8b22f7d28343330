# ruff: noqa: ARG001 - the parameters document options that Celery's worker parses
"""The command `reelqueue worker`: one worker, or several processes under a supervisor."""

import os
import sys
from typing import Annotated, Final

import typer

from tasks.cli.commands.starters import CELERY, exec_python
from tasks.cli.error_handling import CommandError

PORT: Final = "REELQUEUE_METRICS_PORT"
LAST_PORT: Final = 65535


def worker(
    context: typer.Context,
    *,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of processes. Several are named NAME-1@HOST, NAME-2@HOST and so on.",
            show_default="one for each available processor",
        ),
    ] = None,
    pool: Annotated[
        str,
        typer.Option("-P", "--pool", metavar="POOL", help="How Celery runs jobs at the same time."),
    ] = "gevent",
    concurrency: Annotated[
        int | None,
        typer.Option(
            *("-c", "--concurrency"),
            metavar="N",
            help="Jobs that run at the same time, in each process.",
            show_default="REELQUEUE_CONCURRENCY, or 1000",
        ),
    ] = None,
    hostname: Annotated[
        str | None,
        typer.Option(
            *("-n", "--hostname"),
            metavar="NAME",
            help="Name of the worker, unique in the service.",
            show_default="celery@HOST",
        ),
    ] = None,
) -> None:
    """Start a worker, which runs jobs, with one process for each processor.

    All other options are passed to Celery's worker. "celery -A worker.app worker --help" lists
    them. The service itself is configured by environment variables such as REELQUEUE_LOG_FORMAT.

    A process that ends is started again. On SIGTERM and Ctrl-C the processes start no more steps,
    wait for the replies to their paid messages, by default at most 15 minutes, and exit. Of several
    processes, number K serves its metrics on REELQUEUE_METRICS_PORT + K.
    """
    from tasks.supervisor.worker_options import is_detached, split_processes  # noqa: PLC0415
    from worker.resources.cpus import usable_cpus  # noqa: PLC0415 - few commands need them

    try:
        number, arguments = split_processes(context.args)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not {"-P", "--pool"} & set(arguments):
        arguments = ["-P", "gevent", *arguments]
    if number is None:
        number = 1 if is_detached(arguments) else usable_cpus()
    if number == 1:
        exec_python(*CELERY, "worker", *arguments)
    raise typer.Exit(_supervise(number, arguments))


def _supervise(number: int, arguments: list[str]) -> int:
    """Run several processes to their end, and return the exit status."""
    from config.observability import configure_logging  # noqa: PLC0415 - slow to import
    from config.settings import get_settings  # noqa: PLC0415
    from tasks.supervisor.process import SupervisedProcess  # noqa: PLC0415
    from tasks.supervisor.supervisor import Supervisor  # noqa: PLC0415
    from tasks.supervisor.worker_options import with_node_name  # noqa: PLC0415

    settings = get_settings()
    port = settings.operations.metrics_port
    if port is not None and port + number > LAST_PORT:
        raise CommandError(
            f"{PORT}: {number} processes need the ports up to {port + number}, which is over "
            f"{LAST_PORT}. Set a lower one."
        )
    configure_logging(settings)
    processes = []
    for k in range(1, number + 1):
        env = os.environ | ({PORT: str(port + k)} if port is not None else {})
        # -P: packages in the working directory must not hide ours.
        command = [sys.executable, "-P", *CELERY, "worker", *with_node_name(arguments, k)]
        processes.append(SupervisedProcess(f"worker {k}", command, env))
    return Supervisor(processes).run()

"""The options of `reelqueue worker` for several processes."""

import pytest

from tasks.supervisor.worker_options import split_processes, with_node_name


@pytest.mark.parametrize(
    ("line", "number", "rest"),
    [
        ("-l info", None, "-l info"),
        ("--processes 2 -l info", 2, "-l info"),
        ("-l info --processes=3", 3, "-l info"),
        ("--processes=3 --processes 1", 1, ""),
        ("-Qprocesses --queues=--processes=2", None, "-Qprocesses --queues=--processes=2"),
    ],
)
def test_the_number_of_processes_is_taken_out(line: str, number: int | None, rest: str) -> None:
    assert split_processes(line.split()) == (number, rest.split())


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "", "257", "²"])
def test_another_value_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="--processes must be a number from 1 to 256"):
        split_processes([f"--processes={value}"])
    with pytest.raises(ValueError, match="--processes must be a number"):
        split_processes(["--processes", *([value] if value else [])])


@pytest.mark.parametrize("option", ["-D", "--detach"])
def test_detached_workers_are_not_supervised(option: str) -> None:
    assert split_processes([option, "--processes=1"]) == (1, [option])
    with pytest.raises(ValueError, match="--detach"):
        split_processes([option, "--processes=2"])


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "-n celery-2@%h"),
        ("-n w@%h -l info", "-l info -n w-2@%h"),
        ("-nw@h", "-n w-2@h"),
        ("--hostname=w@h -c 5", "-c 5 -n w-2@h"),
        ("--hostname w@", "-n w-2@%h"),
        ("-n host", "-n celery-2@host"),
    ],
)
def test_each_process_has_a_node_name_of_its_own(line: str, named: str) -> None:
    assert with_node_name(line.split(), 2) == named.split()

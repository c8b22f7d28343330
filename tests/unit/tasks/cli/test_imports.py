"""What a command imports: the command line starts as fast as the packages that it needs."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.waiting import refusing_port

HEAVY = frozenset(
    ("PIL", "av", "celery", "fsspec", "gevent", "httpx", "kombu", "obstore", "sandbox")
)
"""Packages for pictures, clips, stores and workers."""


@pytest.mark.parametrize(
    ("words", "not_needed"),
    [
        ("--version", HEAVY | {"pydantic", "redis", "rich", "structlog"}),
        ("status some-id", HEAVY | {"structlog"}),
        ("list", HEAVY),
        ("cancel some-id", HEAVY),
    ],
)
def test_a_command_imports_only_what_it_needs(words: str, not_needed: frozenset[str]) -> None:
    program = (
        "import sys\n"
        "from tasks.cli.__main__ import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        cwd=ROOT,
        env={"REDIS_URL": f"redis://127.0.0.1:{refusing_port()}/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {name.partition(".")[0] for name in answer.stdout.splitlines()[-1].split()}
    assert "tasks" in imported
    assert imported & not_needed == set()


def test_garbage_is_collected_once_the_command_is_loaded() -> None:
    program = (
        "import gc\n"
        "from tasks.cli.__main__ import app\n"
        "before = gc.isenabled(), gc.get_freeze_count()\n"
        "app(['schema'], standalone_mode=False)\n"
        "print(*before, gc.isenabled(), gc.get_freeze_count() > 10_000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == ["False", "0", "True", "True"]

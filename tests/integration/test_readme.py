"""The commands and programs in the documentation that are marked to run, run as they stand there.

A mark is the line ``<!-- run -->`` before a block. In the commands, ``JOB`` stands for the newest
job that has a clip, and ``BATCH`` for the newest batch.
"""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.commands import close_and_clear_caches, run_reelqueue, wait_for_doctor
from tests.support.processes import ROOT
from tests.support.stack import Stack
from worker.ledger.model.states import State

PAGES = ("README.md", "docs/usage.md")
BLOCK = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```", re.DOTALL)


@pytest.mark.integration
def test_every_marked_block_runs(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a worker and the stand-in, when each block is run in order, then nothing fails."""
    stack.start_sandbox()
    stack.start_worker()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(folder)
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    wait_for_doctor()
    for page in PAGES:
        blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
        assert blocks, page
        for language, block in blocks:
            if language == "sh":
                run_commands(stack, block)
            else:
                run_program(block)


def run_commands(stack: Stack, block: str) -> None:
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "reelqueue", line
        done = run_reelqueue(*(replaced(stack, word) for word in words))
        assert done.code == 0, f"{line}\n{done.out}{done.err}"


def replaced(stack: Stack, word: str) -> str:
    """Return an id for a placeholder, and any other word as it is."""
    if word == "JOB":
        newest = map(str, stack.ledger.redis.zrange(stack.ledger.key("jobs"), 0, -1, desc=True))
        return next(job_id for job_id in newest if stack.job(job_id).state is State.SUCCEEDED)
    return stack.ledger.batch_ids()[0] if word == "BATCH" else word


def run_program(block: str) -> None:
    close_and_clear_caches()
    try:
        exec(block, {})  # noqa: S102 - the documentation is ours
    finally:
        close_and_clear_caches()

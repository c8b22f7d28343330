"""Every command on terminals, pipes and devices of all kinds: no traceback, and a right status."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import typer

from tasks.cli import app
from tests.support.terminals import Terminal, Terminals
from tests.support.waiting import refusing_port
from tests.unit.tasks.cli.job_ends import fail_job, hold_job
from tests.unit.tasks.conftest import ProducerHarness

WORDS: Final = "ein Vogel – 猫 ✓ 🐈"
ENDS: Final = frozenset({0, 1, 2, 3, 4})
TERMINALS: Final = {
    "dumb, narrow, ascii": Terminal("terminal", encoding="ascii", columns=40, env={"TERM": "dumb"}),
    "narrow": Terminal("terminal", "terminal", columns=40, env={"TERM": "xterm-256color"}),
    "no color, one column": Terminal("terminal", columns=1, env={"TERM": "xterm", "NO_COLOR": "1"}),
    "western, odd variables": Terminal(
        encoding="latin-1", env={"LC_ALL": "ü", "TERM": "none", "COLUMNS": "0", "LINES": "x"}
    ),
    "japanese": Terminal("terminal", encoding="cp932", env={"LANG": "ja_JP.SJIS"}),
    "closed pipe": Terminal("broken pipe"),
    "both pipes closed": Terminal("broken pipe", "broken pipe"),
    "full disk": Terminal("full disk"),
    "full disk under both": Terminal("full disk", "full disk"),
    "no standard streams": Terminal("closed", "closed"),
}


@pytest.fixture(scope="module")
def terminals() -> Iterator[Terminals]:
    """The process that forks."""
    server = Terminals()
    yield server
    server.close()


@pytest.mark.parametrize("kind", TERMINALS)
def test_every_command(harness: ProducerHarness, terminals: Terminals, kind: str) -> None:
    calls = [*_calls(harness)]
    root: Any = typer.main.get_command(app)
    replaced = {"sandbox", "valkey", "worker", "flower"}  # by other programs
    names = {arguments[0] for arguments in calls}
    assert names - {"--version", "--help", "nope"} == {*root.list_commands(None)} - replaced
    settings, terminal = harness.producer.settings, TERMINALS[kind]
    env = {
        "PATH": "/usr/bin:/bin",
        "REDIS_URL": settings.redis.url.get_secret_value(),
        "REELQUEUE_MEDIA_URL": settings.storage.media_url,
        "REELQUEUE_OUTPUT_URL": settings.storage.output_url,
        "NEMO_API_URL": f"http://127.0.0.1:{refusing_port()}",
    }
    for arguments in calls:
        ended = terminals.run(arguments, terminal, harness.folder, env)
        assert b"Traceback" not in ended.err, (arguments, ended.err.decode(errors="replace"))
        for_programs = {"--json", "results", "schema"} & {*arguments}
        ended.out.decode("utf-8" if for_programs else terminal.encoding)
        expected = ENDS | ({141} if "pipe" in f"{terminal.output} {terminal.errors}" else set())
        assert ended.code in expected, (arguments, ended)
        if terminal.output == "full disk" and arguments[0] in {"list", "results", "schema"}:
            assert ended.code == 3, arguments
            assert terminal.errors == "full disk" or b"No space left on device" in ended.err
        if terminal.output == "broken pipe" and arguments[0] in {"list", "results", "schema"}:
            assert ended.code == 141, arguments
        if "NO_COLOR" in terminal.env:
            assert not re.search(rb"\x1b\[[0-9;]*[34][0-7]m", ended.out), arguments


def _calls(harness: ProducerHarness) -> Iterator[list[str]]:
    """Yield the arguments of each command, in all its ways to print."""
    image = harness.picture("猫.png").name
    rows = "".join(f'{{"image": "{image}", "prompt": "{WORDS} {n}", "ü": "{n}"}}\n' for n in "abc")
    (harness.folder / "m.jsonl").write_text(rows + '{"image": "gone.png"}\n', encoding="utf-8")
    failed, held, open_ = (harness.submit(prompt=f"{WORDS} {n}") for n in range(3))
    batch = harness.submit_batch(2)
    fail_job(harness, failed)
    hold_job(harness, held)
    yield ["--version"]
    yield ["--help"]
    yield ["submit", image, "--prompt", WORDS]
    yield ["submit", image, "--json"]
    yield ["batch", "submit", "m.jsonl", "--name", WORDS, "--dry-run"]
    yield ["batch", "submit", "m.jsonl", "--name", WORDS, "--pilot", "1"]
    yield ["batch", "submit", "m.jsonl", "--name", WORDS]
    yield ["batch", "pause", WORDS]
    yield ["status", failed, held, open_, WORDS, "nope"]
    yield ["status", held, "--json"]
    yield ["watch", failed, held, WORDS]
    yield ["batch", "resume", WORDS]
    yield ["list"]
    yield ["list", "--state", "held"]
    yield ["list", "--batches"]
    yield ["list", "--json"]
    yield ["results", WORDS]
    yield ["results", WORDS, "--format", "csv"]
    yield ["results", WORDS, "--format", "html"]
    yield ["say", failed, WORDS]
    yield ["chat", image]
    yield ["release", held]
    yield ["retry", failed]
    yield ["redo", batch]
    yield ["cancel", batch]
    yield ["credits"]
    yield ["doctor"]
    yield ["prune", "--days", "0", "--dry-run"]
    yield ["recover", "--dry-run"]
    yield ["presets"]
    yield ["schema"]
    yield ["nope"]

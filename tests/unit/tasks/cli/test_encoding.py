"""Commands on a terminal that is set to ASCII."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tasks.cli import app
from tasks.cli.output import emit, note
from tests.support.waiting import refusing_port
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State

WORDS = "ein Vogel – 猫 ✓ 🐈"
PROGRAM = """
import json, sys
from tasks.cli import app
from tasks.cli.encoding import make_streams_safe
make_streams_safe()
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments, prog_name="reelqueue")
    except SystemExit as end:
        code = end.code
    for stream in sys.stdout, sys.stderr:
        stream.flush()
        stream.buffer.write(b"\\0%d\\0" % (code or 0) if stream is sys.stdout else b"\\0")
"""
ASCII = {
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONIOENCODING": "ascii",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "1",  # the arguments are UTF-8
}


def test_no_command_fails_on_a_terminal_set_to_ascii(harness: ProducerHarness) -> None:
    """JSON and results are UTF-8 even there. `sandbox` becomes another program."""
    calls = [*_calls(harness)]
    root: Any = typer.main.get_command(app)
    assert {arguments[0] for arguments, *_ in calls} == {*root.list_commands(None)} - {"sandbox"}
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    settings = harness.producer.settings
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([arguments for arguments, *_ in calls])],
        cwd=harness.folder,
        env={
            **env,
            **ASCII,
            "REDIS_URL": settings.redis.url.get_secret_value(),
            "REELQUEUE_MEDIA_URL": settings.storage.media_url,
            "REELQUEUE_OUTPUT_URL": settings.storage.output_url,
            "NEMO_API_URL": f"http://127.0.0.1:{refusing_port()}",
        },
        input="猫\nexit\n".encode(),
        capture_output=True,
        check=False,
        timeout=150,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    outputs = done.stdout.split(b"\0")
    errors = done.stderr.split(b"\0")
    assert len(outputs) == 2 * len(calls) + 1, done.stderr.decode()
    for number, (arguments, code, text) in enumerate(calls):
        output, ended = outputs[2 * number : 2 * number + 2]
        assert int(ended) == code, (arguments, errors[number])
        errors[number].decode("ascii")
        if {"--json", "--format", "results", "schema"} & {*arguments}:
            assert text in output.decode(), arguments
        else:
            assert text in output.decode("ascii"), arguments


def _calls(harness: ProducerHarness) -> Iterator[tuple[list[str], int, str]]:
    """Yield the arguments of each command, its exit code, and a part of its output."""
    image = harness.picture("猫.png").name
    rows = "".join(f'{{"image": "{image}", "prompt": "{WORDS} {n}", "ü": "{n}"}}\n' for n in "ab")
    (harness.folder / "m.jsonl").write_text(rows, encoding="utf-8")
    done, stays, retried = (harness.submit(prompt=f"{WORDS} {n}") for n in range(3))
    batch = harness.submit_batch(2)
    texts = {"message": WORDS, "remedy": WORDS}
    harness.finish_step(done, State.FAILED, reason=Reason.RENDER_FAILED, **texts)
    harness.finish_step(stays, State.HELD, reason=Reason.PLAN, **texts)
    harness.finish_step(retried, State.FAILED, reason=Reason.RENDER_FAILED, **texts)
    yield ["submit", image, "--prompt", WORDS], 0, "queued"
    yield ["submit", image, "--prompt", WORDS, "--json"], 0, "job_id"
    yield ["batch", "submit", "m.jsonl", "--name", WORDS, "--dry-run"], 0, ""
    yield ["batch", "submit", "m.jsonl", "--name", WORDS, "--dry-run", "--json"], 0, "rows"
    yield ["batch", "submit", "m.jsonl", "--name", WORDS], 0, ""
    yield ["batch", "pause", batch], 0, ""
    yield ["batch", "resume", batch], 0, ""
    yield ["status", done, stays, batch], 0, "ein Vogel - ? + ?"
    yield ["status", done, "--json"], 0, WORDS
    yield ["watch", done], 0, ""
    yield ["list"], 0, "?.png"
    yield ["list", "--batches"], 0, ""
    yield ["list", "--json"], 0, "猫.png"
    yield ["results", batch], 0, ""
    yield ["results", batch, "--format", "csv"], 0, "\ufeffrow"
    yield ["results", batch, "--format", "html", "-o", "-"], 0, "<html"
    yield ["say", done, WORDS], 2, ""
    yield ["chat", image], 0, ""
    yield ["release", stays], 0, ""
    yield ["retry", retried], 0, ""
    yield ["redo", done, "--prompt", WORDS, "--json"], 0, "job_id"
    yield ["cancel", batch], 0, ""
    yield ["credits"], 0, ""
    yield ["doctor"], 3, "+ redis"
    yield ["doctor", "--json"], 3, "redis"
    yield ["prune", "--days", "0", "--dry-run"], 0, ""
    yield ["recover", "--dry-run"], 0, ""
    yield ["recover", "--dry-run", "--json"], 0, "unreadable"
    yield ["presets"], 0, "Slow push-in"
    yield ["schema"], 0, "ImageJob"
    for starter in ("worker", "flower", "valkey"):
        yield [starter, "--help"], 0, "Usage"


@pytest.mark.parametrize("text", ["half \udc80 of a pair", WORDS])
def test_json_is_utf8_whatever_it_holds(
    text: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    emit({"prompt": text})
    out, _ = capfdbinary.readouterr()
    assert json.loads(out.decode()) == {"prompt": text}


def test_a_message_shows_texts_of_others_without_their_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note("It failed: \x1b]0;title\x07 red\nTry again.")
    assert capsys.readouterr().err == "It failed: \ufffd]0;title\ufffd red\nTry again.\n"

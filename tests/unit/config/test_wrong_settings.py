"""The error for an invalid setting names its variable, but not its value."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from config.settings import Settings, describe_problems
from tests.support.commands import run_reelqueue

ROOT = Path(__file__).resolve().parents[3]
LONG = "x" * 201

WRONG_URL = ("nemo.example", "ftp://nemo.example", "http://hunter2:port/")
WRONG_HEADER = ("hunter2 hunter2", "häder", "two\nlines")
WRONG_REDIS = ("localhost:6379", "redis://:hunter2@host:port/0", "redis://:hunter2@host/0?colour=1")
WRONG_STORE = ("nosuch://hunter2/folder", "s3://", "two\nlines")
WRONG_NUMBER = ("0", "-1", "hunter2")
WRONG_SECONDS = ("0", "nan", "hunter2")
WRONG_WORD = ("hunter2", "JSON ", "1")
WRONG_FLAG = ("hunter2", "2", "")

WRONG = {
    "NEMO_API_URL": WRONG_URL,
    "NEMO_WEB_URL": WRONG_URL,
    "NEMO_TOKEN": ("häder", "two\nlines", "hunter2,a\tb"),
    "NEMO_CLIENT_ID": WRONG_HEADER,
    "SKILL_SOURCE": WRONG_HEADER,
    "SKILL_VERSION": ("", *WRONG_HEADER[:2]),
    "REDIS_URL": WRONG_REDIS,
    "BROKER_URL": WRONG_REDIS,
    "REELQUEUE_NAMESPACE": ("", "hunter2 hunter2", "a:b"),
    "REELQUEUE_REPLICAS": ("-1", "101", "hunter2"),
    "REELQUEUE_QUEUE": ("celery", "hunter2 hunter2", LONG),
    "REELQUEUE_MEDIA_URL": WRONG_STORE,
    "REELQUEUE_OUTPUT_URL": WRONG_STORE,
    "REELQUEUE_JOURNAL_URL": WRONG_STORE,
    "REELQUEUE_CLIP_NAME": ("", "{hunter2}", LONG),
    "REELQUEUE_MEDIA_ROOTS": ("file:///hunter2", "two\nlines", "/srv,s3://me:hunter2@bucket"),
    "REELQUEUE_PRIVATE_HOSTS": ("http://hunter2", "hunter2/path", "a b"),
    "REELQUEUE_WEBHOOK_SECRET": ("hunter2", "whsec_aHVudGVyMg==", "whsec_no base64"),
    "SENTRY_DSN": ("hunter2", "https://sentry.example/5", "https://hunter2@sentry.example/"),
    "REELQUEUE_METRICS_PORT": ("0", "65536", "hunter2"),
    "REELQUEUE_METRICS_HOST": ("", "http://hunter2", "a b"),
    "REELQUEUE_TICK_SECONDS": (*WRONG_SECONDS, "20"),
    "REELQUEUE_SETTLE_CHECKS": ("1", "1.5", "hunter2"),
}


def variables() -> Iterator[tuple[str, FieldInfo]]:
    """Each variable, and the field that is read from it."""
    for group in Settings.model_fields.values():
        assert isinstance(group.annotation, type)
        assert issubclass(group.annotation, BaseModel)
        for field in group.annotation.model_fields.values():
            alias = field.validation_alias
            names = alias.choices if isinstance(alias, AliasChoices) else [alias]
            yield from ((str(name), field) for name in names)


def wrong_values(variable: str, field: FieldInfo) -> tuple[str, ...]:
    """At least three wrong values."""
    if variable in WRONG:
        return WRONG[variable]
    if field.annotation is int:
        return WRONG_NUMBER
    if "float" in str(field.annotation):
        return WRONG_SECONDS
    if field.annotation is bool:
        return WRONG_FLAG
    return WRONG_WORD


CASES = [(name, value) for name, field in variables() for value in wrong_values(name, field)]


@pytest.mark.parametrize(("variable", "value"), CASES)
def test_a_wrong_value_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as raised:
        Settings()
    text = describe_problems(raised.value)
    assert variable in text
    assert "hunter2" not in text
    assert "\n" not in text


@pytest.mark.parametrize("arguments", [("list",), ("doctor",), ("submit", "samples/cat.jpg")])
def test_the_command_line_ends_with_status_2_and_the_sentence(arguments: tuple[str, ...]) -> None:
    result = run_reelqueue(*arguments, env={"REDIS_URL": "redis://:hunter2@host:port/0"})
    assert result.code == 2
    assert result.err.startswith("The settings are invalid. REDIS_URL: ")
    assert "hunter2" not in result.err


def run_celery(program: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of Celery with the worker's app, and with no other environment."""
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.app", program],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_a_worker_logs_once_which_variables_are_no_settings() -> None:
    # With this proxy it ends, before it connects to anything.
    done = run_celery("worker", REELQUEUE_TICK_SECOND="hunter2", HTTPS_PROXY="socks://127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    output = done.stderr + done.stdout
    assert output.count("Did you mean REELQUEUE_TICK_SECONDS?") == 1
    assert "hunter2" not in output


@pytest.mark.parametrize("program", ["worker", "flower"])
def test_the_celery_programs_end_with_status_2_and_the_sentence(program: str) -> None:
    done = run_celery(program, REDIS_URL="redis://:hunter2@host:port/0", REELQUEUE_CONCURRENCY="0")
    assert done.returncode == 2, done.stderr
    assert "REDIS_URL: has a port" in done.stderr
    assert "REELQUEUE_CONCURRENCY: " in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr

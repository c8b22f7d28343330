"""Log lines and Sentry events contain no secret."""

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from pydantic import SecretStr
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from config.observability import configure_logging, init_sentry
from config.redaction import redact
from config.settings import Settings
from tests.support.logs import restored_logging

ACCESS = "nmv_usr_0123456789abcdef"
CLAIM = "clm_zyx987"
REGISTERED = "a token+of/any form"
PASSWORD = "s3cret-pass/word"
REDIS = "redis://default:s3cret-pass%2Fword@cache.example:6379/0"
OPENED = f"opened {CLAIM}"
SECRETS = (ACCESS, CLAIM, REGISTERED, "a%20token%2Bof%2Fany%20form", PASSWORD, "s3cret-pass%2Fword")


def settings(redis_url: str = REDIS, **operations: str) -> Settings:
    """Build settings with secrets of every kind."""
    return Settings.model_validate(
        {
            "api": {"tokens": f"{ACCESS}-2,{REGISTERED}"},
            "redis": {"url": redis_url},
            "operations": {"log_format": "json", **operations},
        }
    )


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Restore the logs of the process."""
    with restored_logging():
        yield


class Lines:
    """The text that was written to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        """Return the whole text since the start of the test."""
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Capture standard error of the test."""
    return Lines(capsys)


def fail(prompt: str, text: str = "") -> None:
    """Raise with secrets in the text and a prompt in a local variable."""
    assert prompt
    raise RuntimeError(f"refused {ACCESS} Bearer {REGISTERED} at {REDIS}{text}")


def assert_clean(text: str) -> None:
    """Check that the text contains no secret, in any spelling."""
    for secret in SECRETS:
        assert secret not in text, f"{secret} in {text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"got {ACCESS}, then", "got [redacted] then"),
        (f'{{"token":"{ACCESS}","n":1}}', '{"token":"[redacted]","n":1}'),
        (f"line\\n{ACCESS}\\nline", "line\\n[redacted]\\nline"),
        (f"https://x.test/claim?ct={CLAIM}", "https://x.test/claim?ct=[redacted]"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer [redacted]"),
        ("redis://:hunter2@h:1/0", "redis://:[redacted]@h:1/0"),
        ("rediss://me:p@ss@h:1/0", "rediss://me:[redacted]@h:1/0"),
        ("https://h:8080/photo@2x.jpg", "https://h:8080/photo@2x.jpg"),
        ("nothing secret here", "nothing secret here"),
    ],
)
def test_known_forms_are_redacted_without_configuration(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_configured_tokens_of_any_form_are_redacted(lines: Lines) -> None:
    configure_logging(settings())
    for secret in SECRETS:
        assert secret not in redact(f"before {secret} after")
    assert redact(f"{REGISTERED}!") == "[redacted]!"
    assert lines.getvalue() == ""


def test_a_short_redis_password_is_not_redacted_in_words() -> None:
    configure_logging(settings(redis_url="redis://:rq@h:1/0"))
    assert redact("rq is the namespace") == "rq is the namespace"


def test_a_json_line_contains_the_job_and_no_secret(lines: Lines) -> None:
    configure_logging(settings())
    structlog.contextvars.bind_contextvars(job_id="j-1")
    log = structlog.get_logger("tasks.generate")
    log.warning(
        OPENED,
        token=ACCESS,
        header={"Authorization": f"Bearer {REGISTERED}", "list": [REDIS, (PASSWORD,)]},
        raw=f"{ACCESS}".encode(),
        secret=SecretStr(ACCESS),
        error=ValueError(ACCESS),
    )
    text = lines.getvalue()
    assert_clean(text)
    line = json.loads(text)
    assert line["job_id"] == "j-1"
    assert line["level"] == "warning"
    assert line["logger"] == "tasks.generate"
    assert line["event"] == "opened [redacted]"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_exception_texts_are_redacted_and_locals_left_out(lines: Lines, log_format: str) -> None:
    configure_logging(settings(log_format=log_format))
    prompt_of_a_person = "a-prompt-nobody-else-should-read"

    for log in (structlog.get_logger("ours"), logging.getLogger("celery.app.trace")):
        try:
            fail(prompt_of_a_person)
        except RuntimeError:
            log.exception("it failed")
    text = lines.getvalue()
    assert_clean(text)
    assert text.count("RuntimeError: refused") == 2
    assert prompt_of_a_person not in text


def test_lines_of_libraries_are_redacted_too(lines: Lines) -> None:
    configure_logging(settings())
    logging.getLogger("celery.worker").info("connected to %s as %s", REDIS, ACCESS)
    text = lines.getvalue()
    assert_clean(text)
    assert json.loads(text)["event"].startswith("connected to redis://default:[redacted]@cache")


def test_warnings_become_log_lines(lines: Lines) -> None:
    configure_logging(settings())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"odd {ACCESS}", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert json.loads(lines.getvalue())["logger"] == "py.warnings"
    assert_clean(lines.getvalue())


def test_request_lines_of_httpx_are_not_logged(lines: Lines) -> None:
    configure_logging(settings(log_level="debug"))
    logging.getLogger("httpx").info("HTTP Request: GET %s", f"https://x.test/?t={ACCESS}")
    logging.getLogger("httpcore.http11").debug("send_request_headers")
    assert lines.getvalue() == ""


def test_each_step_has_one_line_without_those_of_celery(lines: Lines) -> None:
    configure_logging(settings())
    logging.getLogger("celery.worker.strategy").info("Task tasks.prepare[x] received")
    logging.getLogger("celery.app.trace").info("Task tasks.prepare[x] succeeded")
    logging.getLogger("celery.app.trace").error("Task tasks.prepare[x] raised unexpected")
    assert [json.loads(line)["level"] for line in lines.getvalue().splitlines()] == ["error"]


def test_configuring_again_changes_the_level_and_writes_each_line_once(lines: Lines) -> None:
    configure_logging(settings())
    configure_logging(settings(log_level="warning"))
    structlog.get_logger("ours").info("not this")
    structlog.get_logger("ours").warning("this")
    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["this"]


def test_a_line_that_cannot_be_formatted_shows_no_arguments(lines: Lines) -> None:
    configure_logging(settings())
    logging.getLogger("ours").warning("%d credits", ACCESS)
    text = lines.getvalue()
    assert_clean(text)
    assert "a log line of ours could not be written" in text


def test_a_console_line_shows_the_event_and_its_fields(lines: Lines) -> None:
    configure_logging(settings(log_format="console"))
    structlog.get_logger("ours").info("clip delivered", job_id="j-2")
    assert "clip delivered" in lines.getvalue()
    assert "job_id=j-2" in lines.getvalue()


FORGED = "2026-01-01T00:00:00Z [critical ] FORGED"
ODD = f"a\n{FORGED}\r\x1b[31mred\x9b0m\u2028\x00"


@pytest.mark.parametrize("log", [structlog.get_logger("ours"), logging.getLogger("celery.worker")])
def test_a_console_event_is_one_line_whatever_its_values_hold(lines: Lines, log: Any) -> None:
    configure_logging(settings(log_format="console"))
    if isinstance(log, logging.Logger):
        log.warning("Received unregistered task of type %s", ODD)
    else:
        log.warning(ODD, job_id=ODD, prompt=f"x{ODD}", deep={ODD: [ODD]}, short="a\nb")
        structlog.contextvars.bind_contextvars(**{"k\nk": ODD})
        log.warning("second")
    logging.getLogger(ODD).warning("%d", ODD)
    written = lines.getvalue()
    assert len(written.splitlines()) == (2 if isinstance(log, logging.Logger) else 3)
    assert "".join(written.split("\n")).isprintable()
    assert not any(line.startswith(FORGED[:10]) for line in written.splitlines())
    assert "FORGED" in written
    if not isinstance(log, logging.Logger):
        assert "short='a\\nb'" in written, "escaped once"


def test_no_line_of_a_traceback_looks_like_an_event(lines: Lines) -> None:
    configure_logging(settings(log_format="console"))
    try:
        fail(ODD, ODD)
    except RuntimeError:
        structlog.get_logger("ours").exception("it failed")
    first, *trace = lines.getvalue().splitlines()
    assert "it failed" in first
    assert trace
    assert all(line.startswith("    ") and line.isprintable() for line in trace)


class Envelopes(Transport):
    """A transport that keeps the envelopes."""

    def __init__(self) -> None:
        super().__init__({})
        self.kept: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep an envelope."""
        self.kept.append(envelope)

    @property
    def text(self) -> str:
        """Everything that would have been sent."""
        return b"".join(envelope.serialize() for envelope in self.kept).decode()


@pytest.fixture
def envelopes() -> Iterator[Envelopes]:
    """Run Sentry without a network during the test."""
    transport = Envelopes()
    configured = settings(sentry_dsn="https://key@sentry.invalid/1")
    configure_logging(configured)
    assert init_sentry(configured, transport)
    with sentry_sdk.isolation_scope():
        yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.init(default_integrations=False)


def test_without_a_dsn_sentry_is_off() -> None:
    assert init_sentry(settings()) is False


def test_personal_data_and_task_arguments_are_off(envelopes: Envelopes) -> None:
    collected = sentry_sdk.get_client().options["data_collection"]
    assert not collected["user_info"]
    assert not collected["queues"]
    assert not collected["stack_frame_variables"]
    assert envelopes.kept == []


def test_an_error_is_reported_without_secrets_or_locals(envelopes: Envelopes) -> None:
    prompt_of_a_person = "a-prompt-nobody-else-should-read".upper()
    sentry_sdk.set_tag("claim", CLAIM)
    sentry_sdk.set_context("job", {"url": REDIS, "deep": [{"token": ACCESS}]})
    sentry_sdk.add_breadcrumb(message=f"used {REGISTERED}", data={"u": f"https://h/?t={ACCESS}"})
    logging.getLogger("ours").warning("crumb of a log line %s", ACCESS)
    try:
        fail(prompt_of_a_person)
    except RuntimeError:
        sentry_sdk.capture_exception()
    assert "RuntimeError" in envelopes.text
    assert "crumb of a log line" in envelopes.text
    assert_clean(envelopes.text)
    assert prompt_of_a_person not in envelopes.text
    assert '"vars"' not in envelopes.text


def test_an_error_line_of_celery_is_reported_without_task_arguments(envelopes: Envelopes) -> None:
    context = {"name": "tasks.submit", "args": "['a private prompt']", "kwargs": "{'p': 'private'}"}
    logging.getLogger("ours.trace").error(
        "Task %(name)s raised", context, extra={"data": {**context, "hostname": "h"}}
    )
    assert "tasks.submit" in envelopes.text
    assert "private" not in envelopes.text


def test_a_transaction_is_redacted_too(envelopes: Envelopes) -> None:
    sentry_sdk.get_client().options["traces_sample_rate"] = 1.0
    with (
        sentry_sdk.start_transaction(name=f"render {CLAIM}", op="task"),
        sentry_sdk.start_span(op="http", name=f"GET https://h/?t={ACCESS}") as span,
    ):
        span.set_data("url", REDIS)
    assert "transaction" in envelopes.text
    assert_clean(envelopes.text)


def events(envelopes: Envelopes) -> list[dict[str, Any]]:
    """The events that were sent."""
    items = [item for envelope in envelopes.kept for item in envelope.items]
    return [item.payload.json for item in items if item.type == "event" and item.payload.json]


def test_an_error_without_an_exception_is_named_by_its_event(envelopes: Envelopes) -> None:
    log = structlog.get_logger("tasks.step")
    log.info("crumb", account="a-1", url=f"https://x.test/{ACCESS}")
    for number in (1, 2):
        with structlog.contextvars.bound_contextvars(job_id=f"j-{number}"):
            log.error("job record cannot be read", error=f"row {number} {ACCESS}", reason="odd")
    first, second = events(envelopes)
    assert first["logentry"]["message"] == second["logentry"]["message"]
    assert first["logentry"]["message"] == "job record cannot be read"
    assert (first["tags"]["job_id"], second["tags"]["job_id"]) == ("j-1", "j-2")
    assert first["tags"]["reason"] == "odd"
    assert first["contexts"]["log"] == {"error": "row 1 [redacted]"}
    assert first["logger"] == "tasks.step"
    (crumb,) = [each for each in first["breadcrumbs"]["values"] if each["message"] == "crumb"]
    assert crumb["data"] == {"account": "a-1", "url": "https://x.test/[redacted]"}
    assert_clean(envelopes.text)


def test_logged_exceptions_of_several_kinds_are_told_apart(envelopes: Envelopes) -> None:
    for kind in (ValueError, OSError):
        try:
            raise kind(ACCESS)
        except (ValueError, OSError):
            structlog.get_logger("ours").exception("periodic work failed", thread="ticker")
    assert [event["fingerprint"] for event in events(envelopes)] == [
        ["periodic work failed", "ValueError"],
        ["periodic work failed", "OSError"],
    ]
    assert_clean(envelopes.text)

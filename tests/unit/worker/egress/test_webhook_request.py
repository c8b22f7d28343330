"""Webhooks on the wire: signed as the specification says, and sent only where they may go."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from pydantic import SecretStr, ValidationError

from config.settings import EgressSettings
from worker.egress.webhook_request import (
    RETRY_DELAYS,
    WebhookDeliveryError,
    retry_delay,
    send,
    signature_headers,
)

SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_a_message_is_signed_as_in_the_specification() -> None:
    """The vector that the reference libraries of Standard Webhooks are tested with."""
    headers = signature_headers(
        SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_waits_grow_over_a_day_and_then_end() -> None:
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
    assert 20 * 3600 <= sum(RETRY_DELAYS) <= 28 * 3600
    tries = range(1, len(RETRY_DELAYS) + 1)
    assert [retry_delay(tried) for tried in tries] == list(RETRY_DELAYS)
    assert retry_delay(len(RETRY_DELAYS) + 1) is None


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", "whsec_é"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValidationError, match="base64") as caught:
        EgressSettings(webhook_secret=SecretStr(secret))
    assert "hunter2" not in str(caught.value)


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server that answers with these statuses in turn, and what it was sent."""
    got: list[tuple[str, dict[str, str], bytes]] = []
    answers = iter(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(next(answers))
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_message_arrives_whole() -> None:
    with receiver(204) as (url, got):
        send(f"{url}/told?a=b", {"webhook-id": "m"}, "{é}".encode(), private_hosts=("127.0.0.1",))
    ((path, headers, body),) = got
    assert (path, body) == ("/told?a=b", "{é}".encode())
    assert (headers["webhook-id"], headers["content-type"]) == ("m", "application/json")


@pytest.mark.parametrize(
    ("status", "final"), [(500, False), (302, False), (404, False), (410, True)]
)
def test_any_answer_but_success_is_a_failure_and_no_redirect_is_followed(
    status: int, *, final: bool
) -> None:
    with (
        receiver(status) as (url, got),
        pytest.raises(WebhookDeliveryError, match=str(status)) as error,
    ):
        send(f"{url}/secret-path", {}, b"{}", private_hosts=("127.0.0.1",))
    assert len(got) == 1
    assert error.value.final is final
    assert "secret-path" not in str(error.value)


def at(address: str) -> Callable[[str, int], Sequence[str]]:
    return lambda _host, _port: [address]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"])
def test_a_private_address_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(WebhookDeliveryError, match="REELQUEUE_PRIVATE_HOSTS"):
        send("http://told.example/", {}, b"{}", resolver=at(address))


def test_a_receiver_that_never_answers_costs_no_more_than_its_time() -> None:
    clock = iter([0.0, 0.0, *[1e6] * 9])
    with (
        receiver(200) as (url, got),
        pytest.raises(WebhookDeliveryError, match="cannot be reached"),
    ):
        send(url, {}, b"{}", private_hosts=("127.0.0.1",), clock=lambda: next(clock))
    assert not got

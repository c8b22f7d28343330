"""Webhook requests: signed by the specification, and sent only to allowed hosts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from pydantic import SecretStr, ValidationError

from config.settings import EgressSettings
from tests.unit.worker.loopback_server import Reply, Server, serving
from worker.egress.webhook_request import (
    RETRY_DELAYS,
    WebhookDeliveryError,
    retry_delay,
    send,
    signature_headers,
)

SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_a_webhook_is_signed_as_in_the_specification() -> None:
    """The test vector of the reference libraries of Standard Webhooks."""
    headers = signature_headers(
        SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_retry_delays_grow_over_a_day_and_then_end() -> None:
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
    assert 20 * 3600 <= sum(RETRY_DELAYS) <= 28 * 3600
    attempts = range(1, len(RETRY_DELAYS) + 1)
    assert [retry_delay(number) for number in attempts] == list(RETRY_DELAYS)
    assert retry_delay(len(RETRY_DELAYS) + 1) is None


@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", "whsec_é"])
def test_an_invalid_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValidationError, match="base64") as caught:
        EgressSettings(webhook_secret=SecretStr(secret))
    assert "hunter2" not in str(caught.value)


@contextmanager
def receiver(status: int) -> Iterator[Server]:
    """Run a server that responds with this status, and a redirect target, to each webhook."""
    with serving() as server:
        server.on("POST /hook", Reply(b"", status, {"Location": "/elsewhere"}))
        yield server


def test_a_webhook_is_received_as_sent() -> None:
    body = "{é}".encode()
    with receiver(204) as server:
        url = f"{server.url}/hook?a=b"
        send(url, {"webhook-id": "m"}, body, private_hosts=("127.0.0.1",))
    (request,) = server.requests
    assert (request.path, request.body) == ("/hook?a=b", body)
    headers = request.headers
    assert (headers["webhook-id"], headers["content-type"]) == ("m", "application/json")


@pytest.mark.parametrize(
    ("status", "final"), [(500, False), (302, False), (404, False), (410, True)]
)
def test_other_statuses_are_errors_and_redirects_are_not_followed(
    status: int, *, final: bool
) -> None:
    with (
        receiver(status) as server,
        pytest.raises(WebhookDeliveryError, match=str(status)) as error,
    ):
        send(f"{server.url}/hook?secret", {}, b"{}", private_hosts=("127.0.0.1",))
    assert len(server.requests) == 1
    assert error.value.final is final
    assert "secret" not in str(error.value)


def at(address: str) -> Callable[[str, int], Sequence[str]]:
    return lambda _host, _port: [address]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"])
def test_a_private_address_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(WebhookDeliveryError, match="REELQUEUE_PRIVATE_HOSTS"):
        send("http://receiver.example/", {}, b"{}", resolver=at(address))


def test_a_receiver_that_does_not_respond_is_given_up() -> None:
    clock = iter([0.0, 0.0, *[1e6] * 9])
    with (
        receiver(200) as server,
        pytest.raises(WebhookDeliveryError, match="cannot be reached"),
    ):
        send(
            f"{server.url}/hook", {}, b"{}", private_hosts=("127.0.0.1",), clock=lambda: next(clock)
        )
    assert not server.requests

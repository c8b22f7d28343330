"""A receiver of webhooks on a loopback address."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KEY = b"a key of thirty-two random bytes"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


class Receiver:
    """A server that accepts only signed webhooks.

    Attributes:
        received: The id, the answered status and the body of each webhook.
    """

    def __init__(self, fails: int, failure: int) -> None:
        self.received: list[tuple[str, int, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}."
                digest = hmac.digest(KEY, signed.encode() + body, hashlib.sha256)
                genuine = self.headers["webhook-signature"] == (
                    f"v1,{base64.b64encode(digest).decode()}"
                )
                status = failure if len(receiver.received) < fails else 204
                status = status if genuine else 401
                receiver.received.append((self.headers["webhook-id"], status, json.loads(body)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"

    def of(self, event: str) -> list[tuple[str, int, dict[str, Any]]]:
        """Return the webhooks of one event type."""
        return [webhook for webhook in self.received if webhook[2]["type"] == event]


@contextmanager
def webhook_receiver(fails: int = 0, failure: int = 500) -> Iterator[Receiver]:
    """Run a receiver that answers the first ``fails`` webhooks with the status ``failure``."""
    receiver = Receiver(fails, failure)
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()

"""Examples in the documents that are more than a command."""

import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import NoPermissionError

from tests.support.valkey import Valkey
from tests.unit.docs.documents import ROOT, read
from worker.egress.webhook_request import signature_headers
from worker.ledger.model.states import State
from worker.ledger.model.transitions import TRANSITIONS


@pytest.mark.parametrize("name", ["celery_only.py", "python_api.py", "flower.sh"])
def test_a_program_without_arguments_prints_its_usage(name: str) -> None:
    program = "sh" if name.endswith(".sh") else sys.executable
    done = subprocess.run(
        [program, ROOT / "examples" / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("usage: ")
    assert "Traceback" not in done.stderr


def test_a_user_that_watches_sees_jobs_but_no_token(redis: Redis, valkey: Valkey) -> None:
    """The user that the page on operations creates."""
    found = re.search(r"`(ACL SETUSER watcher [^`]+)`", read("docs/operations.md").text)
    assert found is not None
    admin: Any = redis
    admin.execute_command(*found[1].split())
    redis.hset("job:{rq}:1", "state", "queued")
    redis.set("token:{rq}", "nmv_usr_secret")
    with Redis(port=valkey.port, username="watcher", password="PASSWORD") as watcher:
        assert watcher.hget("job:{rq}:1", "state") == b"queued"
        with pytest.raises(NoPermissionError):
            watcher.get("token:{rq}")
        with pytest.raises(NoPermissionError):
            watcher.hset("job:{rq}:1", "state", "held")
    admin.execute_command("ACL", "DELUSER", "watcher")


def test_the_check_of_a_signature_accepts_what_is_signed_and_nothing_else() -> None:
    """The function that the page on webhooks shows."""
    (block,) = read("docs/webhooks.md").blocks("python")
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - the documentation is ours
    is_authentic = names["is_authentic"]
    secret, body = "whsec_" + "QUJD" * 10, b'{"type":"job.succeeded"}'
    headers = signature_headers(SecretStr(secret), "job_1_1", 1_700_000_000, body)
    assert is_authentic(secret, headers, body)
    assert not is_authentic(secret, headers, body + b" ")
    assert not is_authentic("whsec_" + "QUJE" * 10, headers, body)
    later = {**headers, "webhook-timestamp": "1700000001"}
    assert not is_authentic(secret, later, body)


def test_the_diagram_of_a_job_shows_transitions_of_the_table() -> None:
    """The diagram in the architecture shows the usual way only."""
    (diagram,) = (
        block
        for block in read("docs/architecture.md").blocks("mermaid")
        if block.startswith("stateDiagram")
    )
    shown = re.findall(r"^ *(\w+) --> (\w+)", diagram, re.MULTILINE)
    assert shown
    known = {
        (before, after)
        for table in TRANSITIONS.values()
        for before, following in table.items()
        for after in following
    }
    assert {(State(before), State(after)) for before, after in shown} <= known

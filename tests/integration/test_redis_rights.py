"""The rights that the documentation lists are enough for everything, and nothing else is used."""

import json
import re
from typing import Any

import pytest
from redis import Redis

from tests.integration.test_intake_faults import submit
from tests.support.celery_apps import third_party
from tests.support.commands import run_reelqueue, wait_for_doctor
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tests.unit.docs.documents import read
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

PASSWORD = "of-the-tests"
PATIENCE = 150


def documented_user() -> list[str]:
    """Return the command in the documentation, with a password."""
    (block,) = [
        block for block in read("docs/operations.md").blocks("text") if "ACL SETUSER" in block
    ]
    return block.replace("PASSWORD", PASSWORD).split()


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Stack:
    """A stack in which everything but the test logs in as the documented user."""
    redis: Any = module_stack.redis
    redis.execute_command(*documented_user())
    url = module_stack.valkey.url.replace("://", f"://reelqueue:{PASSWORD}@")
    module_stack.env["REDIS_URL"] = url
    return module_stack


def denied(client: Any) -> list[tuple[str, str]]:
    """What the user was not permitted, but to look into the queue of other services."""
    log = [(entry["reason"], entry["object"]) for entry in client.acl_log()]
    return [entry for entry in log if entry != ("key", "celery")]


def test_everything_works_with_the_documented_rights(stack: Stack) -> None:
    def run(*arguments: str) -> list[dict[str, object]]:
        done = run_reelqueue(*arguments, env=stack.env)
        assert done.code == 0, (arguments, done.out, done.err)
        return done.records if "--json" in arguments else []

    url = stack.env["REDIS_URL"]
    redis: Any = stack.redis
    redis.acl_log_reset()
    worker = stack.start_worker()
    wait_for_doctor(stack.env, PATIENCE)
    with third_party(url) as sender:
        by_message = submit(sender, stack.image())
        answer = by_message.get(timeout=PATIENCE)
        assert sender.AsyncResult(answer["job_id"]).get(timeout=PATIENCE)["state"] == "succeeded"
        control: Any = sender.control
        wait_until(lambda: control.ping(timeout=2, limit=1), "a pong", PATIENCE, worker.text)
    image = str(stack.image())
    (submitted,) = run("submit", image, "--prompt", "a 1-second pan left", "--json")
    job_id = str(submitted["job_id"])
    stack.wait_for(job_id, State.SUCCEEDED)
    (edit,) = run("say", job_id, "make it slower", "--json")
    stack.wait_for(str(edit["job_id"]), State.SUCCEEDED)
    rows = stack.folder / "rows.jsonl"
    rows.write_text(json.dumps({"image": str(stack.image())}))
    run("batch", "submit", str(rows), "--json")
    stack.redis.lpush("reelqueue", b"null")
    wait_until(lambda: stack.redis.exists("messages_aside:{rq}"), "a message to be set aside")
    run("release", "--set-aside")
    run("list", "--json")
    run("credits", "--json")
    stack.wait_until_idle()
    run("prune", "--days", "0", "--json")
    assert denied(redis) == []
    worker.terminate()
    assert worker.wait(PATIENCE) == 0, worker.text()
    assert denied(redis) == []


def test_the_documented_user_may_do_no_more(stack: Stack) -> None:
    patterns = {word for word in documented_user() if word.startswith("~")}
    # What Celery's senders and its remote control write besides the queues themselves.
    assert {"~_kombu.*", "~*.celery.pidbox*"} <= patterns
    client: Any
    with Redis.from_url(stack.env["REDIS_URL"], decode_responses=True) as client:
        for command in (
            *(("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST")),
            *(("GET", "other"), ("SET", "celery", "1"), ("KEYS", "*"), ("SHUTDOWN",)),
        ):
            with pytest.raises(Exception, match=re.compile("permission", re.IGNORECASE)):
                client.execute_command(*command)

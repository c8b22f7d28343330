"""``reelqueue credits``, ``doctor``, ``prune`` and ``schema``."""

from collections.abc import Mapping
from typing import Any

import pytest

from config.settings import get_settings
from tasks.schema.image_job import DEFAULT_PROMPT
from tests.support.waiting import refusing_port
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.accounts.credentials import account_tokens
from worker.ledger.model.states import Reason, State
from worker.ledger.payments import Payments
from worker.runtime.checks.durability import NOT_COMPARED, describe
from worker.runtime.worker_registry import register_worker

URL = "https://example.org/a.jpg"


def test_credits_prints_the_last_balances_if_the_api_does_not_answer(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "nmv_usr_" + "x" * 20
    monkeypatch.setenv("NEMO_TOKEN", token)
    harness.producer.ledger.scripts.run("balance", "a", 1, 90, 0, 100)
    answer = run_command("credits", "--json")
    assert answer.code == 3
    assert answer.records == [
        {
            "account": "a",
            "available": 90,
            "frozen": 0,
            "total": 100,
            "reserved": 0,
            "spent": 0,
            "estimate": 0,
        }
    ]
    assert "NEMO_API_URL" in answer.err
    assert token not in answer.err
    assert run_command("credits", "--cached").code == 0


def test_doctor_checks_every_part(run_command: RunCommand, harness: ProducerHarness) -> None:
    answer = run_command("doctor", "--json")
    found = {record["check"]: record for record in answer.records}
    assert answer.code == 3
    failed = {check for check, record in found.items() if not record["ok"]}
    assert failed == {"workers", "video API"}
    assert all(found[check]["remedy"] for check in failed)
    assert {"redis", "append-only file", "appendfsync", "eviction", "broker", "media store"} <= (
        found.keys()
    )
    assert {"output store", "outbox", "token"} <= found.keys()
    # Both are so, too, in the first seconds of a worker.
    assert "just started a worker" in found["workers"]["remedy"]
    assert "seconds after its start" in found["ledger identity"]["remedy"]
    register_worker(harness.producer.ledger, "w", 10, 60)
    found = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert found["workers"]["ok"]


def test_doctor_names_variables_that_are_no_settings(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_TICK_SECOND", "hunter2")
    answer = run_command("doctor", "--json")
    (found,) = [record for record in answer.records if record["check"] == "environment"]
    assert found["ok"], "it stops nothing"
    assert found["found"] == "usable; unknown: REELQUEUE_TICK_SECOND"
    assert "Did you mean REELQUEUE_TICK_SECONDS?" in found["remedy"]
    assert "hunter2" not in answer.out


def test_doctor_names_variables_of_the_environment_that_cannot_be_used(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    del harness
    monkeypatch.setenv("ALL_PROXY", "socks://me:hunter2@127.0.0.1:1080/")

    def doctor() -> Mapping[str, Any]:
        answer = run_command("doctor", "--json")
        assert answer.code == 3
        assert "hunter2" not in answer.out
        return {record["check"]: record for record in answer.records}

    # An API on loopback is asked without the proxy.
    checks = doctor()
    assert "Write socks5://host:port" in checks["environment"]["remedy"]
    assert "does not answer" in checks["video API"]["found"]
    monkeypatch.setenv("NEMO_API_URL", "https://api.invalid")
    checks = doctor()
    assert not checks["environment"]["ok"]
    assert "video API" not in checks
    assert "redis" in checks
    monkeypatch.setenv("NEMO_TOKEN", "nmv_usr_one")
    answer = run_command("credits")
    assert answer.code in (2, 3)
    assert "ALL_PROXY: does not name the version" in answer.err


def test_doctor_shows_held_and_failed_jobs_and_resting_accounts_as_suggestions(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEMO_TOKEN", "nmv_usr_one,nmv_usr_two")

    def doctor() -> Mapping[str, Any]:
        return {record["check"]: record for record in run_command("doctor", "--json").records}

    assert (doctor()["jobs"]["found"], doctor()["jobs"]["remedy"]) == ("none held or failed", None)
    ledger = harness.producer.ledger
    first, second = account_tokens(get_settings())
    payments = Payments(ledger)
    payments.record_rate_limited(first, 60)
    payments.record_balance(second, read_at=1, available=90, frozen=0, total=90)
    texts = {"message": "No.", "remedy": "Wait."}
    harness.finish_step(harness.submit(), State.HELD, reason=Reason.PLAN, **texts)
    harness.finish_step(harness.submit(prompt="b"), State.HELD, reason=Reason.CREDITS, **texts)
    harness.finish_step(
        harness.submit(prompt="c"), State.FAILED, reason=Reason.RENDER_FAILED, **texts
    )
    found = doctor()
    jobs, accounts = found["jobs"], found["accounts"]
    assert jobs["ok"]
    assert jobs["found"] == "2 held (credits 1, plan 1), 1 failed"
    assert "`reelqueue list --state held`" in jobs["remedy"]
    assert "`reelqueue retry ID`" in jobs["remedy"]
    assert accounts["ok"]
    assert f"{first} cools down for" in accounts["found"]
    assert f"{second} has 90 credits" in accounts["found"]
    assert "Jobs waiting for credits: 1" in accounts["found"]
    assert "Buy credits" in accounts["remedy"]
    assert "REELQUEUE_ACCOUNT_IN_FLIGHT" in accounts["remedy"]


def test_doctor_names_a_payment_journal_that_cannot_be_written(
    run_command: RunCommand, harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = harness.folder / "taken"
    folder.write_text("a file where the journal's folder should be")
    monkeypatch.setenv("REELQUEUE_JOURNAL_URL", str(folder))
    found = {record["check"]: record for record in run_command("doctor", "--json").records}
    journal = found["payment journal"]
    assert (journal["ok"], str(folder) in journal["found"]) == (False, True)
    assert journal["remedy"]
    monkeypatch.delenv("REELQUEUE_JOURNAL_URL")
    found = {record["check"]: record for record in run_command("doctor", "--json").records}
    assert found["payment journal"]["ok"]


def test_doctor_continues_without_redis(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{refusing_port()}/0")
    found = {record["check"]: record["ok"] for record in run_command("doctor", "--json").records}
    assert (found["redis"], found["broker"], found["output store"]) == (False, False, True)


def test_unreadable_records_are_found_by_doctor_and_can_be_released(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id, other = harness.submit(key="a"), harness.submit(key="b")
    ledger = harness.producer.ledger
    for name in (job_id, other):
        ledger.redis.hset(ledger.key("job", name), "turn", "many")
    assert ledger.due(10, room=10, admit=10) == []

    def doctor() -> Mapping[str, Any]:
        records = {record["check"]: record for record in run_command("doctor", "--json").records}
        return records["records"]

    assert not doctor()["ok"]
    assert "2 set aside" in doctor()["found"]
    assert f"{job_id}: turn is 'many', not a number" in doctor()["found"]
    assert "`reelqueue release --set-aside`" in doctor()["remedy"]
    (record,) = run_command("status", job_id, "--json").records
    assert f"`reelqueue release {job_id}`" in record["reason"]["remedy"]
    answer = run_command("release", job_id)
    assert (answer.code, "still unreadable" in answer.out) == (2, True)
    assert run_command("release", "--set-aside", "--reason", "plan").code == 2
    ledger.redis.hset(ledger.key("job", job_id), "turn", "1")
    (change,) = run_command("release", "--set-aside", "--json").records
    assert (change["changed"], change["skipped"]) == (1, {"unreadable": 1})
    assert "1 set aside" in doctor()["found"]
    assert [found for found, _ in ledger.due(10, room=10, admit=10)] == [job_id]


def test_schema_prints_one_object(run_command: RunCommand) -> None:
    (schemas,) = run_command("schema").records
    assert sorted(schemas) == ["batch", "payload", "result"]
    assert schemas["payload"]["additionalProperties"] is False
    assert "video" in schemas["result"]["required"]


def test_prune_deletes_records_and_keeps_their_keys(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    done = harness.submit(key="k-1")
    harness.finish_step(done, State.SUCCEEDED)
    harness.producer.ledger.acknowledge_notifications([(f"job:{done}", 1)])
    queued = harness.submit(key="k-2")
    assert run_command("prune", "--json").records[0]["jobs"] == 0
    dry_run = run_command("prune", "--days", "0", "--dry-run", "--json").records[0]
    assert (dry_run["jobs"], dry_run["dry_run"]) == (1, True)
    assert run_command("status", done).code == 0
    found = run_command("prune", "--days", "0", "--json").records[0]
    assert (found["jobs"], found["batches"], found["clips"], found["dry_run"]) == (1, 0, 0, False)
    assert run_command("status", done).code == 2
    assert run_command("status", queued).code == 0
    again = run_command("submit", URL, "--prompt", DEFAULT_PROMPT, "--key", "k-1", "--json")
    assert again.records == [
        {"job_id": done, "state": "succeeded", "duplicate": True, "pruned": True}
    ]
    assert run_command("prune", "--days", "-1").code == 2


def test_doctor_shows_what_only_the_workers_know(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    """Their accounts and settings need not be those of the caller."""

    def doctor() -> Mapping[str, Any]:
        return {record["check"]: record for record in run_command("doctor", "--json").records}

    ledger = harness.producer.ledger
    payments, why = Payments(ledger), "appendfsync is everysec: set it to always"
    register_worker(ledger, "w1", 10, 60, ["account-theirs"], why_not_pay=why)
    payments.record_balance("account-theirs", read_at=1, available=9, frozen=0, total=9)
    found = doctor()
    assert (found["workers"]["ok"], why in found["workers"]["found"]) == (False, True)
    assert (found["token"]["ok"], "account-theirs" in found["token"]["found"]) == (True, True)
    assert "account-theirs has 9 credits" in found["accounts"]["found"]
    payments.record_token_refused("account-theirs", by="balance")
    register_worker(ledger, "w1", 10, 60, ["account-theirs"])
    found = doctor()
    assert found["workers"]["ok"]
    assert (found["token"]["ok"], "account-theirs" in found["token"]["remedy"]) == (False, True)
    starting = describe([NOT_COMPARED])
    register_worker(ledger, "w1", 10, 60, ["account-theirs"], why_not_pay=starting)
    assert doctor()["workers"]["ok"], "a worker that has just started"
    register_worker(ledger, "w1", 10, 60, ["account-theirs"], why_not_pay=f"{why}; {starting}")
    assert not doctor()["workers"]["ok"]

"""What is true of the records after every run of a script, whatever happened before."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.unit.worker.ledger.model import (
    BUDGET,
    CAP,
    COST,
    CREDITS,
    ENDS,
    Model,
)

DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, found = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then found = redis.call('HGETALL', key)
  elseif kind == 'zset' then found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then found = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then found = redis.call('SMEMBERS', key)
  else found = {redis.call('GET', key)} end
  out[#out + 1] = {key, kind, found}
end
return cjson.encode(out)
"""
COUNTED_TWICE = ("intents",)
"""Fields that count the runs of a script."""


def dump(redis: Any) -> dict[str, Any]:
    """Return every record, as Python values."""
    found: dict[str, Any] = {}
    for key, kind, values in json.loads(redis.eval(DUMP, 0)):
        if kind in ("hash", "zset"):
            pairs = dict(zip(values[::2], values[1::2], strict=True)) if values else {}
            found[key] = {k: v for k, v in pairs.items() if k not in COUNTED_TWICE}
        else:
            found[key] = sorted(values) if kind == "set" else values
    return found


def check_records(model: Model, found: dict[str, Any]) -> None:
    """Check all records against the model, and against each other."""
    _each_job_is_in_one_place(model, found)
    _records_are_as_the_model_says(model, found)
    _counters_add_up(model, found)
    _money_adds_up(model, found)


def _each_job_is_in_one_place(model: Model, found: dict[str, Any]) -> None:
    for name, job in model.jobs.items():
        places = ["agenda"] if name in found.get("agenda:{t}", {}) else []
        for key, values in found.items():
            if key.startswith("flow:") and name in values:
                places += ["flow"] * values.count(name)
            if key.startswith("held:") and name in values:
                places.append(key.rsplit(":", 1)[1])
        expected = "flow" if job.state == "queued" else "agenda"
        expected = job.reason if job.state == "held" else expected
        assert places == ([] if job.state in ENDS else [expected])


def _records_are_as_the_model_says(model: Model, found: dict[str, Any]) -> None:
    outbox = found.get("outbox:{t}", {})
    for name, job in model.jobs.items():
        record = found[f"job:{{t}}:{name}"]
        assert (record["state"], record.get("reason", "")) == (job.state, job.reason)
        assert (int(record["fence"]), int(record["turn"])) == (job.fence, job.turn)
        assert record.get("owner", "") == job.owner
        calls = {int(key[5:]): value for key, value in record.items() if key.startswith("call:")}
        assert calls == job.calls
        assert int(record["paid"]) == len(calls)
        # A cost that is measured after the end is notified once more.
        notified_again = int(record.get("revision", 0)) - job.revision
        assert notified_again in ((0, 1) if job.ever_ended and job.ever_paid else (0,))
        job.revision += notified_again
        assert f"job:{name}" not in outbox or job.revision


def _counters_add_up(model: Model, found: dict[str, Any]) -> None:
    for key, batch in (("counts:{t}", None), ("batch:{t}:b", "b")):
        mine = [
            job
            for job in model.jobs.values()
            if batch is None or (batch == job.batch and not job.replaced)
        ]
        states = Counter(f"n:{job.state}" for job in mine)
        reasons = Counter(f"h:{job.reason}" for job in mine if job.state == "held")
        kept = {
            field: int(value)
            for field, value in found.get(key, {}).items()
            if field[:2] in ("n:", "h:") and int(value)
        }
        assert kept == dict(states + reasons)
    current = {job.id for job in mine}
    assert set(found.get("rows:{t}:b", {})) == current, "each row has one job"


def _money_adds_up(model: Model, found: dict[str, Any]) -> None:
    account = found["account:{t}:a"]
    assert set(found.get("reserved:{t}:a", {})) == model.reserved
    assert float(account["reserved"]) == COST * len(model.reserved)
    assert float(account["reserved"]) <= float(account["base"])
    spent = COST * len(model.charged)
    assert float(account.get("spent", 0)) == spent
    assert float(account["base"]) >= CREDITS - spent - COST * len(model.ended)
    slots = found.get("slots:{t}:a", {})
    alive = {call for call, until in slots.items() if float(until) > model.now}
    assert alive == {call for call, until in model.slots.items() if until > model.now}
    assert len(alive) <= CAP
    assert float(found["batch:{t}:b"].get("committed", 0)) == model.committed("b") <= BUDGET
    assert float(account.get("window", 5)) == pytest.approx(model.window)

"""Memory of the process and commands to the server for a large manifest."""

import json
from pathlib import Path
from typing import Any

from redis import Redis

from tasks.manifests.batch_submission import submit_manifest
from tasks.manifests.manifest import open_manifest
from tests.bench.submit import PROMPT, REELQUEUE, write_manifest
from tests.support.costs import run_measured
from tests.support.valkey import Valkey
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.pages import PAGE_SIZE


def test_memory_does_not_grow_with_the_number_of_rows(
    redis: Redis, valkey: Valkey, tmp_path: Path
) -> None:
    """Submit in a process of its own for each size, and submit the known rows again."""
    redis.ping()
    env = {"REDIS_URL": valkey.url, "REELQUEUE_MEDIA_URL": (tmp_path / "media").as_uri()}
    sizes = []
    for rows, form in (2 * PAGE_SIZE, "csv"), (20 * PAGE_SIZE, "jsonl"):
        manifest = tmp_path / f"{rows}.{form}"
        write_manifest(manifest, rows)
        command = ["batch", "submit", str(manifest), "--prompt", PROMPT, "--json"]
        cost = run_measured([*REELQUEUE, *command], env)
        assert json.loads(cost.output)["jobs"] == rows
        sizes.append(cost.size)
    assert sizes[1] < 1.1 * sizes[0], sizes


def test_a_page_of_rows_takes_one_round_trip_and_few_commands_per_row(
    harness: ProducerHarness,
) -> None:
    rows = 4 * PAGE_SIZE
    write_manifest(harness.folder / "jobs.csv", rows)
    before = _calls(harness)
    submit_manifest(harness.producer, open_manifest(harness.folder / "jobs.csv", PROMPT))
    after = _calls(harness)
    made = {name: calls - before.get(name, 0) for name, calls in after.items()}
    assert made["evalsha"] + made.get("eval", 0) <= rows // PAGE_SIZE + 2, made
    assert sum(made.values()) < 3.1 * rows, made


def _calls(harness: ProducerHarness) -> dict[str, int]:
    """Return the number of each command that the server has run, in scripts too."""
    found: Any = harness.producer.ledger.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in found.items()}

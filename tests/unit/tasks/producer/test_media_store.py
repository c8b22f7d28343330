"""A caller whose media store is not the one of the live workers is refused."""

from pathlib import Path

import pytest

from config.settings import Settings
from tasks.cli.checks.doctor_checks import run_checks
from tests.unit.tasks.conftest import ProducerHarness
from worker.runtime.checks.store_ids import announce_stores
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import register_worker, unregister_worker
from worker.storage.errors import StoreError
from worker.storage.store import Store


def start_worker(settings: Settings, folder: Path) -> Runtime:
    """Register a worker whose stores are in a folder."""
    urls = {"media_url": (folder / "media").as_uri(), "output_url": (folder / "output").as_uri()}
    storage = settings.storage.model_copy(update=urls)
    runtime = Runtime.open(settings.model_copy(update={"storage": storage}))
    register_worker(runtime.ledger, "w1", 10, 60)
    announce_stores(runtime, "w1")
    return runtime


def doctor(harness: ProducerHarness) -> dict[str, str]:
    """Return what doctor finds about the stores that fail."""
    checks = run_checks(harness.producer)
    return {c.check: c.found for c in checks if c.check.endswith(" store") and not c.ok}


def test_a_store_keeps_the_id_of_its_first_use(tmp_path: Path) -> None:
    url, other = (tmp_path / "one").as_uri(), (tmp_path / "two").as_uri()
    assert Store(url).read_id() is None
    made = Store(url).ensure_id()
    assert Store(url).ensure_id() == Store(url).read_id() == made
    assert Store(other).ensure_id() != made


def test_a_caller_with_another_media_store_is_refused(
    harness: ProducerHarness, settings: Settings, tmp_path: Path
) -> None:
    runtime = start_worker(settings, tmp_path / "elsewhere")
    with pytest.raises(StoreError) as caught:
        harness.submit(image=str(harness.picture()))
    assert harness.producer.media.address in caught.value.message
    assert runtime.media.address in caught.value.message
    assert "REELQUEUE_MEDIA_URL" in caught.value.remedy
    found = doctor(harness)
    assert set(found) == {"media store", "output store"}
    assert runtime.output.address in found["output store"]
    harness.submit(image="https://example.org/needs-no-store.jpg")
    unregister_worker(runtime.ledger, "w1")
    assert harness.submit(image=str(harness.picture())), "without a live worker"
    assert doctor(harness) == {}


def test_a_caller_with_another_address_of_the_same_store_is_accepted(
    harness: ProducerHarness, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "mounted").symlink_to(tmp_path)
    runtime = start_worker(settings, tmp_path / "mounted")
    assert runtime.media.address != harness.producer.media.address
    assert harness.submit(image=str(harness.picture()))
    assert doctor(harness) == {}

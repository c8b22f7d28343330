"""The dry run of a manifest, with a real ledger."""

from datetime import UTC, datetime, timedelta

from PIL import Image

from tasks.manifests.batch_submission import SessionMode, submit_manifest
from tasks.manifests.dry_runs.dry_run import DryRun, dry_run_batch
from tasks.manifests.manifest import open_manifest
from tasks.producer import actions
from tasks.producer.queries import list_batches
from tests.unit.tasks.conftest import ProducerHarness
from worker.runtime.worker_registry import register_worker


def test_a_shared_session_takes_its_rows_one_after_another(harness: ProducerHarness) -> None:
    rows = [{"image": f"https://example.org/{n}.jpg"} for n in range(10)]
    own = dry_run_batch(harness.producer, harness.manifest(*rows))
    shared = dry_run_batch(harness.producer, harness.manifest(*rows), session=SessionMode.SHARED)
    assert shared.seconds > 5 * own.seconds


def test_a_dry_run_counts_and_changes_nothing(harness: ProducerHarness) -> None:
    harness.picture("a.png")
    harness.picture("b.png", 91)
    rows = [{"image": name} for name in ("a.png", "a.png", "b.png", "gone.png")]
    dry_run = dry_run_batch(harness.producer, harness.manifest(*rows))
    assert (dry_run.rows, dry_run.good, dry_run.duplicates, len(dry_run.rejected)) == (4, 3, 1, 1)
    assert dry_run.credits == 200
    assert dry_run.seconds > 0
    assert any("high contrast" in text for text in dry_run.suggestions), "each has one color"
    assert list(list_batches(harness.producer)) == []
    assert not list((harness.folder / "media").rglob("*.png"))
    submit_manifest(harness.producer, harness.manifest(*rows))
    after = dry_run_batch(harness.producer, harness.manifest(*rows))
    assert (after.duplicates, after.credits) == (3, 0)


def test_a_dry_run_opens_every_picture(harness: ProducerHarness) -> None:
    whole = harness.picture("whole.png").read_bytes()
    (harness.folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    rows = harness.manifest({"image": "whole.png"}, {"image": "cut.png"})
    dry_run = dry_run_batch(harness.producer, rows)
    assert (dry_run.good, [row["row"] for row in dry_run.rejected]) == (1, [2])
    assert "damaged" in dry_run.rejected[0]["reason"]


def test_a_prompt_with_another_length_than_the_field_is_named(harness: ProducerHarness) -> None:
    rows = [
        {"image": "https://example.org/1.jpg", "prompt": "push in on it, 2 seconds", "seconds": 3},
        {"image": "https://example.org/2.jpg", "prompt": "push in on it, 3 seconds", "seconds": 3},
        {"image": "https://example.org/3.jpg", "prompt": "90s look, neon, slow", "seconds": 3},
    ]
    suggestions = dry_run_batch(harness.producer, harness.manifest(*rows)).suggestions
    (found,) = [text for text in suggestions if "another length" in text]
    assert found.startswith("1 row (")


def test_a_dry_run_refuses_pictures_that_no_model_can_use(harness: ProducerHarness) -> None:
    harness.picture("good.png")
    Image.new("RGB", (8192, 1)).save(harness.folder / "line.png")
    rows = harness.manifest({"image": "good.png"}, {"image": "line.png"})
    dry_run = dry_run_batch(harness.producer, rows)
    assert (dry_run.good, [row["row"] for row in dry_run.rejected]) == (1, [2])
    assert "at least 64 on each side" in dry_run.rejected[0]["reason"]


def test_addresses_that_expire_soon_are_named(harness: ProducerHarness) -> None:
    now = datetime.now(UTC)

    def signed(name: str, left: timedelta) -> str:
        return f"https://b.example/{name}?Expires={int((now + left).timestamp())}&Signature=secret"

    rows: list[dict[str, object]] = [
        {"image": signed("late.jpg", timedelta(days=6))},
        {"image": signed("soon.jpg", timedelta(hours=2))},
        {"image": "https://b.example/plain.jpg", "attach": [signed("m.mp3", timedelta(hours=1))]},
        {"image": signed("over.jpg", timedelta(hours=-1))},
        {"image": "https://b.example/a.jpg?Expires=1"},
    ]
    suggestions = dry_run_batch(harness.producer, harness.manifest(*rows)).suggestions
    (found,) = [text for text in suggestions if "expires soon" in text]
    assert found.startswith("3 rows (2, 3, 4): ")
    assert f"the first at {now - timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in found
    assert "secret" not in found


def test_private_addresses_are_named(harness: ProducerHarness) -> None:
    """They are no rejected rows: the settings of the workers may name the host."""
    rows = [
        {"image": "http://localhost/1.jpg"},
        {"image": "http://example.org/2.jpg", "attach": "http://10.0.0.7/logo.png"},
        {"image": "https://example.org/3.jpg"},
    ]
    plan = dry_run_batch(harness.producer, harness.manifest(*rows))
    (found,) = [text for text in plan.suggestions if "private" in text]
    assert found.startswith("2 rows (1, 2)")
    assert plan.good == 3


def test_what_the_credits_and_the_limit_pay_for(harness: ProducerHarness) -> None:
    rows = [{"image": f"https://example.org/{n}.jpg"} for n in range(10)]
    producer = harness.producer

    def plan(max_credits: float | None = None) -> DryRun:
        return dry_run_batch(producer, harness.manifest(*rows), max_credits=max_credits)

    assert (plan().available, plan().max_credits, plan().affordable) == (None, None, None)
    assert (plan(350).max_credits, plan(350).affordable) == (350, 3)
    producer.ledger.redis.sadd(producer.ledger.key("accounts"), "a")
    producer.ledger.scripts.run("balance", "a", 1, 600, 0, 600)
    assert (plan().available, plan().affordable) == (600, 6)
    assert (plan(350).affordable, plan(5000).affordable) == (3, 6)
    submit_manifest(producer, harness.manifest(rows[0]), max_credits=250)
    assert (plan().max_credits, plan().affordable) == (250, 2), "the limit that the batch has"


def test_the_first_prompts_as_they_are_sent(harness: ProducerHarness) -> None:
    rows = [
        {"image": f"https://example.org/{n}.jpg", "prompt": f"Pan left over {n}", "aspect": "1:1"}
        for n in range(5)
    ]
    rows[1]["image"] = "gone.png"
    prompts = dry_run_batch(harness.producer, harness.manifest(*rows)).prompts
    assert prompts == [f"Pan left over {n}. Aspect ratio 1:1." for n in (0, 2, 3)]


def test_small_and_flat_images_are_named(harness: ProducerHarness) -> None:
    harness.picture("flat and small.png")
    Image.linear_gradient("L").resize((600, 600)).save(harness.folder / "good.png")
    rows = [{"image": "good.png"}, {"image": "flat and small.png"}]
    suggestions = dry_run_batch(harness.producer, harness.manifest(*rows)).suggestions
    for word in ("little contrast", "very small"):
        (found,) = [text for text in suggestions if word in text]
        assert found.startswith("1 row (2 flat and small.png): ")


def test_what_a_folder_leaves_out(harness: ProducerHarness) -> None:
    harness.picture("shots/a.png")
    for name in ("logo.svg", "notes.TXT", "clip.mp4", "README", ".hidden.txt", "Thumbs.db"):
        (harness.folder / "shots" / name).touch()
    (harness.folder / "shots" / "more").mkdir()
    plan = dry_run_batch(harness.producer, open_manifest(harness.folder / "shots"))
    assert {one["name"]: one["reason"] for one in plan.left_out} == {
        "README": "not an image (without a suffix)",
        "clip.mp4": "not an image (.mp4)",
        "logo.svg": "not an image (.svg)",
        "more": "a sub-folder: submit it as a batch of its own",
        "notes.TXT": "not an image (.txt)",
    }


def test_the_states_of_known_rows_and_the_latest_end(harness: ProducerHarness) -> None:
    rows = [{"image": f"https://example.org/{n}.jpg"} for n in range(3)]
    batch_id = submit_manifest(harness.producer, harness.manifest(*rows[:2])).batch_id
    actions.cancel(harness.producer, batch_id)
    plan = dry_run_batch(harness.producer, harness.manifest(*rows))
    assert plan.known == {"cancelled": 2}
    assert plan.latest_seconds is None, "no worker is running"
    harness.producer.ledger.due(0, room=10, admit=10)
    plan = dry_run_batch(harness.producer, harness.manifest(*rows))
    assert plan.latest_seconds is not None
    assert plan.latest_seconds > plan.seconds


def test_a_token_that_only_the_workers_have_counts(harness: ProducerHarness) -> None:
    rows = [{"image": f"https://example.org/{n}.jpg"} for n in range(2)]

    def has_suggestion() -> bool:
        found = dry_run_batch(harness.producer, harness.manifest(*rows)).suggestions
        return any("NEMO_TOKEN is not set" in text for text in found)

    assert has_suggestion()
    register_worker(harness.producer.ledger, "w1", 10, 60, ["anonymous"])
    assert has_suggestion()
    register_worker(harness.producer.ledger, "w1", 10, 60, ["account-theirs"])
    assert not has_suggestion()

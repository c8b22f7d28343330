"""``reelqueue presets``, and ``batch submit --preset``."""

from tasks.producer import queries
from tasks.schema.image_job import job_id_for
from tasks.schema.prompts.presets import PRESETS
from tests.unit.tasks.conftest import ProducerHarness, RunCommand

URL = "https://example.org/a.jpg"


def test_the_presets_are_listed(run_command: RunCommand) -> None:
    assert [record["name"] for record in run_command("presets", "--json").records] == [*PRESETS]
    answer = run_command("presets", "portrait")
    assert answer.out.startswith("portrait\n  9:16, 6 seconds\n  Gentle push-in on the face")
    assert run_command("presets", "nope").code == 2


def test_a_preset_fills_what_rows_leave_open(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "p.toml").write_text('prompt = "Pan {sku}"\naspect = "9:16"\nseconds = 6\n')
    (harness.folder / "jobs.csv").write_text(
        f"image,prompt,aspect,seconds,sku\n{URL}?1,,,,A-1\n{URL}?2,Tilt up slowly,1:1,5,A-2\n"
    )

    def payloads(*flags: str) -> list[tuple[object, ...]]:
        done = run_command(
            "batch", "submit", "jobs.csv", "--name", " ".join(flags), *flags, "--json"
        )
        batch_id = done.records[0]["batch_id"]
        rows = harness.producer.ledger.row_states(batch_id)
        jobs = harness.producer.ledger.jobs([row.job_id for page in rows for row in page])
        found = [job.payload for job in jobs]
        return [(job["prompt"], job.get("aspect"), job.get("seconds")) for job in found]

    own = ("Tilt up slowly", "1:1", 5)
    assert payloads("--preset", "p.toml") == [("Pan A-1", "9:16", 6), own]
    assert payloads("--preset", "p.toml", "--prompt", "Drift right", "--aspect", "16:9") == [
        ("Drift right", "16:9", 6),
        own,
    ]
    product = PRESETS["product"]
    assert payloads("--preset", "product") == [(product.prompt, "1:1", 6), own]
    plan = run_command("batch", "submit", "jobs.csv", "--preset", "p.toml", "--dry-run", "--json")
    assert plan.records[0]["prompts"][0] == "Pan A-1. Make it a 6-second video. Aspect ratio 9:16."


def test_the_ratio_of_a_preset_is_no_part_of_a_key(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image,key\n{URL},k\n")
    run_command("batch", "submit", "jobs.csv", "--preset", "product")
    (job,) = queries.list_jobs(harness.producer)
    assert (job.job_id, job.aspect) == (job_id_for("k"), "1:1")


def test_a_preset_with_a_column_that_is_not_there(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "p.toml").write_text('prompt = "Pan over {name}"')
    harness.picture("shots/a.png")
    answer = run_command("batch", "submit", "shots", "--preset", "p.toml")
    assert (answer.code, "The prompt asks for {name}" in answer.err) == (2, True)
    assert list(queries.list_batches(harness.producer)) == []

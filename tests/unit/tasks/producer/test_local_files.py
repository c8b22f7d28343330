"""Local files of jobs: each file is read and stored as rarely as possible."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tasks.producer.local_files import LocalFiles
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.media_keys import media_key
from tests.unit.tasks.conftest import ProducerHarness
from worker.media.prepared_file import sha256_of


class Recorder:
    """Stores nothing, and records the names of the files that it was given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: Path, name: str) -> str:
        self.names.append(name)
        return media_key(sha256_of(path), name)


@pytest.fixture
def stored() -> Recorder:
    return Recorder()


def test_an_unchanged_file_is_stored_once(harness: ProducerHarness, stored: Recorder) -> None:
    path = harness.picture()
    files = LocalFiles(stored, harness.folder)
    job = ImageJob.read({"image": "photo.png"})
    first = [files.replace_in(job).media for _ in range(3)]
    assert (len(set(first)), stored.names) == (1, ["photo.png"])
    harness.picture(shade=1)
    os.utime(path, ns=(1, 1))
    assert files.replace_in(job).media != first[0]


def test_each_file_of_many_jobs_is_stored_once_and_none_of_an_invalid_job(
    harness: ProducerHarness, stored: Recorder
) -> None:
    names = [harness.picture(f"{shade}.png", shade).name for shade in range(40)]
    (harness.folder / "text.png").write_text("no picture")
    jobs = [ImageJob.read({"image": name}) for name in names * 2]
    invalid = ImageJob.read({"image": harness.picture("own.png", 50).name, "attach": ["text.png"]})
    *replaced, error = LocalFiles(stored, harness.folder).replace_in_all([*jobs, invalid])
    assert sorted(stored.names) == sorted(names)
    assert isinstance(error, InvalidPayloadError)
    keys = [media_key(sha256_of(harness.folder / name), name) for name in names * 2]
    assert [job.media for job in replaced if isinstance(job, ImageJob)] == keys


def test_a_full_cache_is_cleared(harness: ProducerHarness, stored: Recorder) -> None:
    jobs = [ImageJob.read({"image": harness.picture(f"{n}.png", n).name}) for n in range(4)]
    files = LocalFiles(stored, harness.folder, cache_size=3)
    first = files.replace_in_all(jobs)
    assert files.replace_in_all(jobs[:1]) == first[:1]
    assert files.replace_in_all(jobs[:1]) == first[:1]
    assert stored.names.count("0.png") == 2


@pytest.mark.parametrize(("recheck_after", "is_noticed"), [(0, True), (1e9, False)])
def test_a_file_is_checked_again_for_changes_after_some_seconds(
    harness: ProducerHarness, stored: Recorder, recheck_after: float, is_noticed: bool
) -> None:
    """A job gets the content that was stored, whether the file has changed since or not."""
    path = harness.picture("a.png", 1)
    job = ImageJob.read({"image": path.name})
    files = LocalFiles(stored, harness.folder, recheck_after=recheck_after)
    first = files.replace_in(job)
    harness.picture("a.png", 2)
    assert (files.replace_in(job) != first) is is_noticed
    path.unlink()
    assert isinstance(files.replace_in_all([job])[0], InvalidPayloadError) is is_noticed


def test_a_file_that_is_not_stored_yet_is_checked_again(
    harness: ProducerHarness, stored: Recorder
) -> None:
    path = harness.picture("a.png")
    files = LocalFiles(stored, harness.folder, recheck_after=1e9)
    job = ImageJob.read({"image": path.name})
    refused = ImageJob.read({"image": path.name, "attach": ["missing.png"]})
    assert isinstance(files.replace_in_all([refused])[0], InvalidPayloadError)
    path.unlink()
    assert isinstance(files.replace_in_all([job])[0], InvalidPayloadError)
    assert stored.names == []


@pytest.mark.parametrize("size", [(63, 63), (800, 90)])
def test_an_image_that_no_model_can_use_is_not_stored(
    harness: ProducerHarness, stored: Recorder, size: tuple[int, int]
) -> None:
    """An image of the same size can be attached, for example as a logo."""
    Image.new("RGB", size).save(harness.folder / "odd.png")
    files = LocalFiles(stored, harness.folder)
    with pytest.raises(InvalidPayloadError) as caught:
        files.replace_in(ImageJob.read({"image": "odd.png"}))
    (problem,) = caught.value.problems
    assert problem.startswith(f"image: odd.png has {size[0]} by {size[1]} pixels.")
    assert stored.names == []
    harness.picture("good.png")
    files.replace_in(ImageJob.read({"image": "good.png", "attach": ["odd.png"]}))
    assert sorted(stored.names) == ["good.png", "odd.png"]


NFC, NFD = "Caf\u00e9.png", "Cafe\u0301.png"


@pytest.mark.parametrize(
    ("actual", "named"),
    [
        (NFD, NFC),
        (NFC, NFD),
        ("Shot 9.22\u202fPM.png", "Shot 9.22 PM.png"),
        ("a.png", "\u200ba.png"),
        ("sub/a.png", "sub\\a.png"),
        (f"E\u0301te\u0301/{NFD}", f"\u00c9t\u00e9/{NFC}"),
    ],
)
def test_a_file_is_found_in_another_spelling_of_its_name(
    harness: ProducerHarness, stored: Recorder, actual: str, named: str
) -> None:
    (harness.folder / actual).parent.mkdir(exist_ok=True)
    harness.picture(actual)
    files = LocalFiles(stored, harness.folder)
    assert files.path_of(named) == harness.folder / actual
    assert files.replace_in(ImageJob.read({"image": named})).media is not None


def test_a_name_that_several_files_fit_finds_none_unless_one_is_exact(
    harness: ProducerHarness, stored: Recorder
) -> None:
    for name in (NFC, NFD):
        harness.picture(name)
    files = LocalFiles(stored, harness.folder)
    assert files.path_of(NFC) == harness.folder / NFC
    assert files.path_of(NFD) == harness.folder / NFD
    named = "Caf\u200b\u00e9.png"
    with pytest.raises(InvalidPayloadError, match="there is no file"):
        files.replace_in(ImageJob.read({"image": named}))


def test_a_path_below_the_home_folder_is_read(
    harness: ProducerHarness, stored: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = harness.picture("at home.png")
    monkeypatch.setenv("HOME", str(path.parent))
    files = LocalFiles(stored, harness.folder / "elsewhere")
    assert files.path_of("~/at home.png") == path

"""A store holds complete files, refuses keys that lead out of it, and its errors name a remedy."""

import hashlib
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import fsspec
import pytest
from structlog.testing import capture_logs

from worker.runtime.retention import sweep_partial_files
from worker.storage.errors import NotStoredError, StoreError
from worker.storage.partial_files import PARTIAL_FOLDER
from worker.storage.store import Store

DAY = 86_400


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind; the folder's name needs escaping in a URL."""
    if request.param == "memory":
        return f"memory://{uuid4().hex}/media"
    return (tmp_path / "my médiä 100%").as_uri()


@pytest.fixture
def store(url: str) -> Store:
    """The store under test."""
    return Store(url)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A file to store."""
    path = tmp_path / "local.bin"
    path.write_bytes(b"content of a picture")
    return path


def files_in(url: str) -> list[str]:
    """List every file of a store, partial files too."""
    fs, root = fsspec.core.url_to_fs(unquote(url))
    return sorted(fs.find(root))


def plant_partial(url: str, name: str) -> None:
    """Write a partial file, as a killed process leaves it."""
    fs, root = fsspec.core.url_to_fs(unquote(url))
    fs.makedirs(f"{root}/{PARTIAL_FOLDER}", exist_ok=True)
    fs.pipe_file(f"{root}/{PARTIAL_FOLDER}/{name}", b"half")


def stored(store: Store, key: str, tmp_path: Path) -> bytes:
    """Fetch a file and return its content."""
    to = tmp_path / f"read-{uuid4().hex}"
    store.fetch(key, to)
    return to.read_bytes()


def test_a_stored_file_is_found_and_deleted(store: Store, local: Path, tmp_path: Path) -> None:
    key = "batch-1/Kätzchen, 100% [süß] #1?.mp4"
    assert not store.exists(key)
    store.put_file(local, key)
    assert store.exists(key)
    assert stored(store, key, tmp_path) == b"content of a picture"
    assert not store.exists("batch-1")
    assert not store.exists(f"{key}/deeper")
    store.delete(key)
    assert not store.exists(key)
    store.delete(key)


def test_storing_again_replaces_the_file(store: Store, local: Path, tmp_path: Path) -> None:
    store.put_file(local, "a/b.mp4")
    local.write_bytes(b"better")
    store.put_file(local, "a/b.mp4")
    assert stored(store, "a/b.mp4", tmp_path) == b"better"


def test_a_file_is_compared_with_a_digest(store: Store, local: Path) -> None:
    digest = hashlib.sha256(b"content of a picture").hexdigest()
    assert not store.has_content("clip.mp4", digest)
    store.put_file(local, "clip.mp4")
    assert store.has_content("clip.mp4", digest)
    assert not store.has_content("clip.mp4", hashlib.sha256(b"another").hexdigest())


def test_content_is_stored_once_under_its_digest(
    url: str, store: Store, local: Path, tmp_path: Path
) -> None:
    def identity() -> object:
        fs, root = fsspec.core.url_to_fs(unquote(url))
        info = fs.info(f"{root}/{key}")
        return info.get("ino", info.get("created"))

    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    key = store.put_content(local, ".jpg")
    assert key == f"{digest[:2]}/{digest}.jpg"
    before = identity()
    assert store.put_content(local, ".jpg") == key
    assert identity() == before
    assert stored(store, key, tmp_path) == local.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "/x", "..", ".a/b", ".123456789"])
def test_an_invalid_suffix_is_refused(store: Store, local: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="not a file name suffix"):
        store.put_content(local, suffix)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a/..",
        "./x",
        "a//b",
        "a/",
        ".parts/x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "ä" * 128,
    ],
)
def test_a_key_never_leads_out_of_the_store(store: Store, local: Path, key: str) -> None:
    for call in (store.exists, store.delete, store.url, store.local_path):
        with pytest.raises(ValueError, match="not a valid key"):
            call(key)
    with pytest.raises(ValueError, match="not a valid key"):
        store.put_file(local, key)
    with pytest.raises(ValueError, match="not a valid key"):
        store.fetch(key, local)


def test_a_missing_key_is_reported(store: Store, tmp_path: Path) -> None:
    to = tmp_path / "to"
    with pytest.raises(NotStoredError) as caught:
        store.fetch("a/b.mp4", to)
    assert "a/b.mp4" in str(caught.value)
    assert caught.value.remedy
    assert not store.exists("a/b.mp4")
    assert list(tmp_path.glob("*.part")) == []
    assert not to.exists()


def test_a_missing_local_file_is_not_a_store_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "gone", "a.mp4")


def test_check_leaves_no_files_behind(url: str, store: Store) -> None:
    store.check()
    assert files_in(url) == []


def test_old_partial_files_are_swept(url: str, store: Store, local: Path) -> None:
    store.put_file(local, "a.mp4")
    assert store.sweep_partial_files(DAY) == 0
    started = {"old": time.time() - DAY - 1, "fresh": time.time() - DAY + 60}
    for name, at in started.items():
        plant_partial(url, f"{int(at)}-{name}")
    plant_partial(url, "without-time")
    assert store.sweep_partial_files(DAY) == 1
    left = sorted(path.rpartition("-")[2] for path in files_in(url) if PARTIAL_FOLDER in path)
    assert left == ["fresh", "time"]
    assert store.exists("a.mp4")


def test_an_empty_store_has_no_partial_files_to_sweep(store: Store) -> None:
    assert store.sweep_partial_files(0) == 0


def test_a_store_that_cannot_be_swept_does_not_stop_the_next(blocked: str, url: str) -> None:
    plant_partial(url, "1-old")
    with capture_logs() as logs:
        sweep_partial_files(Store(blocked), Store(url))
    assert files_in(url) == []
    assert ["Not a directory" in str(log.get("error")) for log in logs] == [True, False]


def test_urls_and_local_paths(local: Path, tmp_path: Path) -> None:
    disk = Store((tmp_path / "out put").as_uri())
    disk.put_file(local, "b/ä 1.mp4")
    assert disk.local_path("b/ä 1.mp4") == str(tmp_path / "out put" / "b" / "ä 1.mp4")
    assert disk.url("b/ä 1.mp4") == f"{tmp_path.as_uri()}/out%20put/b/%C3%A4%201.mp4"
    assert (tmp_path / "out put" / "b" / "ä 1.mp4").read_bytes() == local.read_bytes()
    memory = Store("memory://media/")
    assert memory.local_path("b/a.mp4") is None
    assert memory.url("b/ä.mp4") == "memory://media/b/%C3%A4.mp4"
    assert Store(str(tmp_path)).local_path("a") == str(tmp_path / "a")
    assert Store("/").local_path("a") == "/a"


def test_a_url_shows_no_password() -> None:
    store = Store("memory://me:hunter2@host/media")
    assert "hunter2" not in repr(store)
    assert store.url("a.mp4") == "memory://host/media/a.mp4"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A reader keeps opening the key while two contents replace each other."""
    store = Store(tmp_path.as_uri())
    contents = [letter * 3_000_000 for letter in (b"a", b"b")]
    files = []
    for number, content in enumerate(contents):
        files.append(tmp_path / f"source-{number}")
        files[-1].write_bytes(content)
    store.put_file(files[0], "clip.mp4")
    path = store.local_path("clip.mp4")
    assert path is not None
    done = threading.Event()
    seen = set()

    def read() -> None:
        while not done.is_set():
            seen.add(Path(path).read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for round_ in range(20):
            store.put_file(files[round_ % 2], "clip.mp4")
    finally:
        done.set()
        reader.join(60)
    assert seen
    assert seen <= set(contents)


def _put(url: str, local: str, ready: "multiprocessing.synchronize.Barrier") -> None:
    ready.wait(200)
    for _ in range(10):
        Store(url).put_content(Path(local), ".bin")


def test_two_processes_can_store_the_same_content_at_the_same_time(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x" * 2_000_000)
    url = (tmp_path / "store").as_uri()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(2)
    processes = [context.Process(target=_put, args=(url, str(local), ready)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].read_bytes() == local.read_bytes()


def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path: Path) -> None:
    """Run in a process that may write at most 64 KB a file, which fails as a full disk does."""
    program = """
import resource, sys
from pathlib import Path
from worker.storage.errors import StoreError
from worker.storage.store import Store
folder = Path(sys.argv[1])
store = Store(folder.as_uri() + "/store")
(folder / "old").write_bytes(b"old")
store.put_file(folder / "old", "clip.mp4")
(folder / "new").write_bytes(bytes(200_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
try:
    store.put_file(folder / "new", "clip.mp4")
except StoreError as error:
    print(error.message, error.remedy)
names = sorted(path.name for path in (folder / "store").rglob("*"))
print(names, Path(store.local_path("clip.mp4")).read_bytes())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert "File too large" in done.stdout, done.stderr
    assert "Free space" in done.stdout
    assert done.stdout.endswith("['.parts', 'clip.mp4'] b'old'\n")


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[str]:
    """A store whose folder is a file, so that not even root can write to it."""
    (tmp_path / "taken").write_text("a file")
    yield (tmp_path / "taken" / "store").as_uri()
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_store_that_cannot_be_written_reports_it(blocked: str, local: Path) -> None:
    store = Store(blocked)
    with pytest.raises(StoreError) as caught:
        store.check()
    assert blocked in caught.value.message
    assert "cannot be written: Not a directory" in caught.value.message
    assert caught.value.remedy
    with pytest.raises(StoreError):
        store.put_content(local)


@pytest.mark.parametrize(
    ("url", "word"), [("nosuch://x/y", "fsspec"), ("hdfs://host/x", "Install")]
)
def test_a_store_of_an_unknown_or_uninstalled_kind_names_the_remedy(url: str, word: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert word in caught.value.remedy


def test_a_store_that_works_only_in_an_event_loop_is_refused() -> None:
    """Under gevent, each of its calls would fail."""
    with pytest.raises(StoreError, match="stores at http:// cannot be used"):
        Store("http://127.0.0.1:9/media").exists("a.jpg")


def test_a_lock_that_a_killed_writer_has_left_does_not_stop_a_worker() -> None:
    """Such a lock is taken while the id of the store is created."""
    root = f"memory://{uuid4().hex}"
    key = hashlib.sha256(b"reelqueue-store-id").hexdigest()
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/.parts/name-{key}")
    with pytest.raises(
        StoreError, match="has no file reelqueue-store-id, and it cannot be created"
    ) as caught:
        Store(root).ensure_id()
    assert ".parts" in caught.value.remedy
    fs.rmdir(f"{path}/.parts/name-{key}")
    assert Store(root).ensure_id()


@pytest.mark.parametrize("key", ["clips/1-a mug #1 100%.mp4", "b/ümläut?.jpg", "b/half \udcff.jpg"])
def test_the_address_of_a_file_in_a_folder_is_that_of_its_path(tmp_path: Path, key: str) -> None:
    folder = Store((tmp_path / "my médiä 100%").as_uri())
    path = folder.local_path(key)
    assert path is not None
    assert folder.url(key) == Path(path).as_uri()

"""A remote store: a real FTP server, reached from several processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ftp import ftp_server
from worker.faultpoints import VARIABLE
from worker.storage.errors import NotStoredError, StoreError
from worker.storage.remote_folder import RemoteFolder
from worker.storage.store import Store

DAY = 86_400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a store on the server, and its folder on the disk."""
    folder = tmp_path_factory.mktemp("ftp")
    with ftp_server(folder) as url:
        yield f"{url}/shop/clips", folder / "shop" / "clips"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A file to store."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"film" * 100_000)
    return path


def test_a_stored_file_is_found_replaced_and_deleted(
    place: tuple[str, Path], local: Path, tmp_path: Path
) -> None:
    store = Store(place[0])
    store.check()
    key = "Spring-sale-01234567/1-Kätzchen.mp4"
    assert not store.exists(key)
    store.put_file(local, key)
    assert store.exists(key)
    assert (place[1] / key).read_bytes() == local.read_bytes()
    local.write_bytes(b"better")
    store.put_file(local, key)
    store.fetch(key, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"better"
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)
    with pytest.raises(NotStoredError):
        store.fetch(key, tmp_path / "gone")
    assert list((place[1] / ".parts").iterdir()) == []


def test_no_password_is_shown(place: tuple[str, Path], local: Path) -> None:
    store = Store(place[0])
    assert "hunter2" not in repr(store)
    assert store.url("a.mp4").startswith("ftp://127.0.0.1:")
    with pytest.raises(StoreError, check=lambda error: "wrong-word" not in str(error)):
        Store(place[0].replace("hunter2", "wrong-word")).put_file(local, "a.mp4")


def test_other_processes_see_a_stored_file(place: tuple[str, Path], local: Path) -> None:
    Store(place[0]).put_file(local, "b/a.mp4")
    program = (
        "import sys; from worker.storage.store import Store;"
        "print(Store(sys.argv[1]).exists('b/a.mp4'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, place[0]], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr


def test_several_threads_can_store_at_the_same_time(
    place: tuple[str, Path], tmp_path: Path
) -> None:
    """One connection carries one transfer at a time, so the contents are not mixed up."""
    store = Store(place[0])
    problems: list[BaseException] = []

    def put(number: int) -> None:
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * 200_000)
        try:
            for round_ in range(3):
                store.put_file(path, f"c/{number}-{round_}.bin")
        except BaseException as error:  # noqa: BLE001 - asserted below
            problems.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    for number in range(4):
        for round_ in range(3):
            content = (place[1] / "c" / f"{number}-{round_}.bin").read_bytes()
            assert content == bytes([number]) * 200_000


def test_a_lost_connection_is_opened_again(place: tuple[str, Path], local: Path) -> None:
    """A server closes an idle connection; the next try of the job connects again."""
    store = Store(place[0])
    assert isinstance(store._files, RemoteFolder)
    store._files._connection._fs.ftp.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(StoreError):
        store.put_file(local, "d/a.mp4")
    store.put_file(local, "d/a.mp4")
    assert (place[1] / "d" / "a.mp4").read_bytes() == local.read_bytes()


def test_the_partial_file_of_a_killed_process_is_swept_after_a_day(
    place: tuple[str, Path], local: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from worker.storage.store import Store;"
        "Store(sys.argv[1]).put_file(Path(sys.argv[2]), 'e/a.mp4')"
    )
    trap = {VARIABLE: "store.write:after=kill@1"}
    done = subprocess.run(
        [sys.executable, "-c", program, place[0], str(local)],
        env={**os.environ, **trap},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    store = Store(place[0])
    (part,) = (place[1] / ".parts").iterdir()
    assert store.sweep_partial_files(DAY) == 0, "a live process may still write it"
    moment, _, rest = part.name.partition("-")
    part.rename(part.with_name(f"{int(moment) - DAY - 1}-{rest}"))
    assert store.sweep_partial_files(DAY) == 1
    assert list((place[1] / ".parts").iterdir()) == []

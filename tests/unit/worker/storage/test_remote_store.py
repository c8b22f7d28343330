"""A store that is no folder of this machine: a real FTP server, reached from several processes."""

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
from worker.storage.store import NotStoredError, Store, StoreError

DAY = 86_400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a store on the server, and the folder that it is."""
    folder = tmp_path_factory.mktemp("ftp")
    with ftp_server(folder) as url:
        yield f"{url}/shop/clips", folder / "shop" / "clips"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A file to be stored."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"film" * 100_000)
    return path


def test_what_is_put_is_found(place: tuple[str, Path], local: Path, tmp_path: Path) -> None:
    store = Store(place[0])
    store.check()
    key = "Spring-sale-01234567/1-Kätzchen.mp4"
    assert not store.exists(key)
    store.put_file(local, key)
    assert store.exists(key)
    assert store.size(key) == 400_000
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


def test_no_password_is_told(place: tuple[str, Path], local: Path) -> None:
    store = Store(place[0])
    assert "hunter2" not in repr(store)
    assert store.url("a.mp4").startswith("ftp://127.0.0.1:")
    with pytest.raises(StoreError) as caught:
        Store(place[0].replace("hunter2", "wrong-word")).put_file(local, "a.mp4")
    assert "wrong-word" not in str(caught.value)


def test_other_processes_see_it(place: tuple[str, Path], local: Path) -> None:
    Store(place[0]).put_file(local, "b/a.mp4")
    program = (
        "import sys; from worker.storage.store import Store;"
        "print(Store(sys.argv[1]).size('b/a.mp4'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, place[0]], capture_output=True, text=True, check=False
    )
    assert done.stdout == "400000\n", done.stderr


def test_several_jobs_store_at_once(place: tuple[str, Path], tmp_path: Path) -> None:
    """One connection carries one transfer at a time: nobody's bytes are anybody else's."""
    store = Store(place[0])
    problems: list[BaseException] = []

    def put(number: int) -> None:
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * 200_000)
        try:
            for round_ in range(3):
                store.put_file(path, f"c/{number}-{round_}.bin")
        except BaseException as error:  # noqa: BLE001 - told below
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


def test_a_connection_that_was_lost_is_made_anew(place: tuple[str, Path], local: Path) -> None:
    """A server closes one that is quiet for long; the next try of a job finds another."""
    store = Store(place[0])
    store._fs.ftp.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(StoreError):
        store.put_file(local, "d/a.mp4")
    store.put_file(local, "d/a.mp4")
    assert store.size("d/a.mp4") == 400_000


def test_what_a_killed_process_left_is_swept_after_a_day(
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
    assert store.sweep(DAY) == 0, "somebody may still write it"
    moment, _, rest = part.name.partition("-")
    part.rename(part.with_name(f"{int(moment) - DAY - 1}-{rest}"))
    assert store.sweep(DAY) == 1
    assert list((place[1] / ".parts").iterdir()) == []

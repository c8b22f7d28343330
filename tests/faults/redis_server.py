"""The Redis of a campaign: one address, behind which servers lose data and replace each other."""

import itertools
import os
import random
import shutil
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from redis.exceptions import RedisError

from tests.faults.proxy import Proxy
from tests.support.sentinel import QUICK_REPLICATION
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until

UNCONFIRMED_SECONDS: Final = 0.3
"""How long the server accepts writes before a power cut that it can confirm to nobody."""
NOWHERE: Final = ("127.0.0.1", "1")
"""A server that follows this address gets no data."""
DROPPED: Final = "lost by power cuts: bytes of unconfirmed writes"
UNREPLICATED: Final = "lost by failovers: bytes of the replication stream"
OLDER: Final = "lost by restored copies: keys"
FLUSHED: Final = "lost by flushes: keys"


class RedisServer:
    """A server with `appendfsync always`, reached through two proxies whose ports never change.

    Attributes:
        workers: The proxy of the workers, whose connections can be disturbed.
        steady: The proxy of the campaign itself.
        lost: How much each kind of loss has taken.
        is_frozen: Whether its process is stopped.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.lost: Counter[str] = Counter()
        self._folder = folder
        self._rng = rng
        self._numbers = itertools.count(1)
        self._replica: Valkey | None = None
        self._replicated = 0
        self.is_frozen = False
        self._is_refusing = False
        self._pause = threading.Event()
        self._resources = ExitStack()
        self._valkey = Valkey(self._new_folder("server"), *QUICK_REPLICATION).start()
        self._resources.callback(self._stop_all)
        self.workers = self._resources.enter_context(Proxy(self._valkey.port))
        self.steady = self._resources.enter_context(Proxy(self._valkey.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def is_busy(self) -> bool:
        """Whether it is frozen, refuses writes, or is about to fail over."""
        return self.is_frozen or self._is_refusing or self._replica is not None

    @property
    def has_lost_records(self) -> bool:
        """Whether data was lost that had been confirmed."""
        return any(name != DROPPED for name in self.lost)

    def restart(self) -> None:
        """Kill the server and start it with all that it has written."""
        self._valkey.stop()
        self._valkey.start()

    def freeze(self) -> None:
        """Stop the process, until `resume`."""
        self._valkey.freeze()
        self.is_frozen = True

    def resume(self) -> None:
        """Continue the process."""
        self._valkey.resume()
        self.is_frozen = False

    def power_cut(self) -> None:
        """Lose a part of what was written and not confirmed, as the machine does without power.

        With `appendfsync always` a write is confirmed after its fsync. So all that was confirmed is
        in the file when the last reply has left the server. Of what it writes after that, whose
        replies reach nobody, a random part is on the disk: the last command may be cut short.
        """
        self.workers.mute()
        file = self._append_only_file()
        confirmed = file.stat().st_size
        self._pause.wait(UNCONFIRMED_SECONDS)
        self._valkey.stop()
        last = self._append_only_file()
        size = last.stat().st_size
        least = confirmed if last == file else 0
        kept = self._rng.randint(least, max(least, size - 1))
        os.truncate(last, kept)
        self.lost[DROPPED] += size - kept
        self.workers.cut()
        self._valkey.start()

    def copy(self) -> Path:
        """Copy the data folder as it is at this moment, for `restore`."""
        copy = self._new_folder("copy")
        self._valkey.freeze()
        shutil.copytree(self._valkey.folder, copy)
        self._valkey.resume()
        return copy

    def restore(self, copy: Path) -> None:
        """Kill the server, and start it with an older copy of its data."""
        newer = self._keys()
        self._valkey.stop()
        shutil.rmtree(self._valkey.folder)
        copy.rename(self._valkey.folder)
        self._valkey.start()
        self.lost[OLDER] += len(newer - self._keys())

    def flush(self) -> None:
        """Delete all keys."""
        with self._valkey.client() as client:
            self.lost[FLUSHED] += int(client.dbsize())
            client.flushdb()

    def prepare_failover(self) -> None:
        """Start a replica that has all data, and then gets no more: `fail_over` promotes it."""
        self._replica = Valkey(self._new_folder("server"), *QUICK_REPLICATION).start()
        with self._replica.client() as client:
            client.replicaof("127.0.0.1", str(self._valkey.port))
            wait_until(lambda: _is_in_step(client), "the replica to have all data on its disk")
            client.replicaof(*NOWHERE)
            self._replicated = int(_info(client, "replication")["slave_repl_offset"])

    def fail_over(self) -> None:
        """Kill the server, and let the replica take its place, without the last writes."""
        assert self._replica is not None
        old, self._valkey, self._replica = self._valkey, self._replica, None
        with old.client() as client:
            written = int(_info(client, "replication")["master_repl_offset"])
        self.lost[UNREPLICATED] += written - self._replicated
        old.stop()
        with self._valkey.client() as client:
            client.replicaof("NO", "ONE")
        for proxy in (self.workers, self.steady):
            proxy.forward_to(self._valkey.port)
            proxy.cut()
        shutil.rmtree(old.folder)

    def refuse_memory(self) -> None:
        """Refuse all writes that need memory (OOM), until `accept`."""
        self._is_refusing = True
        with self._valkey.client() as client:
            client.config_set("maxmemory", "1")
        self.workers.cut()

    def refuse_writes(self) -> None:
        """Refuse all writes as a replica does (READONLY), until `accept`."""
        self._is_refusing = True
        with self._valkey.client() as client:
            client.replicaof(*NOWHERE)
        self.workers.cut()

    def accept(self) -> None:
        """Accept writes again."""
        with self._valkey.client() as client:
            client.config_set("maxmemory", "0")
            client.replicaof("NO", "ONE")
        self._is_refusing = False

    def _keys(self) -> set[str]:
        with self._valkey.client() as client:
            return set(client.scan_iter(count=1000))

    def _new_folder(self, kind: str) -> Path:
        return self._folder / f"{kind}-{next(self._numbers)}"

    def _append_only_file(self) -> Path:
        """The file that the server appends to."""
        files = (self._valkey.folder / "appendonlydir").glob("*.incr.aof")
        return max(files, key=lambda file: int(file.name.split(".")[-3]))

    def _stop_all(self) -> None:
        for server in (self._valkey, self._replica):
            if server is not None:
                server.stop()


def _info(client: Any, section: str) -> dict[str, Any]:
    found: dict[str, Any] = client.info(section)
    return found


def _is_in_step(client: Any) -> bool:
    """Whether a replica follows its primary, and its append-only file has all that it got."""
    try:
        link = _info(client, "replication")["master_link_status"]
        disk = _info(client, "persistence")
    except RedisError:
        return False
    is_rewritten = not (disk["aof_rewrite_in_progress"] or disk["aof_rewrite_scheduled"])
    return bool(link == "up" and is_rewritten)

"""The stand-in's state and running work, apart from HTTP."""

from pathlib import Path
from typing import Any

from sandbox.agent.streams import Streams
from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.options import Options
from sandbox.state.accounts import Accounts
from sandbox.state.call_log import CallLog
from sandbox.state.projects import Projects
from sandbox.state.renders import Renders
from sandbox.state.uploads import UploadStore


class Backend:
    """The state of the stand-in and its running work. Create it inside a running event loop."""

    def __init__(self, options: Options, folder: Path) -> None:
        """Create an empty backend that keeps uploads and clips in a folder."""
        uploads, clips = folder / "uploads", folder / "clips"
        for place in (uploads, clips):
            place.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.clock = Clock()
        self.log = CallLog(options.requests_kept)
        self.accounts = Accounts(options, self.clock)
        self.projects = Projects()
        self.store = UploadStore(uploads, options.upload_limit)
        self.streams = Streams(options, self.clock, self.log)
        self.renders = Renders(options, clips, self.clock, self.log)
        self.faults = Faults(options.seed)

    def ledger(self, requests: int | None = None) -> dict[str, Any]:
        """Return the accounts and the call log as JSON-ready values.

        Args:
            requests: The number of latest requests to list; None lists all that are kept.
        """
        columns = ("name", "available", "frozen", "total", "spent", "unattributed")
        accounts = [
            {column: getattr(account, column) for column in columns}
            for account in self.accounts.by_name.values()
        ]
        return {
            "accounts": accounts,
            "tokens_issued": self.accounts.issued,
            "running": self.streams.running,
            **self.log.as_json(requests),
        }

    async def stop(self) -> None:
        """Cancel all running work."""
        await self.streams.stop()
        await self.renders.stop()

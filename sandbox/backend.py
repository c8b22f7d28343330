"""The parts of the stand-in, put together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.agent.message_run import Streams
from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.options import Options
from sandbox.state.accounts import Accounts
from sandbox.state.call_log import CallLog
from sandbox.state.projects import Projects
from sandbox.state.renders import Renders
from sandbox.state.uploads import UploadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Everything behind the routes."""

    options: Options
    clock: Clock
    accounts: Accounts
    projects: Projects
    store: UploadStore
    streams: Streams
    renders: Renders
    faults: Faults
    log: CallLog

    def ledger(self, requests: int | None = None) -> dict[str, Any]:
        """The whole ledger, JSON-ready; `requests` bounds the list of single calls."""
        accounts = [
            {
                "name": account.name,
                "available": account.available,
                "frozen": account.frozen,
                "total": account.total,
                "spent": account.spent,
                "unattributed": account.unattributed,
            }
            for account in self.accounts.by_name.values()
        ]
        return {
            "accounts": accounts,
            "tokens_issued": self.accounts.issued,
            "running": self.streams.running,
            **self.log.as_json(requests),
        }

    async def stop(self) -> None:
        """End all work."""
        await self.streams.stop()
        await self.renders.stop()


def make_backend(options: Options, folder: Path) -> Backend:
    """Build the parts; needs a running event loop.

    Args:
        options: The settings.
        folder: Where uploads and clips are kept; made when missing.
    """
    uploads, clips = folder / "uploads", folder / "clips"
    for place in (uploads, clips):
        place.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    log = CallLog(options.requests_kept)
    return Backend(
        options=options,
        clock=clock,
        accounts=Accounts(options, clock),
        projects=Projects(),
        store=UploadStore(uploads, options.upload_limit),
        streams=Streams(options, clock, log),
        renders=Renders(options, clips, clock, log),
        faults=Faults(options.seed),
        log=log,
    )

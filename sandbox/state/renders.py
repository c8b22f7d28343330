"""Exports, which render MP4 files of drafts, and the download links of the files."""

import asyncio
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from sandbox.clock import Clock
from sandbox.faults import Fault
from sandbox.options import Options
from sandbox.responses import RefusalError
from sandbox.seeded_random import draw
from sandbox.state.call_log import CallLog, RenderEntry
from sandbox.state.projects import Clip, Json, Project
from sandbox.video.clip import ClipSpec, RenderStoppedError, render_clip
from sandbox.video.motion import Motion

_RENDER_THREADS = 2
# The share of its time after which the status goes from "pending" to "processing".
_PENDING_SHARE = 0.3


@dataclass(slots=True, kw_only=True)
class Render:
    """An export.

    Attributes:
        entry: Its entry in the call log, which holds the status.
        project: Its session.
        draft: The draft as it was sent, in canonical JSON.
        clip: The clip that the draft shows.
        forced_outcome: `fail`, `stuck` or None.
        file: The finished MP4.
        link: The name of its latest download link.
        task: The task that renders it.
    """

    entry: RenderEntry
    project: Project
    draft: str
    clip: Clip
    forced_outcome: str | None = None
    file: Path | None = None
    link: str | None = None
    task: asyncio.Task[None] | None = None


class Renders:
    """All exports by their ids."""

    def __init__(self, options: Options, folder: Path, clock: Clock, log: CallLog) -> None:
        self._options = options
        self._folder = folder
        self._clock = clock
        self._log = log
        self._by_id: dict[str, Render] = {}
        self._links: dict[str, tuple[Render, float]] = {}
        self._files: dict[str, asyncio.Future[Path]] = {}
        self._threads = ThreadPoolExecutor(_RENDER_THREADS, thread_name_prefix="render")
        self._stop = Event()

    def submit(self, identifier: str, project: Project, draft: Json, fault: Fault | None) -> Render:
        """Start an export, or return the one that this id already names.

        Raises:
            RefusalError: 409: the id names an export of another draft; 422: the draft shows no
                clip of this session.
        """
        canonical = json.dumps(draft, sort_keys=True)
        known = self._by_id.get(identifier)
        if known is not None:
            if known.project is project and known.draft == canonical:
                return known
            raise RefusalError(409, "this render id is taken")
        clip = project.clip_of(draft)
        if clip is None:
            raise RefusalError(422, "the draft has no clip")
        entry = RenderEntry(
            id=identifier, session_id=project.session_id, submitted_at=self._clock.now()
        )
        self._log.renders.append(entry)
        render = Render(entry=entry, project=project, draft=canonical, clip=clip)
        render.forced_outcome = self._forced_outcome(fault)
        self._by_id[identifier] = render
        render.task = asyncio.create_task(self._work(render))
        return render

    def find(self, identifier: str) -> Render | None:
        """Return the export of an id."""
        return self._by_id.get(identifier)

    def force_outcome(self, render: Render, forced_outcome: str) -> None:
        """Make an export fail (`fail`) or never complete (`stuck`) from now on."""
        if render.task is not None:
            render.task.cancel()
        render.forced_outcome = forced_outcome
        render.file = None
        render.entry.completed_at = None
        render.entry.status = "failed" if forced_outcome == "fail" else "processing"

    def link(self, render: Render) -> str:
        """Return a name under which the file can be downloaded without a token."""
        if render.link is not None and self.find_by_link(render.link) is render:
            return render.link
        name = f"{render.entry.id}-{secrets.token_hex(8)}.mp4"
        life = self._options.link_seconds or float("inf")
        self._links[name] = render, self._clock.now() + life
        render.link = name
        return name

    def find_by_link(self, name: str) -> Render | None:
        """Return the export of a link; None if the link is unknown or has expired."""
        render, expires_at = self._links.get(name, (None, 0.0))
        return render if expires_at > self._clock.now() else None

    async def stop(self) -> None:
        """Stop all exports that are not finished."""
        self._stop.set()
        tasks = [render.task for render in self._by_id.values() if render.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._files.values(), return_exceptions=True)
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _work(self, render: Render) -> None:
        pending = self._options.render_seconds * _PENDING_SHARE
        await asyncio.sleep(pending)
        render.entry.status = "processing"
        if render.forced_outcome == "stuck":
            return
        rest = asyncio.sleep(self._options.render_seconds - pending)
        if render.forced_outcome == "fail":
            await rest
            render.entry.status = "failed"
            return
        try:
            _, file = await asyncio.gather(rest, asyncio.shield(self._file(render.clip)))
        except (OSError, ValueError, RenderStoppedError):
            # The type of a picture is detected by its first bytes. The rest may be damaged.
            render.entry.status = "failed"
            return
        render.file = file
        render.entry.completed_at = self._clock.now()
        render.entry.status = "completed"

    def _file(self, clip: Clip) -> asyncio.Future[Path]:
        """Return a clip's file; equal clips are rendered once."""
        spec = self._spec(clip)
        file = self._files.get(spec.key)
        if file is None or (file.done() and file.exception() is not None):
            loop = asyncio.get_running_loop()
            file = loop.run_in_executor(self._threads, self._render, spec)
            self._files[spec.key] = file
        return file

    def _render(self, spec: ClipSpec) -> Path:
        target = self._folder / f"{spec.key}.mp4"
        if not target.exists():
            render_clip(spec, target, self._stop)
        return target

    def _spec(self, clip: Clip) -> ClipSpec:
        return ClipSpec(
            picture=clip.picture.path if clip.picture else None,
            picture_sha256=clip.picture.sha256 if clip.picture else "",
            seconds=clip.seconds,
            aspect=clip.request.aspect,
            motion=clip.request.motion or Motion.PUSH_IN,
            title=clip.request.title,
            short_side=self._options.clip_height,
        )

    def _forced_outcome(self, fault: Fault | None) -> str | None:
        if fault is not None and fault.action in {"fail", "stuck"}:
            return fault.action
        number = len(self._log.renders)
        fails = draw(self._options.seed, "render", number) < self._options.fail_render_ratio
        return "fail" if fails else None

"""Sessions: their uploads, their generated clips, and the current draft."""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.state.accounts import Account
from sandbox.video.clip import TITLE_SECONDS, frame_size
from sandbox.video.motion import DEFAULT_SECONDS, Aspect, ClipRequest, parse_prompt

Json = dict[str, Any]

PICTURES = frozenset({"jpg", "png", "gif", "webp"})
MUSIC = "Lo-fi"
_TRACK_VIDEO, _TRACK_AUDIO, _TRACK_TITLE = 0, 1, 7
# File names given by cameras and programs, which do not describe the picture.
_GENERIC_NAMES = frozenset(
    ("photo", "image", "img", "picture", "pic", "upload", "file", "input", "source", "tmp")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A stored file."""

    name: str
    size: int
    sha256: str
    kind: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A generated clip: the picture and the request that it is made from."""

    id: str
    name: str
    picture: Upload | None
    request: ClipRequest

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.request.seconds or DEFAULT_SECONDS


@dataclass(slots=True, kw_only=True)
class Project:
    """A project, which the API calls a session.

    Attributes:
        session_id: Its id.
        task_id: The id of its task.
        account: The account that it belongs to.
        uploads: Its files, in the order of their arrival.
        clips: Its generated clips by their ids, in the order of their generation.
        draft: The current draft, empty before the first clip.
        busy: Whether a message runs.
        spoken: Whether a message was ever accepted.
    """

    session_id: str
    task_id: str
    account: Account
    uploads: list[Upload] = field(default_factory=list)
    clips: dict[str, Clip] = field(default_factory=dict)
    draft: Json = field(default_factory=dict)
    busy: bool = False
    spoken: bool = False

    @property
    def picture(self) -> Upload | None:
        """The picture that was uploaded last."""
        return next((upload for upload in reversed(self.uploads) if upload.kind in PICTURES), None)

    @property
    def clip(self) -> Clip | None:
        """The clip that was generated last."""
        return next(reversed(self.clips.values()), None)

    def plan_clip(self, text: str) -> Clip:
        """Return the clip that a message requests. Missing values are those of the last clip."""
        request = parse_prompt(text)
        if self.clip is not None:
            request = request.with_defaults(self.clip.request)
        picture = self.picture
        subject = _subject(picture.name) if picture else None
        request = request.with_defaults(ClipRequest(title=subject.title() if subject else None))
        name = subject or (Path(picture.name).stem if picture else "clip")
        return Clip(id=f"gm_{secrets.token_hex(4)}", name=name, picture=picture, request=request)

    def add_raw(self, clip: Clip) -> None:
        """Add a clip in its first stage: it replaces the video track of the draft."""
        self.clips[clip.id] = clip
        others = [track for track in self.draft.get("t", []) if track["tt"] != _TRACK_VIDEO]
        self.draft = {
            "t": [_track(_TRACK_VIDEO, clip.seconds, name=clip.name, id=clip.id), *others]
        }

    def finish(self, clip: Clip) -> None:
        """Bring a clip to its second stage: the draft gets music, and a title if it has one."""
        tracks = [
            _track(_TRACK_VIDEO, clip.seconds, name=clip.name, id=clip.id),
            _track(_TRACK_AUDIO, clip.seconds, name=MUSIC, volume=0.35),
        ]
        if clip.request.title:
            shown = min(TITLE_SECONDS, clip.seconds)
            tracks.append(_track(_TRACK_TITLE, shown, text=clip.request.title))
        self.draft = {"t": tracks}

    def clip_of(self, draft: Json) -> Clip | None:
        """Return the clip that a draft shows, which is not always the last one."""
        for track in draft.get("t", []):
            for segment in track.get("sg", []):
                clip = self.clips.get(segment.get("m", {}).get("id", ""))
                if clip is not None:
                    return clip
        return self.clip

    def state(self) -> Json:
        """Return the reply of the state call."""
        aspect = self.clip.request.aspect if self.clip else None
        width, height = frame_size(aspect or Aspect.LANDSCAPE, 1080)
        return {
            "draft": self.draft,
            "video_infos": [{"name": upload.name} for upload in self.uploads],
            "canvas_config": {"width": width, "height": height},
            "generated_media": [{"id": clip.id, "name": clip.name} for clip in self.clips.values()],
        }


class Projects:
    """All sessions by their ids."""

    def __init__(self) -> None:
        self._by_session: dict[str, Project] = {}

    def open(self, account: Account) -> Project:
        """Create an empty session."""
        project = Project(
            session_id=f"ses_{secrets.token_hex(8)}",
            task_id=f"tsk_{secrets.token_hex(8)}",
            account=account,
        )
        self._by_session[project.session_id] = project
        return project

    def of(self, session_id: str) -> Project | None:
        """Return a session of any account."""
        return self._by_session.get(session_id)

    def find(self, session_id: str, account: Account) -> Project | None:
        """Return a session of this account; those of other accounts are not found."""
        project = self._by_session.get(session_id)
        return project if project is not None and project.account is account else None


def ready_for_export(draft: object) -> bool:
    """Return whether at least one track has a segment."""
    tracks = draft.get("t") if isinstance(draft, dict) else None
    if not isinstance(tracks, list):
        return False
    return any(isinstance(track, dict) and track.get("sg") for track in tracks)


def _track(kind: int, seconds: float, **metadata: object) -> Json:
    return {"tt": kind, "sg": [{"d": round(seconds * 1000), "m": metadata}]}


def _subject(file_name: str) -> str | None:
    words = re.findall(r"[^\W\d_]+", Path(file_name).stem)
    descriptive = [word for word in words if word.lower() not in _GENERIC_NAMES and len(word) > 1]
    # A name with digits is usually a number or a hash, which does not describe the picture.
    if not descriptive or re.search(r"\d", Path(file_name).stem):
        return None
    return " ".join(word.lower() for word in descriptive)

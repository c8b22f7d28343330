"""What differs from the request, and what many players cannot show."""

from pathlib import Path

import pytest

from tests.unit.worker.media.clip_samples import clip, moving, probe
from worker.media.clip_quality import ClipFinding, property_findings
from worker.media.clips import Clip


@pytest.mark.parametrize(
    ("seconds", "aspect", "findings"),
    [
        (10, "16:9", ()),
        (9.5, "16:9", ()),
        (10.5, None, ()),
        (9.4, None, ("The clip lasts 10 s, not 9.4 s.",)),
        (None, "9:16", ("The clip has 1920 by 1080 pixels, not 9:16.",)),
        (5, "1:1", ("The clip lasts 10 s, not 5 s.", "The clip has 1920 by 1080 pixels, not 1:1.")),
    ],
)
def test_differences_from_the_request(
    seconds: float | None, aspect: str | None, findings: tuple[str, ...]
) -> None:
    clip = Clip(width=1920, height=1080, seconds=10, codec="h264", bytes=1, sha256="")
    found = property_findings(clip, seconds=seconds, aspect=aspect)
    assert tuple(finding.message for finding in found) == findings


def test_more_than_1080p_is_a_finding_and_vertical_1080p_is_not() -> None:
    def sizes(width: int, height: int) -> list[str]:
        clip = Clip(width=width, height=height, seconds=1, codec="h264", bytes=1, sha256="")
        return [finding.code for finding in property_findings(clip)]

    assert sizes(1080, 1920) == sizes(1920, 1080) == sizes(1080, 1080) == []
    assert sizes(3840, 2160) == sizes(1440, 1440) == ["size"]


def test_another_codec_is_a_finding(path: Path) -> None:
    found = property_findings(probe(clip(path, codec="mpeg4", frames=5)))
    assert found == (ClipFinding("codec", "The codec is mpeg4, not H.264."),)


def test_a_codec_has_its_own_name_not_that_of_its_decoder(path: Path) -> None:
    assert probe(clip(path, codec="libsvtav1", frames=5)).codec == "av1"


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "yuv422p"])
def test_a_pixel_format_that_many_players_cannot_show_is_a_finding(path: Path, pixels: str) -> None:
    (found,) = property_findings(probe(clip(path, frames=3, pixels=pixels)))
    assert (found.code, "many players" in found.message) == ("codec", True)
    assert f"is {pixels}, not" in found.message


def test_hevc_under_the_tag_hev1_is_a_finding(path: Path) -> None:
    quiet = {"x265-params": "log-level=none"}
    (found,) = property_findings(probe(clip(path, moving, 3, codec="libx265", **quiet)))
    assert found.message == (
        "The codec is hevc with the tag hev1, not H.264: many players cannot show it."
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(b"hev1", b"hvc1"))
    assert property_findings(probe(path)) == (
        ClipFinding("codec", "The codec is hevc, not H.264."),
    )

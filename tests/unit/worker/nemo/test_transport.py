"""The caller's identity, and the HTTP clients."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from worker.egress.tls import shared_ssl_context
from worker.nemo.errors import Call, TokenRefused
from worker.nemo.http.headers import Identity, bearer, detect_platform
from worker.nemo.http.transport import open_http


@pytest.mark.parametrize(
    ("path", "configured", "platform"),
    [
        ("/home/a/.clawhub/skills/x", None, "clawhub"),
        ("/home/a/.cursor/skills/x", None, "cursor"),
        ("/home/a/.cursor/x", None, "unknown"),
        ("/home/a/.cursor/other/skills", None, "unknown"),
        ("/opt/clawhub", None, "unknown"),
        ("/opt/x", None, "unknown"),
        ("/home/a/.clawhub/x", "mine", "mine"),
        ("/home/a/.clawhub/x", " ", "clawhub"),
    ],
)
def test_platform_is_configured_or_detected_from_the_install_path(
    path: str, configured: str | None, platform: str
) -> None:
    assert detect_platform(Path(path), configured) == platform


def test_identity_as_headers() -> None:
    assert Identity(platform="cursor", version="1.9").headers() == {
        "X-Skill-Source": "ai-image-to-video-extender",
        "X-Skill-Version": "1.9",
        "X-Skill-Platform": "cursor",
    }


@pytest.mark.parametrize("value", ["", "a\nb: c", "é", "\x7f"])
def test_identity_that_is_not_valid_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Identity(platform=value, version="1")
    with pytest.raises(ValueError, match="printable"):
        Identity(platform="x", version=value)


def test_token_is_sent_without_surrounding_spaces() -> None:
    assert bearer(Call.STATE, SecretStr(" nmv_usr_x\n")) == {"Authorization": "Bearer nmv_usr_x"}


@pytest.mark.parametrize("secret", ["nmv_usr_é", "nmv_usr_a\nb", "nmv_usr_\ud800"])
def test_token_that_is_not_valid_in_a_header_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        bearer(Call.STATE, SecretStr(secret))
    assert "nmv_usr" not in f"{caught.value!s}{caught.value!r}"


def test_missing_token_is_refused() -> None:
    with pytest.raises(TokenRefused, match="no access token"):
        bearer(Call.STATE, None)


def test_clients_share_one_tls_context_and_follow_no_redirects() -> None:
    assert shared_ssl_context() is shared_ssl_context()
    with open_http("https://api.example") as http:
        assert http.follow_redirects is False
        assert http.timeout.pool is None
        assert None not in (http.timeout.connect, http.timeout.read, http.timeout.write)

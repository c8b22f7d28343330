"""Settings: their variables, the .env file, and the messages for wrong values."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from config.settings import OperationsSettings, Settings


def test_the_environment_has_precedence_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("REELQUEUE_LEASE_SECONDS=7.5\nREELQUEUE_SETTLE_CHECKS=8\nNEMO_TOKEN=a, b,\n")
    monkeypatch.setenv("REELQUEUE_SETTLE_CHECKS", "9")
    monkeypatch.delenv("REELQUEUE_LEASE_SECONDS", raising=False)
    monkeypatch.delenv("NEMO_TOKEN", raising=False)
    settings = Settings(_env_file=str(file))
    assert (settings.timing.lease_seconds, settings.timing.settle_checks) == (7.5, 9)
    assert [token.get_secret_value() for token in settings.api.tokens] == ["a", "b"]


@pytest.mark.parametrize("name", ["REELQUEUE_WAKEUP_CAP", "REELQUEUE_HINT_CAP"])
def test_the_wakeup_cap_is_read_from_its_new_and_its_old_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "7")
    assert Settings().limits.wakeup_cap == 7


@pytest.mark.parametrize(("text", "days"), [("", None), ("90", 90.0)])
def test_an_empty_number_of_tombstone_days_means_forever(
    monkeypatch: pytest.MonkeyPatch, text: str, days: float | None
) -> None:
    """Docker Compose passes an unset variable as an empty one."""
    monkeypatch.setenv("REELQUEUE_TOMBSTONE_DAYS", text)
    assert Settings().retention.tombstone_days == days


def test_an_empty_metrics_port_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELQUEUE_METRICS_PORT", "")
    assert Settings().operations.metrics_port is None


@pytest.mark.parametrize("port", [0, 65536])
def test_a_metrics_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValidationError):
        OperationsSettings(metrics_port=port)


def test_an_error_names_every_wrong_variable_and_shows_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {
        "NEMO_API_URL": "hunter2",
        "REELQUEUE_CONCURRENCY": "0",
        "REELQUEUE_RENDER_POLL_SECONDS": "soon",
        "REELQUEUE_METRICS_PORT": "65536",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert [error["loc"][-1] for error in raised.value.errors()] == list(wrong)
    assert "hunter2" not in str(raised.value)


def test_the_ticker_must_be_quicker_than_a_quarter_of_a_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REELQUEUE_LEASE_SECONDS", "4")
    monkeypatch.setenv("REELQUEUE_TICK_SECONDS", "1.1")
    with pytest.raises(ValidationError, match="REELQUEUE_TICK_SECONDS must be at most a quarter"):
        Settings()

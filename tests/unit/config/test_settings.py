"""Settings: environment names, old names and bounds."""

import pytest

from config.settings import Settings


@pytest.mark.parametrize("name", ["REELQUEUE_WAKEUP_CAP", "REELQUEUE_HINT_CAP"])
def test_the_wakeup_cap_is_read_from_its_new_and_its_old_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "7")
    assert Settings(_env_file=None).wakeup_cap == 7

"""`reelqueue flower`: what it refuses to start."""

import socket
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.cli.commands.flower import _check_login
from tasks.cli.error_handling import CommandError
from tests.support.processes import run_command_line

NO_LOGIN = {"unix_socket": "", "basic_auth": [], "auth": "", "address": "127.0.0.1"}


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "192.168.1.5", "flower.example"])
def test_it_serves_others_only_with_a_login(address: str) -> None:
    beyond = NO_LOGIN | {"address": address}
    with pytest.raises(CommandError, match="FLOWER_BASIC_AUTH"):
        _check_login(SimpleNamespace(**beyond))
    for login in ({"basic_auth": ["a:b"]}, {"auth": ".*@example"}, {"unix_socket": "/run/flower"}):
        _check_login(SimpleNamespace(**beyond | login))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_it_serves_this_machine_without_one(address: str) -> None:
    _check_login(SimpleNamespace(**NO_LOGIN | {"address": address}))


flower = partial(run_command_line, "flower")


def test_a_mistake_is_one_sentence_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = flower(folder=tmp_path, FLOWER_PORT=str(port))
    assert (answer.returncode, answer.stderr.count("\n")) == (3, 1), answer.stderr
    assert f"port {port}" in answer.stderr
    assert (tmp_path / "var/flower/rq").is_dir()

    (tmp_path / "flowerconfig.py").write_text("address = '0.0.0.0'\n")
    answer = flower(folder=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert "everybody who reaches 0.0.0.0" in answer.stderr

    answer = flower("--port=x", folder=tmp_path)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1), answer.stderr

    (tmp_path / "var/flower/other").write_text("in the way")
    answer = flower(folder=tmp_path, REELQUEUE_NAMESPACE="other")
    assert answer.returncode == 3, answer.stderr
    assert "--db=FILE" in answer.stderr

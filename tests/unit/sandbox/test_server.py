"""The ledger, the page, the options and the process."""

import hashlib
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

from sandbox.option_types import DurationRange
from sandbox.options import Options, parse
from sandbox.server import main
from tests.unit.sandbox.api import TOKEN, Api, picture


def test_paid_messages_for_each_picture(api: Api) -> None:
    first, second = api.session_with_picture(mark=1), api.session_with_picture(mark=2)
    for session in (first, second, second):
        api.message(session)
    ledger = api.ledger()
    assert ledger["paid_messages"] == {
        hashlib.sha256(picture(mark=1)).hexdigest(): 1,
        hashlib.sha256(picture(mark=2)).hexdigest(): 2,
    }
    account = ledger["accounts"][0]
    assert account["spent"] == sum(entry["charged"] for entry in ledger["messages"]) == 250
    assert account["total"] + account["spent"] == 1000


def test_calls_are_counted_and_listed(api: Api) -> None:
    api.message(api.session_with_picture())
    ledger = api.ledger()
    assert ledger["calls"] == {"session": 1, "upload": 1, "message": 1}
    assert [entry["call"] for entry in ledger["requests"]] == ["session", "upload", "message"]
    assert {entry["status"] for entry in ledger["requests"]} == {200}
    assert api.http.get("/sandbox/ledger?requests=1").json()["requests"] == ledger["requests"][-1:]


def test_claim_token(api: Api) -> None:
    data = api.open_session().json()["data"]
    claimed = api.http.post("/api/auth/claim-token", json=data).json()["data"]
    assert claimed["claim_token"].startswith("clm_")
    assert claimed["expires_in"] == 604800


def test_page_shows_totals(api: Api) -> None:
    api.message(api.session_with_picture())
    page = api.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert re.search(r"messages charged<td>1<", page.text)
    assert api.http.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "argv",
    [
        ["--host", "0.0.0.0"],
        ["--host", "example.com"],
        ["--silent-ratio", "2"],
        ["--stream-seconds", "5-2"],
        ["--account", "no-number"],
    ],
)
def test_invalid_arguments_are_rejected(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(argv)
    assert argv[0] in capsys.readouterr().err


def test_its_name_is_that_of_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    assert capsys.readouterr().out.startswith("usage: sandbox [-h]")


def test_a_folder_that_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="3"):
        main(["--state-dir", str(tmp_path / "file" / "state")])
    assert f"{tmp_path}/file/state/uploads cannot be written: Not a" in capsys.readouterr().err


def test_help_explains_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("(default: ") == len(fields(Options))
    assert parse([]) == Options()


def test_arguments() -> None:
    options = parse(
        ["--stream-seconds", "0.5-2", "--account", "nmv_usr_a=b=500", "--account", "nmv_usr_b=7"]
    )
    assert options.stream_seconds == DurationRange(0.5, 2.0)
    tokens = [grant.token.get_secret_value() for grant in options.accounts]
    assert (tokens, options.accounts[0].credits) == (["nmv_usr_a=b", "nmv_usr_b"], 500)
    assert "nmv_usr" not in repr(options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_announces_its_port_and_stops_while_a_stream_runs(
    tmp_path: Path, number: signal.Signals
) -> None:
    port_file = tmp_path / "port"
    command = [
        *(sys.executable, "-m", "sandbox", "--port-file", str(port_file)),
        *("--account", f"{TOKEN}=500", "--stream-seconds", "60"),
        *("--state-dir", str(tmp_path / "state")),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url == f"http://127.0.0.1:{port_file.read_text().strip()}"
        with Api(url, TOKEN) as api:
            body = api.message_body(api.session_with_picture())
            with api.http.stream("POST", "/run_sse", json=body) as response:
                stream = response.iter_raw()
                next(stream)
                process.send_signal(number)
                assert process.wait(120) == 0
                with pytest.raises(httpx.RemoteProtocolError):
                    list(stream)
        assert process.stderr is not None
        assert process.stderr.read() == ""

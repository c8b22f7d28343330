"""Addresses of Redis as people write them: they work for all clients, or are refused."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis

from config.redis_address import RedisAddress, RedisAddressError, parse_redis_address
from tests.support.celery_apps import third_party
from tests.support.valkey import Valkey, guarded_valkey

SECRET = "s3cr3t"
PASSWORD = "p@ss/w#rd100%:?x"


def secret_of(address: RedisAddress) -> str | None:
    return None if address.password is None else address.password.get_secret_value()


@pytest.mark.parametrize(
    ("text", "hosts", "db"),
    [
        ("redis://", (("127.0.0.1", 6379),), 0),
        ("redis://host", (("host", 6379),), 0),
        ("redis://host:6380/3", (("host", 6380),), 3),
        ("redis://host/?db=2", (("host", 6379),), 2),
        ("redis://host?db=2", (("host", 6379),), 2),
        ("valkey://host/1", (("host", 6379),), 1),
        ("REDIS://host/1", (("host", 6379),), 1),
        ("redis://[::1]:6380/1", (("::1", 6380),), 1),
        ("rediss://host:6380/0", (("host", 6380),), 0),
        ("redis+sentinel://a:1,b/mymaster/2", (("a", 1), ("b", 26379)), 2),
    ],
)
def test_the_server_is_found(text: str, hosts: tuple[tuple[str, int], ...], db: int) -> None:
    address = parse_redis_address(text)
    assert (address.hosts, address.db) == (hosts, db)


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("", None, None),
        (":p@", None, "p"),
        ("u:p@", "u", "p"),
        ("u@", "u", None),
        (":p%40ss@", None, "p@ss"),
        (":p@ss@", None, "p@ss"),
        (":p/ss@", None, "p/ss"),
        (":p#ss@", None, "p#ss"),
        (":100%@", None, "100%"),
        (":p?s@", None, "p?s"),
        (":p:q@", None, "p:q"),
    ],
)
@pytest.mark.parametrize("tail", ["host:6380/2", "host:6380/2?socket_timeout=5"])
def test_a_password_may_hold_what_people_write(
    login: str, user: str | None, password: str | None, tail: str
) -> None:
    address = parse_redis_address(f"redis://{login}{tail}")
    assert (address.username, secret_of(address)) == (user, password)
    assert (address.hosts, address.db) == ((("host", 6380),), 2)


@pytest.mark.parametrize("text", ["unix:///run/r.sock?db=1", "redis+socket:///run/r.sock?db=1"])
def test_a_socket_is_found(text: str) -> None:
    address = parse_redis_address(text)
    assert (address.path, address.db, address.hosts) == ("/run/r.sock", 1, ())


def test_tls_verifies_certificates_by_default(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    bare = parse_redis_address("rediss://host")
    assert bare.tls == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    none = parse_redis_address("rediss://host?ssl_cert_reqs=none")
    assert none.tls == {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    own = parse_redis_address(f"rediss://host?ssl_ca_certs={authority}")
    assert own.tls is not None
    assert own.tls["ssl_ca_certs"] == str(authority)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must start with"),
        ("host:6379", "must start with"),
        (f"http://:{SECRET}@host", "must start with"),
        (f"sentinel://:{SECRET}@host:26379", "redis+sentinel://"),
        (f"redis+sentinel://:{SECRET}@host:26379", "must name"),
        (f"redis://:{SECRET}@host:port/0", "port"),
        (f"redis://:{SECRET}@host:99999/0", "port"),
        (f"redis://:{SECRET}@host/name", "database"),
        (f"redis://:{SECRET}@host?protocol=2", "protocol"),
        (f"redis://:{SECRET}@host?socket_timeout=never", "socket_timeout"),
        (f"redis://:{SECRET}@host?ssl_cert_reqs=none", "rediss://"),
        (f"rediss://:{SECRET}@host?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        (f"rediss://:{SECRET}@host?ssl_ca_certs=/no/such/file", "not a file"),
        ("unix://", "socket"),
        (f"redis+cluster://:{SECRET}@host", "cluster"),
        (f"rediss-cluster://:{SECRET}@host:6379,host2:6379", "cluster"),
        (f"redis://:{SECRET}@host:6379,host2:6379/0", "single server; for Sentinels, write"),
        (f"redis://:{SECRET}@host,host2:6379", "single server"),
    ],
)
def test_a_refusal_says_what_to_write_and_shows_no_password(text: str, says: str) -> None:
    with pytest.raises(RedisAddressError) as caught:
        parse_redis_address(text)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_repr_shows_no_password() -> None:
    text = f"redis+sentinel://u:{SECRET}@h/m/0?sentinel_password={SECRET}"
    assert SECRET not in repr(parse_redis_address(text))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server with a password that must be escaped, on a port and on a socket."""
    with guarded_valkey(tmp_path_factory.mktemp("guarded"), PASSWORD, "a b.sock") as server:
        yield server


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
@pytest.mark.parametrize(
    "form",
    [
        "redis://:{quoted}@127.0.0.1:{port}/2",
        "redis://:{raw}@127.0.0.1:{port}/2",
        "valkey://default:{quoted}@127.0.0.1:{port}?db=2&socket_timeout=5&client_name=me",
        "unix://:{quoted}@{folder}/a%20b.sock?db=2",
        "redis+socket://:{quoted}@{folder}/a%20b.sock?db=2",
    ],
)
def test_every_client_reaches_a_real_server(guarded: Valkey, form: str) -> None:
    text = form.format(
        quoted=quote(PASSWORD, safe=""), raw=PASSWORD, port=guarded.port, folder=guarded.folder
    )
    address = parse_redis_address(text)
    url = address.celery_url()
    with third_party(url) as app:
        app.conf.broker_transport_options = address.celery_transport_options()
        app.backend.store_result("t", 5, "SUCCESS")
        app.send_task("t", queue="a-queue")
    arguments = address.client_arguments()
    server: dict[str, Any] = (
        {"unix_socket_path": address.path}
        if address.path
        else {"host": address.hosts[0][0], "port": address.hosts[0][1]}
    )
    with Redis(**server, **arguments) as client:
        assert {b"celery-task-meta-t", b"a-queue"} <= set(client.keys("*"))
        client.flushall()

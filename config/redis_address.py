"""One parser of the addresses of Redis and Valkey servers for all clients.

The client of the records, Celery's broker and Celery's result backend differ in the addresses that
they accept and in how they read them. This parser accepts what it can translate for all of them.
For any other address, its error says what to write instead and never shows the password.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from pydantic import SecretStr

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
HIGHEST_PORT: Final = 65535

SENTINEL_FORM: Final = "redis+sentinel://host:26379,host2:26379/mymaster/0"
_NO_CLUSTER: Final = "names a cluster, which is not supported: name a single server"
_SCHEMES: Final = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "unix": "unix",
    "redis+socket": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel-tls",
}
_VERIFICATION: Final = {
    "required": ssl.CERT_REQUIRED,
    "cert_required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "cert_optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
    "cert_none": ssl.CERT_NONE,
}
_FILES: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_TLS_OPTIONS: Final = {*_FILES, "ssl_cert_reqs", "ssl_check_hostname"}
_SECONDS: Final = {"socket_timeout", "socket_connect_timeout"}
_SENTINEL_OPTIONS: Final = {"sentinel_username", "sentinel_password"}
_OPTIONS: Final = {"db", "virtual_host", "client_name", *_SECONDS, *_TLS_OPTIONS}
_KNOWN_OPTION: Final = re.compile(rf"\?(?=(?:{'|'.join(sorted(_OPTIONS | _SENTINEL_OPTIONS))})=)")
_HOST: Final = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]/@]*)(?::(?P<port>[^:]*))?")


class RedisAddressError(ValueError):
    """An address that cannot be used. The text says why, without any part of the password."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed address.

    Attributes:
        hosts: Host and port of the server, or of each Sentinel; empty for a socket.
        db: The number of the database.
        path: The path of the Unix socket, or "".
        master: The name of the server in the configuration of the Sentinels, or "".
        username: The user, or None.
        password: The password, or None.
        tls: TLS settings by redis-py's names, or None without TLS.
        timeouts: `socket_timeout` and `socket_connect_timeout` in seconds, where given.
        client_name: The name that connections set with ``CLIENT SETNAME``, or None.
        sentinel_auth: User and password for the Sentinels themselves.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    db: int = 0
    path: str = ""
    master: str = ""
    username: str | None = None
    password: SecretStr | None = None
    tls: Mapping[str, Any] | None = None
    timeouts: Mapping[str, float] = field(default_factory=dict)
    client_name: str | None = None
    sentinel_auth: Mapping[str, SecretStr] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where the server is, for people: no user and no password."""
        if self.path:
            return self.path
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.master} at {hosts}" if self.master else hosts

    def celery_url(self) -> str:
        """The address in the form that Celery's broker and result backend read."""
        user = "" if self.username is None else quote(self.username, safe="")
        secret = "" if self.password is None else quote(self.password.get_secret_value(), safe="")
        login = f"{user}:{secret}@" if user or secret else ""
        if self.path:
            return f"redis+socket://{login}{quote(self.path)}?virtual_host={self.db}"
        scheme = "sentinel" if self.master else "redis"
        return ";".join(
            f"{scheme}://{login}{f'[{host}]' if ':' in host else host}:{port}/{self.db}"
            for host, port in self.hosts
        )

    def celery_transport_options(self) -> dict[str, Any]:
        """The options of Celery's transport for settings that are not part of `celery_url`."""
        options: dict[str, Any] = dict(self.timeouts)
        if self.client_name is not None:
            options["client_name"] = self.client_name
        if self.master:
            options["master_name"] = self.master
            options["sentinel_kwargs"] = self.sentinel_arguments()
        return options

    def client_arguments(self) -> dict[str, Any]:
        """Arguments of redis-py's client, without host, port and path."""
        arguments: dict[str, Any] = {"db": self.db, **self.timeouts}
        if self.username is not None:
            arguments["username"] = self.username
        if self.password is not None:
            arguments["password"] = self.password.get_secret_value()
        if self.client_name is not None:
            arguments["client_name"] = self.client_name
        if self.tls is not None:
            arguments |= {"ssl": True, **self.tls}
        return arguments

    def sentinel_arguments(self) -> dict[str, Any]:
        """Arguments of redis-py's connections to the Sentinels."""
        login = {name: value.get_secret_value() for name, value in self.sentinel_auth.items()}
        return login | ({"ssl": True, **self.tls} if self.tls is not None else {})


def parse_redis_address(text: str) -> RedisAddress:
    """Parse an address.

    Raises:
        RedisAddressError: It has an unknown form, or an option that is not supported.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    kind = _SCHEMES.get(scheme) if separator else None
    if kind is None:
        if "cluster" in scheme:
            raise RedisAddressError(_NO_CLUSTER)
        if scheme == "sentinel":
            raise RedisAddressError(f"write Sentinels as {SENTINEL_FORM}")
        raise RedisAddressError(
            "must start with redis://, rediss:// (TLS), unix:// or redis+sentinel://"
        )
    login, server, query = _split(rest)
    options = _options(query, kind)
    username, password = _login(login)
    common: dict[str, Any] = {
        "username": username,
        "password": password,
        "tls": _tls(options) if kind in ("tls", "sentinel-tls") else None,
        "timeouts": {name: _seconds(name, options[name]) for name in _SECONDS & options.keys()},
        "client_name": options.get("client_name"),
        "sentinel_auth": {
            name.removeprefix("sentinel_"): SecretStr(options[name])
            for name in _SENTINEL_OPTIONS & options.keys()
        },
    }
    if kind == "unix":
        if not server.strip("/"):
            raise RedisAddressError("names no socket: write unix:///path/to/redis.sock?db=0")
        return RedisAddress(path=f"/{unquote(server).lstrip('/')}", db=_db(options), **common)
    hosts, _, path = server.partition("/")
    if kind in ("tcp", "tls"):
        if "," in hosts:
            raise RedisAddressError(f"{_NO_CLUSTER}; for Sentinels, write {SENTINEL_FORM}")
        host = _host(hosts, DEFAULT_PORT)
        return RedisAddress(hosts=(host,), db=_db(options, path), **common)
    master, _, number = path.partition("/")
    if not master:
        raise RedisAddressError(
            f"must name the server that the Sentinels monitor: write {SENTINEL_FORM}"
        )
    return RedisAddress(
        hosts=tuple(_host(host, SENTINEL_PORT) for host in hosts.split(",")),
        master=unquote(master),
        db=_db(options, number),
        **common,
    )


def _split(rest: str) -> tuple[str, str, str]:
    """Split into login, server and options. A password may contain "@", "/", "#" and "?"."""
    found = _KNOWN_OPTION.search(rest)
    if found is not None:
        head, query = rest[: found.start()], rest[found.end() :]
    else:
        mark = rest.find("?", rest.rfind("@") + 1)
        head, query = (rest, "") if mark < 0 else (rest[:mark], rest[mark + 1 :])
    login, _, server = head.rpartition("@")
    return login, server, query


def _login(text: str) -> tuple[str | None, SecretStr | None]:
    user, colon, password = text.partition(":")
    return unquote(user) or None, SecretStr(unquote(password)) if colon and password else None


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise RedisAddressError("has an invalid host: write host:port, or [address]:port")
    number = found["port"]
    if number is not None:
        if not number.isdecimal() or not 0 < int(number) <= HIGHEST_PORT:
            raise RedisAddressError(
                f"has a port that is not a number from 1 to {HIGHEST_PORT}; "
                "in a password, write @ as %40, / as %2F and # as %23"
            )
        port = int(number)
    return found["host"].strip("[]") or "127.0.0.1", port


def _options(query: str, kind: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = _OPTIONS | (_SENTINEL_OPTIONS if kind.startswith("sentinel") else set())
    unknown = sorted(options.keys() - known)
    if unknown:
        raise RedisAddressError(
            f"has the option {unknown[0]}, which is not supported. "
            f"Supported are: {', '.join(sorted(known))}"
        )
    if kind not in ("tls", "sentinel-tls") and _TLS_OPTIONS & options.keys():
        raise RedisAddressError("has TLS options without TLS: write rediss://")
    return options


def _db(options: Mapping[str, str], path: str = "") -> int:
    text = options.get("db", options.get("virtual_host", unquote(path).strip("/"))) or "0"
    if not text.isdecimal():
        raise RedisAddressError("has a database that is not a number: write /0, for example")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise RedisAddressError(f"has a {name} that is not a number of seconds above 0")
    return seconds


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    verification = options.get("ssl_cert_reqs", "required").lower()
    if verification not in _VERIFICATION:
        raise RedisAddressError("has an ssl_cert_reqs other than required, optional and none")
    checks = options.get("ssl_check_hostname", "").lower()
    if checks not in ("", "true", "false", "1", "0"):
        raise RedisAddressError("has an ssl_check_hostname other than true and false")
    verifies = _VERIFICATION[verification] is not ssl.CERT_NONE
    tls: dict[str, Any] = {
        "ssl_cert_reqs": _VERIFICATION[verification],
        "ssl_check_hostname": verifies and checks not in ("false", "0"),
    }
    for name in sorted(_FILES & options.keys()):
        if not Path(options[name]).is_file():
            raise RedisAddressError(f"has an {name} that is not a file: {options[name]}")
        tls[name] = options[name]
    return tls

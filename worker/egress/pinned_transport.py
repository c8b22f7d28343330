"""Which hosts may be reached when somebody else names them, and how they are connected to.

A connection is made to the address that was checked, not to the name: a name may resolve to
something harmless first and to something inside the house a moment later.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

import httpcore
from gevent.monkey import get_original

from worker.resources.offload import offload_with_timeout

Resolver = Callable[[str, int], Sequence[str]]

_ADDRESSES_TRIED: Final = 3
_LOOKUP_SECONDS: Final = 5.0
# Gevent's own would take the threads in which pictures are decoded, and name servers may be slow.
_getaddrinfo = get_original("socket", "getaddrinfo")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Python's list is not complete: an old relay's address, and what answers inside a cloud or network.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")
)
# RFC 6052 and RFC 8215: an IPv4 address in the last four bytes, reached through a translator.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NETWORKS_OF_TUNNELS: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b:1::/48", "2002::/16", "2001::/32")
)


class ForbiddenHostError(Exception):
    """A host that may not be reached, with one of its addresses that is not public."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is at {address}, which is not a public address")
        self.host = host
        self.address = address


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, in the order in which the system prefers them.

    Raises:
        OSError: It has none, or nobody said so in time.
    """
    found = offload_with_timeout(_LOOKUP_SECONDS, _getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed_hosts(entries: Iterable[str | None]) -> frozenset[str]:
    """Hosts whose addresses may be private, from settings.

    Args:
        entries: Each ``host`` (any port), ``host:port``, or a URL (its port only).
    """
    return frozenset(_authority(entry) for entry in entries if entry)


class PinnedBackend(httpcore.SyncBackend):
    """The network of an httpcore pool: checked addresses only, and an end to all waiting.

    Names stay names above it: the Host header and TLS see what the URL says.

    Args:
        allowed: What `allowed_hosts` gives.
        seconds: How long all that goes over this network may take, from now.
        resolver: Finds the addresses of a host.
        clock: Tells seconds.
    """

    def __init__(
        self,
        allowed: frozenset[str],
        seconds: float,
        *,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._clock = clock
        self._deadline = clock() + seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host by one of its addresses, all of which have been checked.

        Raises:
            ForbiddenHostError: One of them is not to be reached.
            httpcore.NetworkError: None of them can be.
        """
        addresses = self._checked(host, port)
        for number, address in enumerate(addresses[:_ADDRESSES_TRIED], start=1):
            try:
                stream = super().connect_tcp(
                    address, port, self.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == min(len(addresses), _ADDRESSES_TRIED):
                    raise
            else:
                return _TimedStream(stream, self.left)
        raise httpcore.ConnectError(f"{host} has no address")

    def left(self, timeout: float | None) -> float:
        """What is left of a time-out, the deadline kept in mind."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for the whole download is over")
        return left if timeout is None else min(left, timeout)

    def _checked(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host; it is refused if a single one is not to be reached."""
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be found") from error
        if {host.lower(), f"{host.lower()}:{port}"} & self._allowed:
            return addresses
        for address in addresses:
            if not is_public(address):
                raise ForbiddenHostError(host, address)
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline."""

    def __init__(
        self, stream: httpcore.NetworkStream, left: Callable[[float | None], float]
    ) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._left(timeout))
        return _TimedStream(secured, self._left)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet.

    Addresses that carry another one (mapped, NAT64) are judged by that one; tunnels (6to4,
    Teredo) lead to who knows where and are not public.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, IPv6Address):
        if any(ip in network for network in _NETWORKS_OF_TUNNELS):
            return False
        ip = _carried(ip)
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not (
        any(ip in network for network in _NOT_PUBLIC)
        or ip.is_private
        or ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_reserved
        or ip.is_unspecified
    )


def _carried(ip: IPv6Address) -> IPv4Address | IPv6Address:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _authority(host: str) -> str:
    """``host`` or ``host:port`` of a setting, which may be a whole URL."""
    if "://" not in host:
        return host.lower().replace("[", "").replace("]", "")
    parts = urlsplit(host)
    return f"{parts.hostname or ''}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

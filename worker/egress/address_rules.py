"""Rules of which IP addresses are public, and which hosts the settings allow to be private."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Addresses that `ipaddress` takes for public: of an old relay, and of services in a cloud.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")
)
# RFC 6052 and RFC 8215: an IPv4 address in the last four bytes, reached through a translator.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_TUNNELS: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b:1::/48", "2002::/16", "2001::/32")
)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet.

    If an address embeds an IPv4 address (IPv4-mapped, NAT64), that one decides. Tunnel addresses
    (6to4, Teredo) are not public, because they do not show where a connection ends.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, IPv6Address):
        if any(ip in network for network in _TUNNELS):
            return False
        ip = _embedded(ip)
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


def allowed_hosts(entries: Iterable[str]) -> frozenset[str]:
    """Collect the hosts whose addresses may be private, from settings.

    Args:
        entries: Each ``host`` (any port), ``host:port``, or a URL (its port only).
    """
    return frozenset(_authority(entry) for entry in entries)


def is_allowed(host: str, port: int | None, allowed: frozenset[str]) -> bool:
    """Return whether the allowed hosts include this one, with this port or any port."""
    return bool({host.lower(), f"{host.lower()}:{port}"} & allowed)


def is_private_url(url: str, allowed: frozenset[str]) -> bool:
    """Return whether a URL names localhost, or an address that is not public, and is not allowed.

    No name is resolved: every other name than localhost counts as public.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or default_port(parts.scheme)
    except ValueError:
        return False
    if is_allowed(host, port, allowed):
        return False
    if is_localhost(host):
        return True
    try:
        return not is_public(host)
    except ValueError:
        return False


def is_localhost(name: str) -> bool:
    """Return whether a host name in lower case is localhost, or a name below it."""
    return name == "localhost" or name.endswith(".localhost")


def default_port(scheme: str) -> int:
    """Return the port of a web address that names none."""
    return 443 if scheme == "https" else 80


def _embedded(ip: IPv6Address) -> IPv4Address | IPv6Address:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _authority(entry: str) -> str:
    """Return ``host`` or ``host:port`` of a setting, which may be a whole URL."""
    if "://" not in entry:
        return entry.lower().replace("[", "").replace("]", "")
    parts = urlsplit(entry)
    return f"{parts.hostname or ''}:{parts.port or default_port(parts.scheme)}"

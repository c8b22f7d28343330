"""Reads and checks the variables of the environment for proxies and certificates.

httpx accepts fewer forms of them than other programs do, and fails only at the first request. This
module accepts the usual forms, and reports any other value, with what to do, before a job runs.
"""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx

from worker.egress.address_rules import default_port, is_localhost
from worker.egress.errors import WrongEnvironmentError
from worker.egress.tls import shared_ssl_context

_SCHEMES: Final = ("http", "https", "all")
_PORT: Final = re.compile(r"(?P<host>.+?):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class EnvironmentProblem:
    """A variable of the environment that cannot be used.

    Attributes:
        variable: Its name.
        message: What is wrong with it, and what to do.
        is_fatal: Whether the video API cannot be reached at all.
    """

    variable: str
    message: str
    is_fatal: bool

    def __str__(self) -> str:
        """Return a sentence that names the variable."""
        return f"{self.variable}: {self.message}"


def environment_problems(api_url: str) -> Iterator[EnvironmentProblem]:
    """Check the proxies and certificates that the environment names.

    Args:
        api_url: The address of the video API.
    """
    certificate_problem = _certificate_problem()
    if certificate_problem is not None:
        yield certificate_problem
    used, proxies = _scheme_used(httpx.URL(api_url)), getproxies()
    for scheme in _SCHEMES:
        problem = _proxy_problem(proxies.get(scheme) or "")
        if problem is not None:
            yield EnvironmentProblem(_variable(scheme), problem, is_fatal=scheme == used)


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment requires for an address, if any.

    Raises:
        WrongEnvironmentError: It is not one that can be used.
    """
    scheme = _scheme_used(url)
    if scheme is None:
        return None
    text = getproxies()[scheme]
    problem = _proxy_problem(text)
    if problem is not None:
        raise WrongEnvironmentError(f"{_variable(scheme)}: {problem}")
    proxy = _proxy_url(text)
    context = shared_ssl_context() if proxy.scheme == "https" else None
    return httpx.Proxy(proxy, ssl_context=context)


def tls_context() -> ssl.SSLContext:
    """Return the TLS context that all connections share.

    Raises:
        WrongEnvironmentError: The certificates that the environment names cannot be used.
    """
    problem = _certificate_problem()
    if problem is not None:
        raise WrongEnvironmentError(str(problem))
    return shared_ssl_context()


def _scheme_used(url: httpx.URL) -> str | None:
    """Return the scheme whose proxy is used for an address: its own or "all"; None: no proxy."""
    proxies = getproxies()
    if _is_loopback(url.host) or _is_exempt(url, proxies.get("no")):
        return None
    return next((scheme for scheme in (url.scheme, "all") if proxies.get(scheme)), None)


def _is_loopback(host: str) -> bool:
    host = host.rstrip(".").lower()
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return is_localhost(host)


def _is_exempt(url: httpx.URL, exemptions: str | None) -> bool:
    if exemptions is None:
        return bool(proxy_bypass(url.host))  # the settings of the operating system
    port = url.port or default_port(url.scheme)
    return any(_matches(entry, url.host, port) for entry in re.split(r"[\s,;]+", exemptions))


def _matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names a host: a domain, an address, or a network."""
    entry = entry.strip().lower()
    if "://" in entry:
        entry = entry.partition("://")[2].rstrip("/")
    if entry in ("", "*"):
        return entry == "*"
    host, address = host.rstrip(".").lower(), _address(host)
    if "/" in entry:
        try:
            return address in ipaddress.ip_network(entry.replace("[", "").replace("]", ""), False)
        except (ValueError, TypeError):
            return False
    if _address(entry) is None and (found := _PORT.fullmatch(entry)):
        if int(found["port"]) != port:
            return False
        entry = found["host"]
    if address is not None:
        return _address(entry) == address
    domain = entry.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _proxy_url(text: str) -> httpx.URL:
    text = text.strip()
    return httpx.URL(text if "://" in text else f"http://{text}")


def _proxy_problem(text: str) -> str | None:
    """Return what is wrong with the address of a proxy; None if it can be used."""
    if not text.strip():
        return None
    try:
        url = _proxy_url(text)
    except httpx.InvalidURL:
        return "is not an address. Write http://host:port, or unset it."
    match url.scheme:
        case "http" | "https":
            pass
        case "socks5" | "socks5h":
            if find_spec("socksio") is None:
                return "names a SOCKS proxy, which needs the extra reelqueue[socks]. Install it."
        case "socks":
            return "does not name the version of SOCKS. Write socks5://host:port."
        case _:
            return "is not a proxy that can be used. Write http://, https:// or socks5://host:port."
    return None if url.host else "names no host. Write http://host:port, or unset it."


def _variable(scheme: str) -> str:
    """Return the name of the variable that is set. The one in lower case has precedence."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else name.upper()


def _certificate_problem() -> EnvironmentProblem | None:
    """Return what is wrong with the certificates that the environment names, if anything is."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        try:
            shared_ssl_context()
        except ssl.SSLError:
            problem = "holds no certificate"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        else:
            return None
        message = f"{file} {problem}. Name a file of certificates in PEM, or unset it."
        return EnvironmentProblem("SSL_CERT_FILE", message, is_fatal=True)
    if folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        message = f"{folder} is not a folder. Name one with certificates, or unset it."
        return EnvironmentProblem("SSL_CERT_DIR", message, is_fatal=True)
    return None

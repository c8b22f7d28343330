"""HTTP clients for downloading a clip from the URL that the API names, which may be on any host.

The API's own host is called as usual. Every other host is connected to by an IP address that was
checked to be public, unless the settings name the host (`worker.egress.pinned_transport`). If the
environment requires a proxy, the proxy resolves names and connects, so that only hosts given as IP
addresses can be checked.
"""

import ipaddress
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import httpx

from worker.egress.address_rules import allowed_hosts, is_allowed, is_public
from worker.egress.errors import WrongEnvironmentError
from worker.egress.pinned_transport import ForbiddenHostError, PinnedBackend, PinnedTransport
from worker.egress.proxies import proxy_for
from worker.egress.tls import shared_ssl_context
from worker.nemo.errors import Call, Unreachable


class DownloadClients:
    """Chooses the HTTP client for each address during the download of one clip.

    Args:
        http: The client for the API's own host; stays open.
        api_url: Base URL of the API, whose host is allowed on any port.
        private_hosts: Further hosts, as ``host`` or ``host:port``, that may be private.
        seconds: How long the download may take in total, from now.
    """

    def __init__(
        self, http: httpx.Client, *, api_url: str, private_hosts: Iterable[str], seconds: float
    ) -> None:
        self._http = http
        self._api_host = httpx.URL(api_url).host
        self._allowed = allowed_hosts((*private_hosts, self._api_host))
        self._backend = PinnedBackend(self._allowed, seconds)

    def client_for(self, url: httpx.URL) -> AbstractContextManager[httpx.Client]:
        """Return the client for a URL as a context manager, which closes all but the API's own.

        Raises:
            ForbiddenHostError: A proxy would connect to an address that is not public.
            Unreachable: The environment requires a proxy that cannot be used.
        """
        if url.host == self._api_host:
            return nullcontext(self._http)
        timeout = self._http.timeout
        try:
            proxy = proxy_for(url)
        except WrongEnvironmentError as error:
            raise Unreachable(Call.DOWNLOAD, str(error)) from None
        if proxy is None:
            return httpx.Client(transport=PinnedTransport(self._backend), timeout=timeout)
        if not is_allowed(url.host, url.port, self._allowed) and not _may_be_public(url):
            raise ForbiddenHostError(url.host, url.host)
        return httpx.Client(
            proxy=proxy, trust_env=False, verify=shared_ssl_context(), timeout=timeout
        )


def _may_be_public(url: httpx.URL) -> bool:
    try:
        ipaddress.ip_address(url.host)
    except ValueError:
        return True  # Only the proxy knows what a name resolves to.
    return is_public(url.host)

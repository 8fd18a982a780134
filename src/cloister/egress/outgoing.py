"""Requests of Cloister's own to addresses that users name: looked up once, judged, and dialled as judged.

Behind a company's proxy they are judged before it hears of them, and it is asked by name, as of sandboxes' requests.
"""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import anyio
import httpcore

from cloister.dialling import Find, JudgedBackend
from cloister.errors import CloisterError, DeniedError, UnreachableError, UsageError
from cloister.model.network import parse_host
from cloister.model.upstreams import UpstreamProxy, Upstreams, is_never_public
from cloister.protocols import WebhookSender

ANSWER_SECONDS = 15.0
LONGEST_URL = 2048

_PORTS = {"http": 80, "https": 443}


class GuardedSender:
    """`WebhookSender` that dials nothing but what `find` allows, or has the proxy dial that lies on the way."""

    def __init__(
        self,
        find: Find,
        tls: ssl.SSLContext | None = None,
        *,
        upstreams: Upstreams | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._find = find
        self._upstreams = upstreams or Upstreams()
        self._tls = tls
        self._answer_seconds = answer_seconds

    async def check(self, url: str) -> None:
        """See `WebhookSender`. A name that nobody knows at the moment may be known later."""
        parts = _read(url)
        assert parts.hostname is not None, "it was read"
        try:
            await self._find(parts.hostname, _port_of(parts))
        except DeniedError:
            raise
        except CloisterError:
            return

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `WebhookSender`."""
        parts = _read(url)
        try:
            with anyio.fail_after(self._answer_seconds):
                async with (
                    await self._way_to(parts) as pool,
                    pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
                ):
                    if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                        raise UnreachableError("the proxy on the way wants other credentials (407)")
                    return response.status
        except TimeoutError as error:
            raise UnreachableError(f"no answer within {self._answer_seconds:g} s") from error
        except httpcore.UnsupportedProtocol as error:
            raise UsageError(str(error)) from error
        except httpcore.ProxyError as error:
            raise UnreachableError(f"the proxy on the way does not lead there: {error}") from error
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise UnreachableError(str(error) or type(error).__name__) from error

    async def _way_to(self, parts: SplitResult) -> httpcore.AsyncConnectionPool:
        assert parts.hostname is not None, "it was read"
        tls = self._tls or ssl.create_default_context()
        proxy = self._upstreams.proxy_for(parts.hostname, _port_of(parts))
        if proxy is None:
            return httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=JudgedBackend(self._find))
        await self._judge_for_proxy(parts.hostname, _port_of(parts))
        return httpcore.AsyncHTTPProxy(f"http://{proxy}", proxy_headers=_credentials(proxy), ssl_context=tls)

    async def _judge_for_proxy(self, host: str, port: int) -> None:
        """Refuse what `find` refuses; a name that only the proxy can look up is left to it, as for sandboxes."""
        try:
            await self._find(host, port)
        except DeniedError:
            raise
        except CloisterError:
            if is_never_public(host):
                raise


def _credentials(proxy: UpstreamProxy) -> list[tuple[bytes, bytes]]:
    value = proxy.authorization
    return [] if value is None else [(b"Proxy-Authorization", value.reveal().encode())]


def _read(url: str) -> SplitResult:
    """Return the parts of an address that may be one. UsageError."""
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST_URL:
        raise UsageError(f"a webhook's address has at most {LONGEST_URL} characters, without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"the webhook's address cannot be read: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise UsageError("a webhook's address is an http or https URL")
    if "@" in parts.netloc or parts.fragment or "\\" in url:
        raise UsageError("a webhook's address has no user, password or fragment")
    _check_host(parts.hostname)
    return parts


def _check_host(host: str) -> None:
    with suppress(ValueError):
        ip_address(host)
        return
    try:
        parse_host(host)
    except ValueError as error:
        raise UsageError(f"the webhook's address names no host: {error}") from error


def _port_of(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _conforms(sender: GuardedSender) -> WebhookSender:
    return sender

"""How a request arrived: through a proxy of ours or not, and under which name; before anything of it is believed."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from cloister.api.problem_answers import http_problem_response

_FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded")

Network = IPv4Network | IPv6Network


class Arrival:
    """An ASGI application in front of another, which gives that the address, scheme and host that a browser used.

    Only a proxy at one of the addresses `proxies` is asked what those were; what anybody else says of it is taken away.
    With `proxied_only`, nobody else reaches the application, except from this machine.
    `names` are those under which it is reached; None is any. Its addresses and `localhost` are always among them: a
    page that wants to reach us under a name of its own (DNS rebinding) has to have one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        proxies: Sequence[Network] = (),
        proxied_only: bool = False,
        names: set[str] | None = None,
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._proxied_only = proxied_only
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": list(scope["headers"])}
        peer = _address(scope["client"][0]) if scope.get("client") else None
        if self._is_proxy(peer):
            self._believe(scope)
        elif self._proxied_only and not (peer and peer.is_loopback):
            await http_problem_response(403, "this server is reached through its proxy")(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        for name in _FORWARDED:
            del headers[name]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            told = "this server is not called that; if it is, set public_url in its settings"
            await http_problem_response(421, told)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_proxy(self, peer: IPv4Address | IPv6Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._proxies)

    def _believe(self, scope: Scope) -> None:
        headers = MutableHeaders(scope=scope)
        hops = [hop.strip() for value in headers.getlist("x-forwarded-for") for hop in value.split(",")]
        while hops and self._is_proxy(_address(hops[-1])) and len(hops) > 1:
            hops.pop()  # what stands to the left was said by who came before, which may be anybody
        if hops and (came_from := _address(hops[-1])) is not None:
            scope["client"] = (str(came_from), 0)
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        host = headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
        if host:
            headers["host"] = host

    def _is_ours(self, host: str) -> bool:
        try:
            url = urlsplit(f"//{host}")
            name, _ = url.hostname or "", url.port
        except ValueError:
            return False
        if not name or url.netloc != host or "@" in host:
            return False
        return self._names is None or name == "localhost" or name in self._names or _address(name) is not None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is; one that is IPv4 in IPv6 as IPv4."""
    try:
        found = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found

"""Where the requests of one connection go, and the connection to there that is kept for the next of them."""

from cloister.egress.exchange import Upstream
from cloister.egress.flow import Flow
from cloister.egress.gate import Gate
from cloister.egress.gateway import HTTP_PORT, HTTPS_PORT
from cloister.egress.request import Authority
from cloister.egress.upstream import reach_securely


class Route:
    """The way to the upstreams of one connection's requests."""

    def __init__(
        self,
        gate: Gate,
        *,
        inside: Authority | None = None,
        secure: bool = False,
        kept_alive: bool = False,
        trusted: bool = False,
    ) -> None:
        """`inside` is where a tunnel leads; `secure` when requests go on over TLS.

        `trusted` when the operator has them go without, to an address of his.

        With `kept_alive`, a connection to the same authority takes one request after the other.
        """
        self.inside = inside
        self.secure = secure
        self.trusted = secure or trusted
        """Whether secrets may go this way."""
        self._kept_alive = kept_alive
        self._gate = gate
        self._kept: Upstream | None = None
        self._authority: Authority | None = None

    @property
    def default_port(self) -> int:
        """The port that `Host` may leave out."""
        return HTTPS_PORT if self.secure else HTTP_PORT

    async def connect(self, flow: Flow) -> Upstream:
        """Return a connection for the flow, once it was judged and reported. AnswerError, as of `Gate.reach`."""
        if self._kept is not None and flow.authority == self._authority and self._kept.renew():
            await self._gate.admit(flow)
            return self._kept
        self.close()
        if self.secure:
            self._kept = Upstream(await reach_securely(self._gate, flow), kept_alive=self._kept_alive)
        else:
            proxy = self._gate.proxy_for(flow)
            reached = await self._gate.reach(flow, forwarded=True)
            self._kept = Upstream(reached, kept_alive=self._kept_alive, proxy=proxy)
        self._authority = flow.authority
        return self._kept

    def close(self) -> None:
        """Close what is kept. Harmless twice."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

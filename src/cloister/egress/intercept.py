"""Reading HTTPS: TLS with the sandbox under a certificate of ours, before TLS with the server under its own.

Only where a policy limits methods or asks for a full audit, or a secret is to be added; else tunnels stay closed
to us, and only the server's name is compared.
"""

from cloister.egress.authority import Authority as CertificateAuthority
from cloister.egress.authority import Leaves
from cloister.egress.request import Authority
from cloister.egress.stream import Stream
from cloister.egress.tls import TlsStream


class Interception:
    """Our side of TLS towards every sandbox."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._leaves = Leaves(authority)

    async def meet_client(self, client: Stream, authority: Authority, *, seconds: float) -> TlsStream:
        """Be the server that the client wants. OSError or TimeoutError when it does not trust us, or goes."""
        stream = TlsStream(client, self._leaves.context_for(authority.host))
        await stream.shake_hands(seconds=seconds)
        return stream

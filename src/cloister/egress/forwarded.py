"""Plain HTTP that a proxy of the operator's carries: its credentials go to it, and never on to the sandbox."""

from functools import cache
from http import HTTPStatus

import h11

from cloister.egress.exchange import Passing
from cloister.egress.hop import credentials_refused
from cloister.masking import MaskingRedactor
from cloister.model.secret import SecretValue
from cloister.model.upstreams import UpstreamProxy


class Forwarded(Passing):
    """What passes of a plain exchange behind a proxy, and before that what `inner` says of it.

    Proxies quote requests in their error pages, some with the credentials (CVE-2025-62168), so these are masked there.
    """

    def __init__(self, inner: Passing, proxy: UpstreamProxy) -> None:
        self._inner = inner
        self._proxy = proxy
        self._masker: MaskingRedactor | None = None

    def upload(self, data: bytes) -> bytes:
        """Return what may go up by now."""
        return self._inner.upload(data)

    def end_of_upload(self) -> bytes:
        """Return what was held back."""
        return self._inner.end_of_upload()

    def head(self, response: h11.Response) -> h11.Response:
        """Return the response's head. AnswerError when the proxy refuses our credentials: the sandbox has no others."""
        if response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise credentials_refused(self._proxy)
        if response.status_code >= HTTPStatus.BAD_REQUEST and self._proxy.credentials is not None:
            self._masker = _masker(self._proxy).fresh()
            response = self._masked_head(response)
        return self._inner.head(response)

    def download(self, data: bytes) -> bytes:
        """Return what can be shown by now."""
        return self._inner.download(data if self._masker is None else self._masker.feed(data))

    def end_of_download(self) -> bytes:
        """Return what was held back."""
        rest = b"" if self._masker is None else self._inner.download(self._masker.flush())
        return rest + self._inner.end_of_download()

    def client_left(self) -> None:
        """Pass it on."""
        self._inner.client_left()

    def sentence(self, text: str) -> str:
        """Return it masked: the parser quotes what it could not read."""
        return self._inner.sentence(_mask(text.encode(), self._proxy).decode())

    def _masked_head(self, response: h11.Response) -> h11.Response:
        """Without the length, which masking may change."""
        headers = [
            (name, _mask(value, self._proxy))
            for name, value in response.headers.raw_items()
            if name.lower() != b"content-length"
        ]
        reason = _mask(bytes(response.reason), self._proxy)
        return h11.Response(status_code=response.status_code, headers=headers, reason=reason)


def _mask(text: bytes, proxy: UpstreamProxy) -> bytes:
    masker = _masker(proxy).fresh()
    return masker.feed(text) + masker.flush()


@cache
def _masker(proxy: UpstreamProxy) -> MaskingRedactor:
    """One for the password, and for what is sent of it, in all of their forms."""
    if proxy.credentials is None or proxy.authorization is None:
        return MaskingRedactor({})
    _, _, password = proxy.credentials.reveal().partition(":")
    token = proxy.authorization.reveal().removeprefix("Basic ")
    values = {"upstream_proxy": proxy.credentials.reveal(), "password": password, "token": token}
    return MaskingRedactor({name: SecretValue(text) for name, text in values.items()})

"""One plain HTTP request and its response, read by one parser and written anew by the other's rules."""

import asyncio
from http import HTTPStatus

import h11

from cloister.egress.answer import AnswerError
from cloister.egress.gateway import HTTP_PORT
from cloister.egress.hop import authorization_header
from cloister.egress.request import LARGEST_HEAD_BYTES, MalformedError, Request, end_to_end
from cloister.egress.stream import Stream
from cloister.model.upstreams import UpstreamProxy

_CONTENT_LENGTH = b"content-length"


class Passing:
    """What the bytes of an exchange pass on their way: nothing. Each method returns what may go on by now."""

    def upload(self, data: bytes) -> bytes:
        """Part of the request's body."""
        return data

    def end_of_upload(self) -> bytes:
        """What was held back of it."""
        return b""

    def head(self, response: h11.Response) -> h11.Response:
        """The response's head."""
        return response

    def download(self, data: bytes) -> bytes:
        """Part of the response's body."""
        return data

    def sentence(self, text: str) -> str:
        """What is said of a response that was none; it may quote it."""
        return text

    def end_of_download(self) -> bytes:
        """What was held back of it."""
        return b""

    def client_left(self) -> None:
        """The client takes no more of the response."""


PASSING = Passing()


class Upstream:
    """A connection to one authority, for one exchange after the other."""

    def __init__(self, stream: Stream, *, kept_alive: bool = False, proxy: UpstreamProxy | None = None) -> None:
        self.stream = stream
        self.proxy = proxy
        """What is at the other end and takes requests for the authority; None where that is the authority itself."""
        self.kept_alive = kept_alive
        """Whether the far end is asked to keep the connection for a next request."""
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD_BYTES)

    def renew(self) -> bool:
        """Make it ready for a next exchange, or a first one. False when it can take none: the caller closes it."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE and self.kept_alive:
            self.http.start_next_cycle()
        is_idle = self.http.our_state is h11.IDLE and not self.http.trailing_data[0]
        return is_idle and self.stream.is_silent()

    def close(self) -> None:
        """Close the connection at once."""
        self.stream.close()


def upstream_head(
    request: Request, *, default_port: int, kept_alive: bool, proxy: UpstreamProxy | None = None
) -> h11.Request:
    """Return the head that is sent on for a request: one Host, one framing, nothing that was for us alone.

    `Host` leaves the `default_port` of the scheme out. A `proxy` gets the whole address (RFC 9112, 3.2.2).
    """
    headers = [(name, value) for name, value in request.headers if name.lower() != b"host"]
    host = str(request.authority).removesuffix(f":{default_port}")
    headers.insert(0, (b"Host", host.encode()))
    if not kept_alive:
        headers.append((b"Connection", b"close"))
    if request.chunked:
        headers.append((b"Transfer-Encoding", b"chunked"))
    target = request.target
    if proxy is not None:
        target = f"http://{host}{target}"
        headers += authorization_header(proxy)
    return h11.Request(method=request.method, target=target, headers=headers)


class Exchange:
    """Carries one request to an upstream, and the response back, both bodies at once."""

    def __init__(
        self,
        client: Stream,
        near: h11.Connection,
        request: Request,
        upstream: Upstream,
        *,
        silence_seconds: float,
        passing: Passing = PASSING,
        default_port: int = HTTP_PORT,
    ) -> None:
        self._client = client
        self._near = near
        self._request = request
        self._upstream = upstream.stream
        self._far = upstream.http
        self._head = upstream_head(
            request, default_port=default_port, kept_alive=upstream.kept_alive, proxy=upstream.proxy
        )
        self._passing = passing
        self._silence_seconds = silence_seconds
        self._deadline = asyncio.timeout(silence_seconds)
        self.sent_bytes = 0
        """To the upstream, heads included."""
        self.received_bytes = 0
        self.answered = False
        """Whether the client has got the beginning of a response: then nothing else can be said to it."""

    async def carry(self) -> bool:
        """Return whether the client's connection can take another request.

        AnswerError while nothing was answered yet; afterwards ConnectionError, and the client must be reset.
        """
        try:
            async with self._deadline:
                return await self._carry()
        except MalformedError as error:
            if self.answered:
                raise ConnectionAbortedError(str(error)) from error
            raise
        except TimeoutError as error:
            raise self._failure(HTTPStatus.GATEWAY_TIMEOUT, f"was silent for {self._silence_seconds:g} s") from error
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            raise self._failure(HTTPStatus.BAD_GATEWAY, f"did not answer in HTTP/1.1: {error}") from error
        except OSError as error:
            raise self._failure(HTTPStatus.BAD_GATEWAY, f"broke the connection: {error.strerror}") from error

    async def _carry(self) -> bool:
        await self._to_upstream(self._far.send(self._head) or b"")
        if not self._request.has_body:
            await self._upload()  # which has nothing to wait for
            await self._download()
        else:
            upload = asyncio.create_task(self._upload())
            try:
                await self._download(upload)
            finally:
                await _end(upload)
        if self._near.our_state is not h11.DONE or self._near.their_state is not h11.DONE:
            return False
        self._client.unread(self._near.trailing_data[0])
        return True

    async def _upload(self) -> None:
        while True:
            match self._next_of_client():
                case h11.NEED_DATA:
                    if self._near.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                        await self._client.send(self._near.send(go_on) or b"")
                    self._near.receive_data(await self._client.receive())
                case h11.Data(data=data):
                    await self._send_up(self._passing.upload(bytes(data)))
                    self._progress()
                case h11.EndOfMessage():  # its trailers are dropped
                    await self._send_up(self._passing.end_of_upload())
                    await self._to_upstream(self._far.send(h11.EndOfMessage()) or b"")
                    return
                case event:
                    raise MalformedError(f"unexpected {event!r}")

    def _next_of_client(self) -> object:
        try:
            return self._near.next_event()
        except h11.RemoteProtocolError as error:
            raise MalformedError(f"its body is not what its head says: {error}") from error

    async def _download(self, upload: "asyncio.Task[None] | None" = None) -> None:
        """Carry the response. What has come is sent together, before more is waited for."""
        waiting = bytearray()
        while True:
            match self._far.next_event():
                case h11.NEED_DATA:
                    await self._send_down(waiting)
                    data = await self._receive(upload)
                    self.received_bytes += len(data)
                    self._far.receive_data(data)
                    self._progress()
                case h11.InformationalResponse(status_code=status):
                    if status == HTTPStatus.SWITCHING_PROTOCOLS:
                        raise h11.RemoteProtocolError("it changed the protocol")
                case h11.Response() as response:
                    waiting += self._near.send(_response_head(self._passing.head(response))) or b""
                case h11.Data(data=data):
                    waiting += self._shown(self._passing.download(bytes(data)))
                    self._progress()
                case h11.EndOfMessage():
                    waiting += self._shown(self._passing.end_of_download())
                    waiting += self._near.send(h11.EndOfMessage()) or b""
                    await self._send_down(waiting)
                    return
                case event:
                    raise h11.RemoteProtocolError(f"unexpected {event!r}")

    async def _to_upstream(self, data: bytes) -> None:
        await self._upstream.send(data)
        self.sent_bytes += len(data)

    async def _send_up(self, data: bytes) -> None:
        if data:
            await self._to_upstream(self._far.send(h11.Data(data=data)) or b"")

    def _shown(self, data: bytes) -> bytes:
        """Return a piece of the body as the client gets it."""
        return (self._near.send(h11.Data(data=data)) or b"") if data else b""

    async def _send_down(self, waiting: bytearray) -> None:
        """Send what waits, and empty it."""
        if waiting:
            self.answered = True
            try:
                await self._client.send(bytes(waiting))
            except OSError:
                self._passing.client_left()
                raise
            waiting.clear()

    async def _receive(self, upload: "asyncio.Task[None] | None") -> bytes:
        """Return bytes of the upstream, unless the upload fails meanwhile: then its error."""
        if upload is None:
            return await self._upstream.receive()
        if not upload.done():
            reading = asyncio.create_task(self._upstream.receive())
            try:
                await asyncio.wait({reading, upload}, return_when=asyncio.FIRST_COMPLETED)
                if upload.done():
                    upload.result()
                return await reading
            finally:
                reading.cancel()
        _raise_what_matters(upload)
        return await self._upstream.receive()

    def _progress(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._silence_seconds)

    def _failure(self, status: HTTPStatus, what: str) -> Exception:
        if self.answered:
            return ConnectionAbortedError(what)
        return AnswerError(status, self._passing.sentence(f"{self._request.authority} {what}."))


async def _end(upload: "asyncio.Task[None]") -> None:
    """End the upload; how it failed no longer matters, since the client has its answer or will be reset."""
    if not upload.done():
        upload.cancel()
        await asyncio.wait({upload})
    if not upload.cancelled():
        upload.exception()


def _raise_what_matters(upload: "asyncio.Task[None]") -> None:
    """Raise why an upload failed, unless the upstream would read no more: it may have answered nevertheless."""
    error = upload.exception()
    if error is not None and not isinstance(error, OSError):
        raise error


def _response_head(response: h11.Response) -> h11.Response:
    headers = end_to_end(response.headers.raw_items())
    if any(name == b"transfer-encoding" for name, _ in response.headers):
        headers = tuple((name, value) for name, value in headers if name.lower() != _CONTENT_LENGTH)
    return h11.Response(status_code=response.status_code, headers=list(headers), reason=response.reason)

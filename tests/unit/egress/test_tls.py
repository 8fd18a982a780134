"""The end of a connection under TLS."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from cloister.egress import tls
from cloister.egress.authority import Leaves, load_authority
from cloister.egress.stream import Stream
from cloister.egress.tls import TlsStream


async def connected(tmp_path: Path) -> tuple[TlsStream, socket.socket]:
    """Our side as the server, and a client that has shaken hands and reads nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    far.setblocking(False)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="example.com")
    ours = TlsStream(Stream(near), Leaves(load_authority(tmp_path)).context_for("example.com"))
    shaking = asyncio.create_task(ours.shake_hands(seconds=30))
    loop = asyncio.get_running_loop()
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            await loop.sock_sendall(far, outgoing.read())
            incoming.write(await loop.sock_recv(far, 1 << 16))
    await loop.sock_sendall(far, outgoing.read())
    await shaking
    return ours, far


async def test_a_peer_that_takes_nothing_does_not_keep_us_from_ending_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "FAREWELL_SECONDS", 0.2)
    ours, far = await connected(tmp_path)
    with far:
        sending = asyncio.create_task(ours.send(bytes(64 << 20)))
        await asyncio.sleep(0)
        assert ours._sending.locked()
        async with asyncio.timeout(30):
            await ours.close_in_order()
            await asyncio.wait([sending])
        assert isinstance(sending.exception(), OSError)
        far.setblocking(True)
        with pytest.raises(ConnectionResetError):
            while far.recv(1 << 20):
                pass

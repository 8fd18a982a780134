"""Origin servers that keep what they were sent, byte for byte."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[socket.socket, bytes], None]


@dataclass
class Origin:
    """One server: what it was sent per connection, and at which of its addresses."""

    listener: socket.socket
    answer: Answer
    tls: ssl.SSLContext | None = None
    received: list[bytes] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    spoken_to: int = 0
    """How many connections a first byte came through."""

    def start(self) -> "Origin":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __enter__(self) -> "Origin":
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Free the port; a close alone would wait for the next client."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def clear(self) -> None:
        self.received.clear()
        self.reached.clear()
        self.spoken_to = 0

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # the test has closed it
                return
            self.reached.append(connection.getsockname()[0])
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection:
            try:
                # A connection that was reset already would leak in wrap_socket.
                self.spoken_to += len(connection.recv(1, socket.MSG_PEEK))
                stream = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
                with stream:
                    request = read_request(stream)
                    self.received.append(request)
                    if request:
                        self.answer(stream, request)
            except OSError:
                return


def read_request(stream: socket.socket) -> bytes:
    """Return a head and its body, as far as they come."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"content-length: " in lower:
        text = lower.split(b"content-length: ")[1].split(b"\r\n")[0]
        length = int(text) if text.isdigit() else 0
        while len(body) < length and (more := stream.recv(65536)):
            body += more
    elif b"transfer-encoding: chunked" in lower:
        while not body.endswith(b"0\r\n\r\n") and (more := stream.recv(65536)):
            body += more
    return head + b"\r\n\r\n" + body


def answer_by_path(stream: socket.socket, request: bytes) -> None:
    """`/endless` never ends, `/silent` never begins, `/half` breaks off; everything else is greeted."""
    _, _, rest = request.partition(b" ")
    match rest.partition(b" ")[0].decode("latin-1"):
        case "/endless":
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                stream.sendall(b"x" * 65536)
        case "/silent":
            stream.recv(1)
        case "/half":
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        case "/odd":
            stream.sendall(b"SSH-2.0-not-http\r\n\r\n")
        case "/hang-up":
            return
        case "/redirect":
            stream.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://other.org/\r\nContent-Length: 0\r\n\r\n")
        case "/close":
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        case "/switch":
            stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        case _:
            body = b"" if request.startswith(b"HEAD") else b"hello"
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Origin: yes\r\nKeep-Alive: 5\r\n\r\n" + body)


def answer_https(stream: socket.socket, request: bytes) -> None:
    """Answer requests until there are no more; what is no request is sent back."""
    if b"\r\nHost: " not in request:
        answer_with_echo(stream, request)
        return
    while request:
        answer_by_path(stream, request)
        if request.split(b" ")[1] in (b"/half", b"/hang-up"):
            return
        request = read_request(stream)


def answer_with_echo(stream: socket.socket, request: bytes) -> None:
    """Send back all that comes, and end when the client has ended."""
    stream.sendall(request)
    while data := stream.recv(65536):
        stream.sendall(data)


@dataclass(frozen=True)
class Authority:
    """A throwaway authority that vouches for itself."""

    pem: str
    server_context: ssl.SSLContext
    client_context: ssl.SSLContext


def make_authority(directory: Path, names: list[str], *, valid_days: int = 1) -> Authority:
    """Return both sides' contexts for servers of these names, valid from yesterday; for 0 days, until an hour ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a throwaway authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=valid_days) - timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    vouching = directory / "authority.pem"
    vouching.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = directory / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(vouching, secret)
    return Authority(vouching.read_text(), context, ssl.create_default_context(cafile=vouching))

"""Word of tasks to people: a push service of ours that opens what it gets, and what each device is told of."""

import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import anyio
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from standardwebhooks import Webhook as Verifier

from cloister import wiring
from cloister.automation import notifications
from cloister.automation.notifications import MOST_TRIES, Notifications
from cloister.client import Client
from cloister.egress.outgoing import GuardedSender
from cloister.errors import DeniedError, NotFoundError, UsageError
from cloister.model.check import CheckResult
from cloister.model.notification import Occasion
from cloister.model.task import Outcome, Verdict
from cloister.model.token import Role
from cloister.settings import Settings

from ..automation.test_push import open_message, point_of, to_bytes, to_text
from ..cli.conftest import Installation
from .conftest import Machine, Server
from .test_pages import read, send, visitor
from .test_webhooks import PRIVATE, Receiver, hook, until

__all__ = ["hook"]

pytestmark = pytest.mark.anyio

AUTH = b"0123456789abcdef"


@dataclass
class PushService:
    """What was sent to it, and what it answers: the next of these, then 201."""

    certificate: Path
    answers: list[int] = field(default_factory=list)
    got: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def endpoint(self, name: str) -> str:
        return f"https://push.example:{self.port}/send/{name}"

    def device(self, name: str) -> dict[str, str]:
        """What a browser says of its subscription."""
        return {
            "endpoint": self.endpoint(name),
            "p256dh": to_text(point_of(self.key)),
            "auth": to_text(AUTH),
            "label": name,
        }

    def opened(self) -> list[dict[str, str]]:
        """What the browsers show."""
        return [json.loads(open_message(body, self.key, AUTH)) for _, _, body in self.got]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PushService]:
    made = PushService(certificate=_certificate(tmp_path))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.answers.pop(0) if made.answers else 201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        made.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def _certificate(folder: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "push.example")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("push.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    file = folder / "push.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return file


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is due again at once, and that is seen soon."""
    monkeypatch.setattr(notifications, "_pause", lambda _: 0.0)
    monkeypatch.setattr(notifications, "LOOK_SECONDS", 0.02)


def of(server: Server) -> Notifications:
    return server.application.automation.notifications


@pytest.fixture
async def server(machine: Machine, service: PushService) -> AsyncIterator[Server]:
    async with machine.server() as running:
        trust(running, service)
        yield running


def trust(server: Server, service: PushService) -> None:
    """Let the sender find every name on this machine, and believe the service's certificate."""

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    of(server).sender = GuardedSender(here, ssl.create_default_context(cafile=str(service.certificate)))


@asynccontextmanager
async def telling(server: Server) -> AsyncIterator[None]:
    """Tell what is due inside the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(of(server).run)
        yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def somebody(server: Server, name: str, role: Role = Role.MEMBER) -> AsyncIterator[Client]:
    _, text = await server.application.tokens.create(name, role)
    async with Client.connect(server.address, token=text) as client:
        yield client


async def all_told(server: Server) -> None:
    """Wait until nothing is left to be told."""
    with anyio.fail_after(60):
        while await of(server).store.due(datetime.now(UTC) + timedelta(days=2), limit=1):  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_a_device_is_told_that_a_task_is_over_and_only_it_can_read_that(
    server: Server, service: PushService, installation: Installation
) -> None:
    async with somebody(server, "ann") as ann, telling(server):
        made = await ann.add_device(**service.device("one"))
        task = await ann.submit(server.request(prompt="# Fix <b>it</b>\u202e\n\nthe details are nobody's business"))
        await ann.wait(task.id)
        await until(lambda: service.got)
        await all_told(server)
        [mine] = await ann.notifications()
    [(path, headers, body)] = service.got
    assert (path, headers["content-encoding"], headers["ttl"]) == ("/send/one", "aes128gcm", "86400")
    [told] = service.opened()
    assert told["title"] == "Succeeded: Fix <b>it</b>\ufffd"
    assert (told["body"], told["path"]) == ("project · succeeded · +1 -1", f"/tasks/{task.id}")
    assert b"Fix" not in body
    said = dict(part.strip().split("=", 1) for part in headers["authorization"].removeprefix("vapid ").split(","))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), to_bytes(said["k"]))
    assert jwt.decode(said["t"], key, algorithms=["ES256"], audience=f"https://push.example:{service.port}")
    assert (mine.id, mine.error, mine.sent_at is not None) == (made.id, "", True)
    for file in installation.state.glob("cloister.db*"):  # where it is, and its keys, are sealed
        assert b"push.example" not in file.read_bytes()
        assert to_text(AUTH).encode() not in file.read_bytes()


async def test_each_device_is_told_of_what_was_chosen_for_it(server: Server, service: PushService) -> None:
    async with somebody(server, "ann") as ann, somebody(server, "ben") as ben, telling(server):
        await ann.add_device(**service.device("own"))
        everybody = await ann.add_device(**service.device("all"), everybody=True)
        quiet = await ann.add_device(**service.device("quiet"), everybody=True)
        await ann.choose_notifications(quiet.id, [Occasion.CHECK_FAILED], everybody=True)
        task = await ben.submit(server.request())
        await ben.wait(task.id)
        await all_told(server)
        assert [path for path, _, _ in service.got] == ["/send/all"]
        with pytest.raises(NotFoundError):  # of somebody else
            await ben.choose_notifications(everybody.id, [])
        with pytest.raises(NotFoundError):
            await ben.remove_receiver(everybody.id)
        assert await ben.notifications() == []
        await ann.remove_receiver(everybody.id)
        assert await of(server).vault.find("\x01notifications", f"RECEIVER_{everybody.id.upper()}") is None


CHECKS = (CheckResult(name="tests", ok=False, status=1, seconds=1),)
ENDS = {
    "a failed check": (
        Outcome(verdict=Verdict.SUCCEEDED, message="Done.", checks=CHECKS),
        "Check failed: fix the test",
    ),
    "a question": (Outcome(verdict=Verdict.SUCCEEDED, message="Done.\n\nWhich one is meant?\n"), "Asks: fix the test"),
    "neither": (Outcome(verdict=Verdict.FAILED, reason="x", message="?"), "Failed: fix the test"),
}


@pytest.mark.parametrize(("outcome", "title"), ENDS.values(), ids=ENDS)
async def test_what_somebody_is_told_of_says_what_it_is(
    machine: Machine, service: PushService, outcome: Outcome, title: str
) -> None:
    async with machine.server(works=False) as server, somebody(server, "ann") as ann:
        trust(server, service)
        only = await ann.add_device(**service.device("asked"))
        await ann.choose_notifications(only.id, [Occasion.CHECK_FAILED, Occasion.ASKS])
        await ann.add_device(**service.device("all"))
        await ann.submit(server.request())
        queue = server.application.intake.queue
        attempt = await queue.claim()
        assert attempt is not None
        await queue.finish(attempt, outcome)
        async with telling(server):
            await all_told(server)
    by_path = {path: told["title"] for (path, _, _), told in zip(service.got, service.opened(), strict=True)}
    asked = {} if outcome.verdict is Verdict.FAILED else {"/send/asked": title}
    assert by_path == {"/send/all": title, **asked}


async def test_who_is_let_in_no_more_is_told_nothing_more(server: Server, service: PushService) -> None:
    about, text = await server.application.tokens.create("ann", Role.MEMBER)
    async with Client.connect(server.address, token=text) as ann:
        await ann.add_device(**service.device("one"), everybody=True)
        await server.application.tokens.revoke(about.id)
    async with server.as_owner() as owner, telling(server):
        await owner.wait((await owner.submit(server.request())).id)
        await all_told(server)
    assert service.got == []
    assert await of(server).store.list() == []


@pytest.mark.parametrize("status", [404, 410])
async def test_a_device_that_is_gone_is_forgotten(server: Server, service: PushService, status: int) -> None:
    service.answers = [status]
    async with somebody(server, "ann") as ann, telling(server):
        made = await ann.add_device(**service.device("one"))
        await ann.wait((await ann.submit(server.request())).id)
        await until(lambda: service.got)
        await all_told(server)
        assert await ann.notifications() == []
    assert await of(server).vault.find("\x01notifications", f"RECEIVER_{made.id.upper()}") is None


async def test_what_is_not_taken_is_tried_again_and_given_up(server: Server, service: PushService) -> None:
    service.answers = [500] * MOST_TRIES
    async with somebody(server, "ann") as ann, telling(server):
        await ann.add_device(**service.device("one"))
        await ann.wait((await ann.submit(server.request())).id)
        await until(lambda: len(service.got) == MOST_TRIES)
        await all_told(server)
        [mine] = await ann.notifications()
        assert (mine.error, mine.sent_at) == ("status 500", None)
        service.answers = [503]
        await ann.wait((await ann.submit(server.request())).id)
        await until(lambda: len(service.got) == MOST_TRIES + 2)
        await all_told(server)
        [mine] = await ann.notifications()
        assert (mine.error, mine.sent_at is not None) == ("", True)


async def test_nothing_is_sent_where_nobody_may_be_sent(server: Server, service: PushService, tmp_path: Path) -> None:
    rules = wiring.reach_of(Settings(state=tmp_path / "other"))
    guarded = of(server)
    guarded.sender = GuardedSender(rules.find)
    for url in (*PRIVATE, "http://push.example/plain"):
        fields = {**service.device("x"), "endpoint": url.replace("http:", "https:", 1)}
        if url == "http://push.example/plain":
            fields["endpoint"] = url
        async with somebody(server, "ann") as ann:
            with pytest.raises((UsageError, DeniedError)):
                await ann.add_device(**fields)
            if not url.endswith("/plain"):
                with pytest.raises((UsageError, DeniedError)):
                    await ann.add_notification_webhook(url)
    assert await guarded.store.list() == []


async def test_a_device_is_its_newest_owners_and_each_may_have_so_many(
    server: Server, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MOST_OF_ONE", 2)
    async with somebody(server, "ann") as ann, somebody(server, "ben", Role.VIEWER) as ben:
        await ann.add_device(**service.device("one"))
        await ann.add_device(**service.device("one"))
        assert len(await ann.notifications()) == 1
        await ben.add_device(**service.device("one"))
        assert await ann.notifications() == []
        await ben.add_device(**service.device("two"))
        with pytest.raises(UsageError, match="too many"):
            await ben.add_device(**service.device("three"))
        with pytest.raises(DeniedError):
            await ben.add_notification_webhook("https://hooks.example/x")


async def test_a_device_whose_browser_changes_its_address_keeps_what_was_chosen(
    server: Server, service: PushService
) -> None:
    async with somebody(server, "ann") as ann, somebody(server, "ben") as ben:
        one = await ann.add_device(**service.device("one"), everybody=True)
        await ann.choose_notifications(one.id, [Occasion.ASKS], everybody=True)
        await ben.add_device(**service.device("his"), replaces=service.endpoint("one"))
        assert [it.id for it in await ann.notifications()] == [one.id], "nobody takes the place of another's"
        two = await ann.add_device(**service.device("two"), replaces=service.endpoint("one"))
        [mine] = await ann.notifications()
        assert (mine.id, mine.label, mine.occasions, mine.everybody) == (two.id, "one", [Occasion.ASKS], True)
    assert await of(server).vault.find("\x01notifications", f"RECEIVER_{one.id.upper()}") is None


async def test_a_person_has_a_signed_webhook_of_their_own(server: Server, hook: Receiver) -> None:
    async with somebody(server, "ann") as ann, telling(server):
        made, secret = await ann.add_notification_webhook(hook.url, [Occasion.FINISHED])
        assert made.label == "hooks.example"
        assert await ann.test_notification(made.id) == ""
        task = await ann.submit(server.request())
        await ann.wait(task.id)
        await until(lambda: len(hook.posted) == 2)
        await all_told(server)
    for _, headers, body in hook.posted:
        Verifier(secret).verify(body, headers)
    test, told = hook.bodies()
    assert test["data"]["occasion"] is None
    assert (told["data"]["occasion"], told["data"]["path"]) == ("finished", f"/tasks/{task.id}")


async def test_the_page_adds_tests_chooses_and_removes_without_scripts(server: Server, hook: Receiver) -> None:
    async with visitor(server, Role.MEMBER) as http:
        assert "Nothing is told to you yet." in read(await http.get("/notifications")).text
        wrong = await send(http, "/notifications/webhooks", url="ftp://x.example")
        assert wrong.status_code == 422
        made = await send(http, "/notifications/webhooks", url=hook.url, occasions="finished", everybody="true")
        assert len(set(re.findall(r"whsec_[\w+/=]+", made.text))) == 1
        shown = await http.get("/notifications")
        assert "whsec_" not in shown.text
        [receiver] = await of(server).store.list()
        assert (receiver.occasions, receiver.everybody) == ((Occasion.FINISHED,), True)
        assert "was taken for hooks.example" in read(await send(http, "/notifications/test", receiver=receiver.id)).text
        hook.answers = [(500, {})]
        failed = read(await send(http, "/notifications/test", receiver=receiver.id)).text
        assert "was not taken for hooks.example: status 500" in failed
        await send(http, "/notifications/choose", receiver=receiver.id, occasions="asks", everybody="false")
        [receiver] = await of(server).store.list()
        assert (receiver.occasions, receiver.everybody) == ((Occasion.ASKS,), False)
        async with visitor(server, Role.ADMIN) as other:
            assert (await send(other, "/notifications/remove", receiver=receiver.id)).status_code == 404
        gone = read(await send(http, "/notifications/remove", receiver=receiver.id)).text
        assert "Nothing is told to you yet." in gone


async def test_every_browser_of_a_person_shows_the_same_devices(server: Server, service: PushService) -> None:
    _, text = await server.application.tokens.create("ann", Role.VIEWER)
    async with Client.connect(server.address, token=text) as ann:
        await ann.add_device(**service.device("telephone"))
    async with visitor(server, Role.VIEWER) as http:
        assert "telephone" not in read(await http.get("/notifications")).text, "of another token"
        await http.post("/login", data={"token": text})
        assert "telephone" in read(await http.get("/notifications")).text


async def test_what_makes_it_an_application_is_there_without_a_session(server: Server) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=server.address) as http:
        manifest = (await http.get("/manifest.webmanifest")).json()
        assert (manifest["start_url"], manifest["display"]) == ("/", "standalone")
        for icon in manifest["icons"]:
            found = await http.get(icon["src"])
            assert (found.status_code, found.content[:4]) == (200, b"\x89PNG")
        worker = await http.get("/service-worker.js")
        assert (worker.status_code, worker.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        assert "connect-src 'self'" in worker.headers["Content-Security-Policy"]

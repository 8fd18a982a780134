"""Messages to a real receiver: signed, each until it is taken, and never to where nobody may be sent."""

import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import anyio
import anyio.to_thread
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from cloister import wiring
from cloister.automation import webhooks
from cloister.automation.webhooks import MOST_TRIES, Webhooks
from cloister.egress.outgoing import GuardedSender
from cloister.errors import DeniedError, NotFoundError, UsageError
from cloister.model.webhook import Delivery, Webhook
from cloister.settings import Settings

from ..cli.conftest import Installation
from .conftest import Server

pytestmark = pytest.mark.anyio


@dataclass
class Receiver:
    """What was posted to it, and what it answers: the next of these, then 204."""

    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    posted: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    may_answer: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http://hooks.example:{self.port}/cloister?key=1"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.posted]


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.posted.append((self.path, dict(self.headers), body))
            status, headers = made.answers.pop(0) if made.answers else (204, {})
            made.may_answer.wait(60)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        made.port = server.server_port
        try:
            yield made
        finally:
            made.may_answer.set()
            server.shutdown()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is due again at once, and that is seen soon."""
    monkeypatch.setattr(webhooks, "_pause", lambda _: 0.0)
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.02)


def of(server: Server) -> Webhooks:
    return server.application.automation.webhooks


@asynccontextmanager
async def sending(server: Server) -> AsyncIterator[None]:
    """Send messages inside the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(of(server).run)
        yield
        group.cancel_scope.cancel()


async def until(is_so: Callable[[], Any]) -> None:
    with anyio.fail_after(60):
        while not is_so():  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def log_when(server: Server, webhook: Webhook, is_so: Callable[[list[Delivery]], bool]) -> list[Delivery]:
    """Its deliveries, once they are as they shall be."""
    with anyio.fail_after(60):
        while not is_so(found := list(await of(server).deliveries(webhook.id, limit=200))):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return found


async def test_what_was_chosen_arrives_signed_and_as_the_api_tells_it(
    server: Server, hook: Receiver, installation: Installation
) -> None:
    async with server.as_owner() as owner, sending(server):
        made, secret = await owner.create_webhook(hook.url, ["task_finished", "task_accepted"])
        task = await owner.submit(server.request())
        await owner.wait(task.id)
        await until(lambda: len(hook.posted) == 2)
        told = [event async for event in owner.events(task.id)]
    by_type = {body["type"]: body for body in hook.bodies()}
    assert set(by_type) == {"task_accepted", "task_finished"} == set(made.events)
    data = by_type["task_finished"]["data"]
    assert (data["task"], data["seq"], data["verdict"]) == (task.id, told[-1].seq, "succeeded")
    assert by_type["task_finished"]["timestamp"] == told[-1].at.isoformat()
    for path, headers, body in hook.posted:
        assert (path, headers["Content-Type"]) == ("/cloister?key=1", "application/json")
        Verifier(secret).verify(body, headers)
        for wrong in (body.replace(b"task", b"tusk", 1), body + b" "):
            with pytest.raises(WebhookVerificationError):
                Verifier(secret).verify(wrong, headers)
    for file in installation.state.glob("cloister.db*"):
        assert secret.removeprefix("whsec_").encode() not in file.read_bytes()


async def test_what_happened_while_nobody_sent_is_sent_later(server: Server, hook: Receiver) -> None:
    async with server.as_owner() as owner:
        made, _ = await owner.create_webhook(hook.url, ["task_finished"])
        task = await owner.submit(server.request())
        await owner.wait(task.id)
        assert [it.next_at is not None for it in await owner.webhook_deliveries(made.id)] == [True]
        assert hook.posted == []
        async with sending(server):
            await until(lambda: hook.posted)
        assert hook.bodies()[0]["data"]["task"] == task.id


async def test_a_receiver_that_fails_gets_it_again_under_the_same_id(server: Server, hook: Receiver) -> None:
    hook.answers = [(500, {}), (503, {})]
    async with server.as_owner() as owner, sending(server):
        made, _ = await owner.create_webhook(hook.url, ["task_accepted"])
        await owner.submit(server.request())
        (delivery,) = await log_when(server, made, lambda log: any(it.delivered_at for it in log))
    assert (delivery.tries, delivery.status, delivery.error) == (3, 204, "")
    assert [headers["webhook-id"] for _, headers, _ in hook.posted] == [delivery.id] * 3


async def test_one_that_always_fails_is_given_up_and_can_be_sent_again(server: Server, hook: Receiver) -> None:
    hook.answers = [(500, {})] * MOST_TRIES
    async with server.as_owner() as owner, sending(server):
        made, _ = await owner.create_webhook(hook.url, ["task_accepted"])
        await owner.submit(server.request())
        (delivery,) = await log_when(server, made, lambda log: any(it.next_at is None for it in log))
        assert (delivery.tries, delivery.error, len(hook.posted)) == (MOST_TRIES, "status 500", MOST_TRIES)
        assert (await owner.resend_delivery(delivery.id)).id == delivery.id
        await log_when(server, made, lambda log: any(it.delivered_at for it in log))
    assert len({headers["webhook-id"] for _, headers, _ in hook.posted}) == 1


async def test_a_slow_receiver_keeps_nobody_waiting(server: Server, hook: Receiver) -> None:
    with receiver() as slow:
        slow.may_answer.clear()
        async with server.as_owner() as owner, sending(server):
            for url in (slow.url, hook.url):
                await owner.create_webhook(url, ["task_accepted"])
            for _ in range(webhooks.MOST_AT_ONCE_EACH + 2):
                await owner.submit(server.request())
            await until(lambda: len(hook.posted) == webhooks.MOST_AT_ONCE_EACH + 2)
            assert len(slow.posted) == webhooks.MOST_AT_ONCE_EACH, "no more at once to one that does not answer"
            slow.may_answer.set()
            await until(lambda: len(slow.posted) == webhooks.MOST_AT_ONCE_EACH + 2)


async def test_one_that_never_answers_is_told_of(server: Server, hook: Receiver) -> None:
    hook.may_answer.clear()

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    patient = dataclasses.replace(of(server), sender=GuardedSender(here, answer_seconds=0.2))
    made, _ = await patient.create(hook.url, ["task_accepted"], created_by="ann")
    sent = await patient.test(made.id)
    assert (sent.delivered_at, sent.error) == (None, "no answer within 0.2 s")
    hook.may_answer.set()


async def test_a_redirect_is_never_followed(server: Server, hook: Receiver) -> None:
    for place in ("http://169.254.169.254/latest/meta-data", f"http://hooks.example:{hook.port}/elsewhere"):
        hook.answers = [(307, {"Location": place})]
        made, _ = await of(server).create(hook.url, ["task_accepted"], created_by="ann")
        sent = await of(server).test(made.id)
        assert (sent.status, sent.delivered_at, sent.error) == (307, None, "a redirect, which is not followed")
    assert [path for path, _, _ in hook.posted] == ["/cloister?key=1"] * 2


PRIVATE = (
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::1]:8450/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "https://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[fd00:ec2::254]/",
    "http://localhost/",
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "http://user:password@hooks.example/",
    "http://hooks.example\\@127.0.0.1/",
    "http://hooks.example/#fragment",
    "http:///path",
    "http://a_b.example/",
    "http://h\u00f6oks.example/",
    "http://hooks.example/ HTTP/1.1\r\nX: y",
    "",
)


async def test_no_message_goes_where_nobody_may_be_sent(server: Server, tmp_path: Any, hook: Receiver) -> None:
    rules = wiring.reach_of(Settings(state=tmp_path / "other"))
    guarded = dataclasses.replace(of(server), sender=GuardedSender(rules.find))
    for url in PRIVATE:
        with pytest.raises((UsageError, DeniedError)):
            await guarded.create(url, ["task_accepted"], created_by="ann")
    assert await of(server).list() == []


async def test_a_name_that_leads_elsewhere_later_is_refused_then(server: Server, hook: Receiver, tmp_path: Any) -> None:
    """Rebinding: what was public when the webhook was made is loopback when it is sent."""
    rules = wiring.reach_of(Settings(state=tmp_path / "other"))
    answers = iter(["203.0.113.7"])

    async def look_up(host: str, port: int) -> list[Any]:
        from ipaddress import ip_address

        return [ip_address(next(answers, "127.0.0.1"))]

    def judge(address: Any) -> str | None:
        return None if str(address) == "203.0.113.7" else rules.classify(address)

    rebound = dataclasses.replace(rules, look_up=look_up, classify=judge)
    guarded = dataclasses.replace(of(server), sender=GuardedSender(rebound.find))
    made, _ = await guarded.create(hook.url, ["task_accepted"], created_by="ann")
    sent = await guarded.test(made.id)
    assert sent.delivered_at is None and "loopback" in sent.error
    assert hook.posted == []
    twin = dataclasses.replace(guarded, sender=of(server).sender)
    assert (await twin.test(made.id)).delivered_at is not None, "without the rule it would have arrived"
    assert len(hook.posted) == 1


async def test_a_sender_that_was_killed_leaves_its_message_to_the_next(server: Server, hook: Receiver) -> None:
    async with server.as_owner() as owner:
        await owner.create_webhook(hook.url, ["task_accepted"])
        await owner.submit(server.request())
    store, now = of(server).store, datetime.now(UTC)
    (due,) = await store.due(now, limit=10)
    until_ = now + timedelta(seconds=webhooks.CLAIM_SECONDS)
    claims = [await store.claim(due.delivery, until_) for _ in range(2)]
    assert claims == [True, False], "one of several sends it"
    assert await store.due(now + timedelta(seconds=1), limit=10) == []
    later = dataclasses.replace(of(server), now=lambda: until_)
    async with anyio.create_task_group() as group:
        await later.send_due(group)
    assert [headers["webhook-id"] for _, headers, _ in hook.posted] == [due.delivery.id]
    assert await store.due(until_ + timedelta(days=1), limit=10) == []


async def test_a_rotated_secret_and_the_former_one_hold_for_a_day(server: Server, hook: Receiver) -> None:
    made, former = await of(server).create(hook.url, ["task_accepted"], created_by="ann")
    secret = await of(server).rotate(made.id)
    await of(server).test(made.id)
    await dataclasses.replace(of(server), now=lambda: datetime.now(UTC) + timedelta(days=1, minutes=1)).test(made.id)
    (_, first, body), (_, _, _) = hook.posted
    for valid in (former, secret):
        Verifier(valid).verify(body, first)
    signatures = [len(headers["webhook-signature"].split()) for _, headers, _ in hook.posted]
    assert signatures == [2, 1]
    assert former != secret


async def test_a_receiver_that_is_gone_pauses_its_webhook(server: Server, hook: Receiver) -> None:
    hook.answers = [(410, {})]
    async with server.as_owner() as owner, sending(server):
        made, _ = await owner.create_webhook(hook.url, ["task_accepted"])
        await owner.submit(server.request())
        with anyio.fail_after(60):
            while not (await of(server).get(made.id)).paused:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        await owner.submit(server.request())
        (paused,) = await owner.webhooks()
        assert "gone" in paused.reason
        assert len(hook.posted) == 1
        await owner.pause_webhook(made.id, paused=False)
        await until(lambda: len(hook.posted) == 2)


async def test_what_is_removed_leaves_nothing(server: Server, hook: Receiver) -> None:
    made, _ = await of(server).create(hook.url, ["task_accepted"], created_by="ann")
    await of(server).rotate(made.id)
    await of(server).test(made.id)
    await of(server).remove(made.id)
    with sqlite3.connect(server.application.settings.state / "cloister.db") as connection:
        for table in ("webhooks", "webhook_deliveries", "secrets"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()
    for call in (of(server).test, of(server).rotate, of(server).remove):
        with pytest.raises(NotFoundError):
            await call(made.id)


@pytest.mark.parametrize("events", [[], ["output"], ["task_finished", "nothing"]])
async def test_what_cannot_be_told_of_is_refused(server: Server, events: list[str], hook: Receiver) -> None:
    async with server.as_owner() as owner:
        with pytest.raises(UsageError, match="to be told of"):
            await owner.create_webhook(hook.url, events)


async def test_the_commands(server: Server, hook: Receiver, installation: Installation) -> None:
    async def run(*arguments: str, code: int = 0) -> str:
        done = await anyio.to_thread.run_sync(installation.run, "webhook", *arguments)
        assert done.exit_code == code, done.output
        return done.output

    said = await run("create", hook.url, "--event", "task_finished")
    assert "whsec_" in said
    id = said.split()[1]
    assert hook.url in await run("list")
    assert "delivered" in await run("test", id)
    hook.answers = [(500, {})]
    assert "status 500" in await run("test", id, code=1)
    assert "webhook_test" in await run("deliveries", id)
    assert (await run("rotate", id)).startswith("whsec_")
    for command in ("pause", "resume", "rm"):
        await run(command, id)
    assert await run("list") == ""

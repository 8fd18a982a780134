"""`/webhooks/github`: nothing is taken that GitHub did not sign, and everything once."""

import json
import socket
from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest

from cloister.api import forge_webhook
from cloister.api.forge_webhook import MOST_WEBHOOK_BYTES
from cloister.model.token import Role
from cloister.telemetry.instruments import open_instruments

from ..triggers.deliveries import SECRET, headers_of, signature_of
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio
BODY = json.dumps({"action": "created", "comment": {"body": "é"}}, ensure_ascii=False).encode()
ID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


@pytest.fixture
async def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    async with machine.server(works=False, github={"webhook_secret": SECRET}) as running:
        yield running


async def post(server: Server, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(f"{server.address}/webhooks/github", content=body, headers=headers)


async def kept(server: Server) -> list[tuple[str, str]]:
    found = await server.application.automation.inbox.store.list(limit=10)
    return [(it.id, it.kind) for it in found]


async def test_what_github_did_not_sign_is_refused(server: Server) -> None:
    good = headers_of(BODY, "issue_comment", ID)
    for changes, status in (
        ({"X-Hub-Signature-256": signature_of(BODY, "another-secret-of-tests")}, 401),
        ({"X-Hub-Signature-256": signature_of(json.dumps(json.loads(BODY)).encode())}, 401),  # as it was written anew
        ({"X-Hub-Signature-256": ""}, 401),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"X-GitHub-Event": "../x"}, 400),
        ({"X-GitHub-Delivery": ""}, 400),
    ):
        answer = await post(server, BODY, {**good, **changes})
        assert answer.status_code == status, changes
        assert answer.headers["content-type"] == "application/problem+json"
    sha1 = {key: value for key, value in good.items() if key != "X-Hub-Signature-256"} | {"X-Hub-Signature": "sha1=1"}
    assert (await post(server, BODY, sha1)).status_code == 401
    changed = bytes([BODY[0], BODY[1] ^ 1, *BODY[2:]])
    assert (await post(server, changed, good)).status_code == 401
    assert await kept(server) == []
    answer = await post(server, BODY, good)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted"), "the twin"
    assert await kept(server) == [(ID, "issue_comment")]


async def test_refusals_are_in_the_audit_and_bodies_are_not_read_for_it(server: Server) -> None:
    body = b'{"password": "x"}'
    await post(server, body, headers_of(body, "issues", ID, "another-secret-of-tests"))
    async with server.as_holder(Role.ADMIN) as client:
        (entry,) = [it async for it in _audited(client)]
    assert (entry.status, entry.path, entry.fields) == (401, "/webhooks/github", ())


async def _audited(client: object) -> AsyncIterator[object]:
    from cloister.client import Client
    from cloister.model.audit import AuditFilter

    assert isinstance(client, Client)
    for entry in await client.audit(AuditFilter(refused=True)):
        yield entry


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    """25 MB are said and never sent: the answer comes all the same."""
    lines = [f"{name}: {value}" for name, value in headers_of(b"", "push", ID).items()]
    head = "\r\n".join(["POST /webhooks/github HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines])

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(f"{head}\r\nContent-Length: 26214400\r\n\r\n".encode())
            return connection.recv(4096)

    assert b" 413 " in (await anyio.to_thread.run_sync(ask)).splitlines()[0]

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MOST_WEBHOOK_BYTES // 65536 + 2):
            yield b" " * 65536

    async with httpx.AsyncClient(timeout=60) as client:
        headers = headers_of(b"", "push", ID)
        answer = await client.post(f"{server.address}/webhooks/github", content=pieces(), headers=headers)
    assert answer.status_code == 413


async def test_strangers_make_the_server_hold_no_more_than_it_may(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge_webhook, "MOST_BYTES_AT_ONCE", 100_000)
    large = json.dumps({"action": "x", "text": "x" * 60_000}).encode()
    headers = headers_of(large, "issue_comment", ID)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["POST /webhooks/github HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines])
    inbox = server.application.automation.inbox
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stranger:
        await stranger.send(f"{head}\r\nContent-Length: 70000\r\n\r\n".encode() + b" " * 60_000)
        await until(lambda: inbox.arriving == 60_000)
        answer = await post(server, large, headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert await kept(server) == []
    await until(lambda: inbox.arriving == 0)
    assert (await post(server, large, headers)).status_code == 202, "the twin: nobody else sends"

    monkeypatch.setattr(forge_webhook, "READ_SECONDS", 0.1)
    async with await anyio.connect_tcp("127.0.0.1", server.port) as slow:
        await slow.send(f"{head}\r\nContent-Length: 70000\r\n\r\n".encode())
        assert b" 408 " in (await slow.receive()).splitlines()[0]
    assert inbox.arriving == 0


async def until(what: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not what():  # noqa: ASYNC110  # of the server
            await anyio.sleep(0.01)


async def test_the_same_delivery_many_times_is_kept_once(server: Server) -> None:
    said: list[str] = []

    async def send(number: int) -> None:
        id = ID if number % 2 else ID.replace("72", f"{number + 10}", 1)
        said.append((await post(server, BODY, headers_of(BODY, "issue_comment", id))).json()["status"])

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(send, number)
    assert sorted(said) == ["accepted"] + ["known"] * 39
    assert len(await kept(server)) == 1


async def test_what_nothing_is_done_about_is_acknowledged_and_forgotten(server: Server) -> None:
    answer = await post(server, BODY, headers_of(BODY, "watch", ID))
    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert await kept(server) == []


async def test_the_secret_of_the_vault_can_be_replaced_while_deliveries_come(machine: Machine) -> None:
    async with machine.server(works=False) as server, server.as_holder(Role.ADMIN) as client:
        assert (await post(server, BODY, headers_of(BODY, "watch", ID))).status_code == 404
        await client.set_forge_webhook_secret(SECRET)
        await client.set_forge_webhook_secret(f"{SECRET}-2")
        for secret, status in ((SECRET, 202), (f"{SECRET}-2", 202), (f"{SECRET}-3", 401)):
            assert (await post(server, BODY, headers_of(BODY, "watch", ID, secret))).status_code == status
        await client.set_forge_webhook_secret(f"{SECRET}-3", forget_former=True)
        for secret, status in ((SECRET, 401), (f"{SECRET}-2", 401), (f"{SECRET}-3", 202)):
            assert (await post(server, BODY, headers_of(BODY, "watch", ID, secret))).status_code == status
        assert await client.forge_deliveries() == []


async def test_deliveries_are_counted_and_strangers_make_no_series(server: Server) -> None:
    async def none() -> dict[str, int]:
        return {}

    inbox = server.application.automation.inbox
    with open_instruments(None, none, server.application.intake.store) as instruments:
        inbox.watcher = instruments.deliveries
        for kind, secret in (("issues", SECRET), ("issues", SECRET), ("watch", SECRET), ("made_up", "another-secret")):
            await post(server, BODY, headers_of(BODY, kind, ID, secret))
        await post(server, BODY, {**headers_of(BODY, "other", ID), "Content-Type": "text/plain"})
        async with anyio.create_task_group() as group:
            await inbox.work_off(group)
        page = (await instruments.page(""))[0].decode()
    counted = [line for line in page.splitlines() if line.startswith("cloister_forge_deliveries_total{")]
    assert sorted(counted) == [
        'cloister_forge_deliveries_total{kind="",outcome="refused"} 2.0',
        'cloister_forge_deliveries_total{kind="issues",outcome="known"} 1.0',
        'cloister_forge_deliveries_total{kind="issues",outcome="taken"} 1.0',
        'cloister_forge_deliveries_total{kind="watch",outcome="ignored"} 1.0',
    ]
    assert "cloister_forge_delivery_wait_seconds_count 1.0" in page

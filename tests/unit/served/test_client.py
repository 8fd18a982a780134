"""Every method of the client, against a server at its two ends."""

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from cloister import wiring
from cloister.client import Client
from cloister.errors import CloisterError, DeniedError, NotFoundError, SandboxError, UnauthenticatedError, UsageError
from cloister.model.audit import AuditFilter
from cloister.model.image import BuildProgress
from cloister.model.publication import PublishOptions
from cloister.model.request import EnvironmentName, EnvironmentText, ReviewRequest
from cloister.model.secret import BrokerRule
from cloister.model.task import TaskState, Verdict
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Program

from ..cli.conftest import DIFF, Installation
from .conftest import Server

pytestmark = pytest.mark.anyio

METHODS = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}


class Recorder:
    """A client that remembers which of its methods were called."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.called.add(name)
        found: Callable[..., Any] = getattr(self._client, name)
        return found


@pytest.fixture(params=["owner", "holder"])
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Recorder]:
    opened = server.as_owner() if request.param == "owner" else server.as_holder(Role.ADMIN)
    async with opened as client:
        yield Recorder(client)


async def test_every_method(client: Any, server: Server, installation: Installation) -> None:
    await use_environments(client, server)
    await use_keys(client)
    task = await use_tasks(client, server)
    await use_snapshots(client, installation)
    await use_stock(client, installation)
    await use_forge(client, server, task)
    await use_tokens(client, server)
    await use_schedules(client, server)
    await use_users(client, server)
    await use_webhooks(client)
    await use_notifications(client)
    numbers = await client.statistics()
    assert (numbers.tasks, len(numbers.outcomes), sum(numbers.outcomes[-1].counts.values())) == (1, 7, 1)
    assert (await client.task(task)).state is TaskState.FINISHED
    assert client.called >= METHODS


async def use_environments(client: Client, server: Server) -> None:
    text = EnvironmentText(source="web.toml", raw=b'agent = "command"\n[setup]\nautomatic = false\n')
    assert (await client.create_environment("web", text)).stored.version == 1
    edited = EnvironmentText(source="web.toml", raw=text.raw + b'[variables]\nA = "1"\n')
    assert (await client.edit_environment("web", edited, base=1)).stored.version == 2
    report = await client.environment("web")
    assert report.environment is not None and dict(report.environment.variables) == {"A": "1"}
    assert (await client.environment("web", 1)).stored.version == 1
    assert [one.name for one in await client.environments()] == ["web"]
    assert [one.version for one in await client.environment_versions("web")] == [2, 1]
    preview = await client.preview(server.repository, None, EnvironmentName(name="web"))
    assert (preview.environment.name, preview.revision.ref) == ("web", "main")
    assert (await client.why(server.repository, "main", None)).fit.reason is not None
    sent = await client.send_repository(server.application.settings.state.parent / "project")
    assert (await client.preview(sent, None, None)).revision == preview.revision
    with pytest.raises(NotFoundError, match="nothing to import"):
        await client.import_environment(server.repository, None)


async def use_keys(client: Client) -> None:
    await client.set_secret("web", "TOKEN", "a value")
    rule = BrokerRule(hosts=("api.example.com",), header="Authorization", format="Bearer {}")
    await client.set_secret("web", "KEY", "another", rule)
    kept = {secret.name: secret for secret in await client.secrets("web")}
    assert (set(kept), kept["KEY"].rule) == ({"TOKEN", "KEY"}, rule)
    assert await client.rotate_key() == 2
    await client.remove_secret("web", "TOKEN")
    assert [secret.name for secret in await client.secrets("web")] == ["KEY"]
    assert await client.delete_environment("web", with_secrets=True) == (["KEY"], 0)
    await client.set_model_key("openai", "sk-a-key-of-tests")
    assert "openai" in {provider.name for provider in await client.models()}
    await client.remove_model_key("openai")
    assert "BEGIN PUBLIC KEY" in await client.record_key()


async def use_tasks(client: Client, server: Server) -> str:
    task = await client.submit(server.request(secrets={}, variables={"B": "ä"}))
    ended = await client.wait(task.id, diffs=True)
    [attempt] = ended.attempts
    assert attempt.outcome is not None and attempt.outcome.change is not None
    assert (ended.verdict, attempt.outcome.change.diff) == (Verdict.SUCCEEDED, DIFF)
    assert (await client.wait_for_attempt(task.id, attempt.attempt)).task == ended.task
    events = [recorded async for recorded in client.events(task.id, output=False)]
    assert [events[0].event.wire_name, events[-1].event.wire_name] == ["task_accepted", "task_finished"]
    assert (await client.change(task.id)).diff == DIFF
    assert b"payload" in await client.record(task.id, attempt=1, turn=1)
    with pytest.raises(NotFoundError):
        await client.artifact(task.id, "none.txt")
    with pytest.raises(NotFoundError):
        await client.shell_recording(task.id, 1)
    found, turn = await client.follow_up(task.id, "and now?")
    assert (found, turn.number) == (task.id, 2)
    await client.wait(task.id)
    assert await client.cancel(task.id) == task.id, "harmless when it is over"
    assert [status.task.id for status in await client.tasks(limit=1)] == [task.id]
    for wanted in ({"state": Verdict.SUCCEEDED}, {"state": TaskState.FINISHED}, {"text": "FIX the"}, {"text": task.id}):
        assert [status.task.id for status in await client.tasks(**wanted)] == [task.id], wanted
    for unwanted in ({"state": Verdict.FAILED}, {"state": TaskState.QUEUED}, {"text": "fix_the"}, {"environment": "x"}):
        assert await client.tasks(**unwanted) == [], unwanted
    assert (await client.archive(task.id)).archived
    assert await client.tasks() == []
    assert [status.task.id for status in await client.tasks(archived=True)] == [task.id]
    assert not (await client.restore(task.id)).archived
    return task.id


async def use_snapshots(client: Client, installation: Installation) -> None:
    kept = await client.snapshots()
    assert kept, "a task leaves its disk for the next turn, or what setup made"
    told: list[BuildProgress] = []
    digest = await client.export_snapshot(kept[0].key[:20], "localhost:1/team/web:1", told.append, compression="zstd")
    [pushed] = installation.pushed
    assert (digest, pushed.record.key, pushed.compression) == (f"sha256:{'d' * 64}", kept[0].key, "zstd")
    assert told == [BuildProgress("pushing", 0.8)]
    with pytest.raises(UsageError, match="no reference"):
        await client.export_snapshot(kept[0].key, "..", told.append)
    assert (await client.check_snapshot(kept[0].key))[0].key == kept[0].key
    assert await client.remove_snapshot(kept[0].key[:20]) == kept[0].key
    with pytest.raises(NotFoundError, match="has no snapshots"):
        await client.reset_cache(kept[0].environment)


async def use_forge(client: Client, server: Server, task: str) -> None:
    """Nobody has logged in there, and it is on another machine."""
    assert await client.forge_login() is not None
    assert [branch.name for branch in await client.forge_branches(server.repository)] == ["main"]
    await client.set_forge_webhook_secret("a-secret-of-a-webhook")
    assert await client.forge_deliveries() == []
    for ask in (
        lambda: client.set_forge_login("token", ""),
        lambda: client.forge_repositories("proj"),
        lambda: client.forge_app_manifest(name="a", organization=None, redirect="http://evil.example", workflows=False),
        lambda: client.make_forge_app("?"),
        lambda: client.publish(task, options=PublishOptions()),
        lambda: client.publication(task),
        lambda: client.review(ReviewRequest(repository=server.repository, number=1)),
        lambda: client.post_review(task),
        lambda: client.known_review(task),
    ):
        with pytest.raises(CloisterError):
            await ask()


async def use_stock(client: Client, installation: Installation) -> None:
    told: list[BuildProgress] = []
    built = await client.build_image("base", told.append)
    assert (built.name, told) == ("base", [BuildProgress("done", 1.0)])
    pulled = await client.pull_image("localhost:1/team/tools:1", told.append)
    assert pulled in await client.images()
    assert await client.image("localhost:1/team/tools:1") == pulled == await client.image(pulled.digest[:12])
    assert await client.remove_image(pulled.name) == pulled
    for ask in (
        lambda: client.image(pulled.name),
        lambda: client.remove_image(""),
        lambda: client.build_image("none", told.append),
        lambda: client.install_agent("command", told.append),
        lambda: client.remove_agent("none"),
    ):
        with pytest.raises(NotFoundError):
            await ask()
    installed = await client.install_agent("robot", told.append)
    assert (installed.agent, installed.installed, told[-1].fraction) == ("robot", "1", 1.0)
    assert [agent.agent for agent in await client.agents()] == ["command", "robot"]
    await client.remove_agent("robot")
    assert [agent.installed for agent in await client.agents()] == [None, None]
    [worker] = await client.workers()
    assert worker.attempts == (), "all are over"


async def use_notifications(client: Client) -> None:
    key = await client.push_key()
    device = await client.add_device("https://127.0.0.1:1/send", p256dh=key, auth="A" * 22, label="a phone")
    assert [one.label for one in await client.notifications()] == ["a phone"]
    assert (await client.choose_notifications(device.id, [])).occasions == []
    assert await client.test_notification(device.id) != "", "nobody is there"
    await client.remove_receiver(device.id)
    about, secret = await client.add_notification_webhook("http://127.0.0.1:1/hook")
    assert secret.startswith("whsec_")
    await client.remove_receiver(about.id)


async def use_users(client: Client, server: Server) -> None:
    store = server.application.access.users.store
    user = await store.note("https://id.example", "1", name="ann", role=Role.VIEWER, at=datetime.now(UTC))
    assert [one.id for one in await client.users()] == [user.id]
    assert (await client.set_user_disabled(user.id, disabled=True)).disabled_at is not None
    assert (await client.set_user_disabled(user.id, disabled=False)).disabled_at is None


async def use_tokens(client: Client, server: Server) -> None:
    token, text = await client.create_token("ci", Role.VIEWER, lifetime_seconds=60)
    assert text not in str(await client.tokens())
    async with Client.connect(server.address, token=text) as other:
        await other.tasks()
        assert (await client.revoke_token(token.id)).revoked_at is not None
        (revoked,) = await client.audit(AuditFilter(action="tokens", since=token.created_at), limit=1)
        assert (revoked.action, revoked.path) == ("tokens_revoke", f"/api/v1/tokens/{token.id}")
        (made,) = await client.audit(AuditFilter(action="tokens_create"), limit=1, before=revoked.number)
        assert made.about == {"name": "ci", "role": "viewer", "made": token.id}
        with pytest.raises(UnauthenticatedError):
            await other.tasks()


async def test_a_token_may_what_its_role_may(server: Server, installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Hold()])
    async with (
        server.as_holder(Role.VIEWER) as viewer,
        server.as_holder(Role.MEMBER) as member,
        server.as_holder(Role.ADMIN) as admin,
    ):
        with pytest.raises(DeniedError, match="VIEWER is a viewer; this takes a role of member"):
            await viewer.submit(server.request())
        task = await member.submit(server.request())
        assert (await viewer.task(task.id)).task.id == task.id
        with pytest.raises(DeniedError):
            await viewer.cancel(task.id)
        with pytest.raises(DeniedError, match="this takes a role of admin"):
            await member.create_token("mine", Role.ADMIN)
        await member.cancel(task.id)
        assert (await viewer.wait(task.id)).verdict is Verdict.CANCELLED
        await admin.create_token("mine", Role.ADMIN)


@pytest.mark.parametrize("address", ["/", "file:///", "FILE:///etc"])
async def test_a_path_of_the_server_is_for_its_owner_alone(server: Server, address: str) -> None:
    async with server.as_holder(Role.ADMIN) as far, server.as_owner() as owner:
        holder = replace(far, _is_far=False)  # or it would send what is there on its own machine
        for ask in (
            lambda: holder.submit(server.request(repository=address)),
            lambda: holder.preview(address, None, None),
            lambda: holder.why(address, None, None),
            lambda: holder.import_environment(address, None),
        ):
            with pytest.raises(DeniedError, match="a path of the server"):
                await ask()
        with pytest.raises(CloisterError) as refused:
            await owner.submit(server.request(repository=address))
        assert not isinstance(refused.value, DeniedError), "the twin: it was looked for"
        project = str(server.application.settings.state.parent / "project")
        assert (await owner.submit(server.request(repository=project))).repository.address == project


async def test_where_the_owner_sends_git_alone_is_not_guarded(
    server: Server,
) -> None:
    store = server.application.intake.store
    async with server.as_holder(Role.ADMIN) as holder, server.as_owner() as owner:
        for client, guarded in ((holder, True), (owner, False)):
            task = await client.submit(server.request())
            assert (await store.get(task.id)).task.repository.guarded is guarded


async def test_nobody_calls_from_elsewhere_without_a_token(server: Server) -> None:
    async with Client.connect(server.address) as client:
        with pytest.raises(UnauthenticatedError, match="a token is needed"):
            await client.tasks()
    async with Client.connect(server.address, token="clo_" + "a" * 43) as client:
        with pytest.raises(UnauthenticatedError, match="lets nobody in"):
            await client.tasks()


async def test_what_takes_minutes_says_how_it_failed(server: Server, installation: Installation) -> None:
    """Once it has begun, the answer has its status."""

    async def fail(name: str, progress: object) -> None:
        raise SandboxError("the registry is gone", hint="ask again")

    object.__setattr__(server.application.intake.images, "build", fail)
    async with server.as_owner() as owner:
        with pytest.raises(SandboxError, match="the registry is gone") as refused:
            await owner.build_image("base", lambda _: None)
        assert refused.value.hint == "ask again"


async def test_a_worker_is_known_by_what_it_holds(server: Server, installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Hold()])
    async with server.as_owner() as owner:
        task = await owner.submit(server.request())
        with anyio.fail_after(60):
            async for recorded in owner.events(task.id, follow=True):
                if recorded.event.wire_name == "attempt_started":
                    break
        assert (await owner.workers())[0].attempts == (f"{task.id}-1-1",)
        await owner.cancel(task.id)
        await owner.wait(task.id)


async def use_schedules(client: Client, server: Server) -> None:
    made = await client.create_schedule("nightly", "0 3 * * *", server.request(), timezone="Europe/Berlin")
    assert made.next_at is not None and made == await client.schedule("nightly")
    assert (await client.pause_schedule("nightly")).next_at is None
    assert (await client.pause_schedule("nightly", paused=False)).next_at == made.next_at
    assert await client.schedule_runs("nightly") == []
    assert await client.schedules() == [made]
    await client.remove_schedule("nightly")
    with pytest.raises(NotFoundError, match="no schedule 'nightly'"):
        await client.schedule("nightly")


async def use_webhooks(client: Client) -> None:
    made, secret = await client.create_webhook("http://hooks.example:9/", ["task_finished"])
    assert secret.startswith("whsec_") and secret != await client.rotate_webhook(made.id)
    assert (await client.pause_webhook(made.id)).paused
    sent = await client.test_webhook(made.id)
    assert sent.delivered_at is None and await client.webhook_deliveries(made.id) == [sent]
    with pytest.raises(UsageError, match="sent anew"):
        await client.resend_delivery(sent.id)
    assert len(await client.webhooks()) == 1
    await client.remove_webhook(made.id)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "169.254.169.254", "10.0.0.7:443"])
async def test_a_token_sends_nobody_to_a_registry_within(server: Server, host: str) -> None:
    """The owner of the machine may, as before."""
    intake, reach = server.application.intake, wiring.reach_of(server.application.settings)
    object.__setattr__(intake, "check_host", replace(reach, what="registry").check)
    reference, told = f"{host}/team/tools:1", [].append
    async with server.as_holder(Role.ADMIN) as holder, server.as_owner() as owner:
        with pytest.raises(DeniedError, match="no registry may be at"):
            await holder.pull_image(reference, told)
        with pytest.raises(DeniedError, match="no registry may be at"):
            await holder.export_snapshot("none", reference, told)
        assert (await owner.pull_image(reference, told)).name == reference

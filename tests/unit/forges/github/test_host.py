"""Against a forge that holds every request against GitHub's published description."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
import pytest

from cloister.egress.addresses import classify
from cloister.errors import DeniedError, NotFoundError, RateLimitError, RepositoryError, UnreachableError, UsageError
from cloister.forges.github import client
from cloister.forges.github.app import EVENTS, PERMISSIONS
from cloister.forges.github.credentials import APP_KEY, LOGIN_PLACE, TOKEN, WEBHOOK_SECRET, LoginSource
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.model.forge import NewPullRequest, PullRequestState, Way
from cloister.model.task import Repository
from cloister.protocols import ForgeHost
from cloister.testing.github.hosted import Hook, Pull
from cloister.testing.github.server import Fault

from .browsing import create_app
from .conftest import PERSONAL, Forge, commit

pytestmark = pytest.mark.anyio

PERSON, APP = LoginSource(), LoginSource(app=7)
NEW = NewPullRequest(branch="cloister/1-two", base="main", title="Two", body="Why", labels=("robot",))


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it waited, without waiting."""
    waited: list[float] = []

    async def sleep(_: object, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(client.GitHubClient, "sleep", sleep)
    return waited


@pytest.fixture
def branch(forge: Forge) -> None:
    main = forge.shop.git("rev-parse", "main")
    forge.shop.git("update-ref", "refs/heads/cloister/1-two", main)
    commit(forge.shop.path, "cloister/1-two", {"a.txt": "two\n"})


async def test_nothing_is_asked_and_nothing_sent_to_other_hosts(forge: Forge) -> None:
    async with forge.open(PERSON) as host:
        way = await host.way_to(Repository(address="https://git.example.com/team/shop", directory="shop"))
    assert (way.address, way.variables, forge.github.asked) == ("https://git.example.com/team/shop", {}, [])


async def test_without_a_login_a_repository_is_read_as_everybody_may(forge: Forge) -> None:
    await forge.vault.remove(LOGIN_PLACE, TOKEN)
    async with forge.open(PERSON) as host:
        way = await host.way_to(forge.repository)
        assert (way.address, way.variables) == (forge.repository.address, {})
        with pytest.raises(UsageError, match="Cloister has no token for GitHub"):
            await host.describe(forge.repository)
    assert forge.github.asked == []


@pytest.mark.parametrize("source", [PERSON, APP], ids=["token", "app"])
async def test_a_private_repository_is_cloned_and_its_token_is_nowhere(
    forge: Forge, source: LoginSource, tmp_path: Path
) -> None:
    async with forge.open(source) as host:
        local = LocalForge(tmp_path / "state", host=host)
        revision = await local.resolve(forge.repository, None)
        assert (revision.default_branch, revision.commit) == ("main", forge.shop.git("rev-parse", "main"))
        way = await host.way_to(forge.repository)
        assert "Basic" not in f"{way!r} {way.address}"
    written = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert b"ghs_" not in written
    assert PERSONAL.encode() not in written
    assert b"Authorization" not in written
    with pytest.raises(RepositoryError, match="asks for a login"):  # the twin: it is private indeed
        await LocalForge(tmp_path / "other").resolve(forge.repository, None)


async def test_a_token_of_an_app_is_for_one_repository_and_to_read_alone(forge: Forge) -> None:
    other = forge.github.accounts.add("team/other")
    async with forge.open(APP) as host:
        token = await host._credentials.token_for("team/shop")
        writing = await host._credentials.token_for("team/shop", {"contents": "write"})
    assert token is not None
    assert writing is not None
    caller = forge.github.accounts.caller_of(token.reveal())
    assert caller is not None
    assert (caller.may_read(forge.shop), caller.may_write(forge.shop), caller.may_read(other)) == (True, False, False)
    writer = forge.github.accounts.caller_of(writing.reveal())
    assert writer is not None
    assert (writer.may_write(forge.shop), writer.may_read(other)) == (True, False)


async def test_a_token_is_used_again_until_it_is_old(forge: Forge) -> None:
    async with forge.open(APP) as host:
        first = await host._credentials.token_for("team/shop")
        assert await host._credentials.token_for("team/shop") is first
    assert sum("access_tokens" in asked for asked in forge.github.asked) == 1


async def test_a_renamed_repository_is_found_and_followed(forge: Forge, tmp_path: Path) -> None:
    forge.github.accounts.rename(forge.shop, "team/store")
    async with forge.open(PERSON) as host:
        assert (await host.describe(forge.repository)).name == "team/store"
        assert (await host.way_to(forge.repository)).address == f"{forge.github.url}/team/store"
        assert (await LocalForge(tmp_path, host=host).resolve(forge.repository, None)).ref == "main"


@pytest.mark.parametrize("is_known", [True, False], ids=["meanwhile", "before"])
async def test_an_app_follows_a_repository_that_is_renamed(forge: Forge, is_known: bool) -> None:
    async with forge.open(APP) as host:
        if is_known:
            assert (await host.describe(forge.repository)).name == "team/shop"
        forge.github.accounts.rename(forge.shop, "team/store")
        if is_known:
            with pytest.raises(RepositoryError, match="Moved"):  # what was remembered is forgotten by that
                await host.branches(forge.repository)
        assert (await host.describe(forge.repository)).name == "team/store"
        assert [it.name for it in await host.branches(forge.repository)] == ["main"]
        way = await host.way_to(forge.repository, push=True)
        caller = forge.github.accounts.caller_of(way.token and way.token.reveal())
        assert caller is not None
        assert caller.only == {"store"}, "for this one alone"


async def test_an_app_that_was_taken_away_says_so(forge: Forge) -> None:
    forge.github.accounts.uninstalled.add(7)
    async with forge.open(APP) as host:
        with pytest.raises(NotFoundError, match="GitHub App 7 is not installed for team/shop"):
            await host.describe(forge.repository)
        assert (await host.way_to(forge.repository)).variables == {}
        with pytest.raises(NotFoundError):
            await host.way_to(forge.repository, push=True)


async def test_a_token_that_was_taken_back_is_not_used_again(forge: Forge) -> None:
    async with forge.open(APP) as host:
        await host.describe(forge.repository)
        forge.github.accounts.expire_tokens()
        with pytest.raises(RepositoryError, match="does not accept what Cloister logs in with"):
            await host.branches(forge.repository)
        assert [it.name for it in await host.branches(forge.repository)] == ["main"], "with another token"


async def test_nobody_is_led_to_another_host_with_a_token(forge: Forge) -> None:
    elsewhere = {"Location": "https://evil.example/repos/team/shop"}
    forge.github.faults.append(Fault(method="GET", path="/repos/team/shop", status=301, headers=elsewhere))
    async with forge.open(PERSON) as host:
        with pytest.raises(RepositoryError, match=r"leads elsewhere, to https://evil\.example"):
            await host.describe(forge.repository)
        assert (await host.describe(forge.repository)).name == "team/shop", "the twin"
        with pytest.raises(RepositoryError, match="leads elsewhere"):
            await host._client.getitem("http://127.0.0.1:1/next-page", oauth_token=PERSONAL)


async def test_repositories_and_branches_are_listed_page_by_page(forge: Forge) -> None:
    main = forge.shop.git("rev-parse", "main")
    forge.shop.git("update-ref", "--stdin")
    for number in range(120):
        forge.shop.git("update-ref", f"refs/heads/b{number:03}", main)
    async with forge.open(PERSON) as host:
        branches = await host.branches(forge.repository)
        assert len(branches) == 121
        assert [(it.name, it.protected) for it in branches if it.protected] == [("main", True)]
        assert [it.name for it in await host.repositories()] == ["team/shop"]
    async with forge.open(APP) as host:
        assert [(it.name, it.may_push) for it in await host.repositories()] == [("team/shop", True)]


@pytest.mark.usefixtures("branch")
@pytest.mark.parametrize("source", [PERSON, APP], ids=["token", "app"])
async def test_a_pull_request_is_opened_once_and_changed(forge: Forge, source: LoginSource) -> None:
    async with forge.open(source) as host:
        assert await host.find_pull_request(forge.repository, NEW.branch) is None
        opened = await host.open_pull_request(forge.repository, NEW)
        assert (opened.number, opened.state, opened.base) == (1, PullRequestState.OPEN, "main")
        assert (await host.open_pull_request(forge.repository, NEW)).number == 1
        changed = await host.update_pull_request(forge.repository, 1, body="Because")
        assert (changed.title, changed.body) == ("Two", "Because")
        forge.shop.merge(forge.shop.pulls[1])
        found = await host.find_pull_request(forge.repository, NEW.branch)
        assert found is not None
        assert found.state is PullRequestState.MERGED
        author = await host.author()
    assert forge.shop.pulls[1].labels == ["robot"]
    login = "ann" if source is PERSON else "cloister-of-team[bot]"
    assert author.name == login
    assert author.email.endswith(f"+{login}@users.noreply.127.0.0.1")


@pytest.mark.usefixtures("branch")
async def test_a_branch_of_that_name_in_a_fork_is_another_one(forge: Forge) -> None:
    fork = forge.github.accounts.add("team/fork", writers=["bob"])
    commit(fork.path, "main", {"a.txt": "one\n"})
    pull = Pull(number=1, title="T", body="Theirs", head=NEW.branch, base="main", author="bob", last_head="", fork=fork)
    pull.last_head = forge.shop.find_commit(NEW.branch) or ""
    forge.shop.pulls[1] = pull
    async with forge.open(PERSON) as host:
        assert await host.find_pull_request(forge.repository, NEW.branch) is None
        pull.fork = None
        assert await host.find_pull_request(forge.repository, NEW.branch) is not None, "the twin"


@pytest.mark.usefixtures("branch", "naps")
@pytest.mark.parametrize("status", [0, 502])
@pytest.mark.parametrize("after", [True, False], ids=["done", "not done"])
async def test_a_lost_answer_leaves_one_pull_request(forge: Forge, status: int, after: bool) -> None:
    forge.github.faults.append(Fault(method="POST", path=".*/pulls", status=status, after=after))
    async with forge.open(PERSON) as host:
        if not after:
            with pytest.raises(UnreachableError):
                await host.open_pull_request(forge.repository, NEW)
        assert (await host.open_pull_request(forge.repository, NEW)).number == 1
    assert list(forge.shop.pulls) == [1]


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (Fault(method="GET", path="/repos/team/shop", status=429, headers={"Retry-After": "7"}), [7.0]),
        (Fault(method="GET", path="/repos/team/shop", status=403, headers={"Retry-After": "7"}, times=2), [7.0, 7.0]),
        (Fault(method="GET", path="/repos/team/shop", status=502), [0.5]),
        (Fault(method="GET", path="/repos/team/shop", status=0), [0.5]),
    ],
    ids=["429", "403 twice", "502", "cut"],
)
async def test_what_passes_is_waited_for(forge: Forge, naps: list[float], fault: Fault, waited: list[float]) -> None:
    forge.github.faults.append(fault)
    async with forge.open(PERSON) as host:
        assert (await host.describe(forge.repository)).name == "team/shop"
    assert naps == waited


async def test_a_limit_that_lasts_is_told_and_not_waited_for(forge: Forge, naps: list[float]) -> None:
    slow = Fault(method="GET", path="/repos/team/shop", status=403, headers={"Retry-After": "3600"})
    forge.github.faults.append(slow)
    async with forge.open(PERSON) as host:
        with pytest.raises(RateLimitError, match="secondary rate limit") as refused:
            await host.describe(forge.repository)
        assert refused.value.seconds == 3600
        headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}
        forge.github.faults.append(Fault(method="GET", path="/repos/team/shop", status=429, headers=headers))
        with pytest.raises(RateLimitError, match="its rate limit is reached"):
            await host.describe(forge.repository)
        forge.github.remaining, forge.github.reset_seconds = 0, 3600
        with pytest.raises(RepositoryError, match=r"no more of our requests until \d\d:\d\d UTC"):
            await host.describe(forge.repository)
        assert naps == []
        forge.github.reset_seconds = 30
        with pytest.raises(RepositoryError, match="rate limit is reached"):
            await host.describe(forge.repository)
    assert all(0 < nap <= 30 for nap in naps)
    assert naps


async def test_a_forge_that_does_not_come_back_is_said_to_be_away(forge: Forge, naps: list[float]) -> None:
    forge.github.faults.append(Fault(method="GET", path="/repos/team/shop", status=503, times=99))
    async with forge.open(PERSON) as host:
        with pytest.raises(UnreachableError, match="fault of its own"):
            await host.describe(forge.repository)
    assert len(naps) == client.MOST_TRIES - 1


async def test_who_may_not_push_is_told(forge: Forge) -> None:
    forge.shop.writers.clear()
    forge.shop.readers.add("ann")
    async with forge.open(PERSON) as host:
        assert (await host.describe(forge.repository)).may_push is False
        with pytest.raises(DeniedError, match="does not let Cloister do that"):
            await host.open_pull_request(forge.repository, NEW)


async def test_the_login_is_looked_at(forge: Forge) -> None:
    async with forge.open(PERSON) as host:
        login = await host.login()
        assert (login.kind, login.name, login.missing, login.repositories) == ("token", "ann", (), 1)
    forge.github.accounts.apps[0] = replace(forge.app, permissions={"metadata": "read", "contents": "read"})
    async with forge.open(APP) as host:
        login = await host.login()
        assert login.name == "cloister-of-team[bot]"
        lacks = ("contents: write", "pull_requests: write", "issues: write", "checks: write")
        assert login.missing == tuple(f"the app has no permission {it}" for it in lacks)
        forge.github.accounts.uninstalled.add(7)
        where = f"{forge.github.url}/apps/cloister-of-team/installations/new"
        assert (await host.login()).missing[-1] == f"the app is installed nowhere: {where}"
    await forge.vault.set(LOGIN_PLACE, TOKEN, "ghp_abcdefghijabcdefghij")
    async with forge.open(PERSON) as host:
        (missing,) = (await host.login()).missing
        assert missing.startswith("GitHub does not accept what Cloister logs in with")


async def test_a_clock_that_is_wrong_is_named(forge: Forge) -> None:
    forge.github.clock_seconds = -400
    async with forge.open(PERSON) as host:
        (missing,) = (await host.login()).missing
    assert re.match(r"this machine's clock is (399|400|401|402) s ahead of GitHub's", missing)


HEARD = "https://cloister.example/webhooks/github"


@pytest.mark.parametrize(
    ("hook", "events", "answered", "notes"),
    [
        (Hook(url=HEARD, secret="s"), EVENTS, [202, 500], []),
        (Hook(url=HEARD, secret="s"), EVENTS, [401, 202], ["this server answered GitHub's last message with 401"]),
        (Hook(url=HEARD, secret="s"), EVENTS, [0], ["GitHub does not reach this server: failed to connect to host"]),
        (Hook(url=HEARD, secret="s"), EVENTS[1:], [], [f"the app's webhook is not told of {EVENTS[0]}"]),
        (Hook(url=HEARD), EVENTS, [], ["the app's webhook has no secret, so nobody could tell who sends"]),
        (
            Hook(url="https://other.example", secret="s"),
            EVENTS,
            [],
            [f"the app's webhook sends to https://other.example, and this server is at {HEARD}"],
        ),
        (Hook(), EVENTS, [], ["the app has no webhook: mentions and reviews on demand need one"]),
    ],
    ids=["all well", "refused", "not reached", "an event", "no secret", "elsewhere", "none"],
)
async def test_what_keeps_messages_away_is_named(
    forge: Forge, hook: Hook, events: tuple[str, ...], answered: list[int], notes: list[str]
) -> None:
    await forge.vault.set(LOGIN_PLACE, WEBHOOK_SECRET, "what it signs with")
    forge.github.accounts.apps[0] = replace(forge.app, hook=hook, events=events, permissions=PERMISSIONS)
    forge.github.accounts.deliveries[7] = answered
    async with forge.open(APP, webhook=HEARD) as host:
        login = await host.login()
    assert (list(login.notes), login.missing) == (notes, ())


@pytest.mark.parametrize("named", [False, True], ids=["nowhere", "in the settings"])
async def test_a_secret_of_the_webhook_that_is_not_known_is_named(forge: Forge, *, named: bool) -> None:
    hook = Hook(url=HEARD, secret="s")
    forge.github.accounts.apps[0] = replace(forge.app, hook=hook, events=EVENTS, permissions=PERMISSIONS)
    async with forge.open(replace(APP, names_webhook_secret=named), webhook=HEARD) as host:
        notes = (await host.login()).notes
    said = "Cloister does not know the secret of the app's webhook, and refuses what it sends"
    assert notes == (() if named else (said,))


async def test_an_app_is_made_of_a_manifest_once_and_its_key_is_kept(forge: Forge) -> None:
    await forge.vault.remove(LOGIN_PLACE, APP_KEY)
    async with forge.open(PERSON, webhook=HEARD) as host:
        asked = host.app_manifest(
            name="cloister-1", organization="team", redirect="http://127.0.0.1:1/made", workflows=False
        )
        led_to = await anyio.to_thread.run_sync(create_app, f"{asked.address}?state=s", asked.manifest)
        (code,) = parse_qs(urlsplit(led_to).query)["code"]
        made = await host.make_app(code)
        assert (made.webhook, made.missing) == (True, ())
        with pytest.raises(NotFoundError, match="good once"):
            await host.make_app(code)
        with pytest.raises(UsageError, match="no code"):
            await host.make_app("../../user")
    assert {it.name for it in await forge.vault.list(LOGIN_PLACE)} == {TOKEN, APP_KEY, WEBHOOK_SECRET}
    forge.github.accounts.uninstalled.clear()
    async with forge.open(LoginSource(app=made.number), webhook=HEARD) as host:
        login = await host.login()
        assert (login.name, login.missing, login.notes) == ("cloister-1[bot]", (), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "x" * 35},
        {"name": "a\nb"},
        {"organization": "../evil"},
        {"redirect": "https://evil.example/"},
        {"redirect": "http://127.0.0.1.evil.example/"},
        {"redirect": "http://127.0.0.1@evil.example/"},
    ],
)
async def test_no_manifest_leads_elsewhere(forge: Forge, changed: dict[str, str]) -> None:
    asked = {"name": "a", "organization": None, "redirect": "http://127.0.0.1:1/made", "workflows": False, **changed}
    async with forge.open(PERSON) as host:
        with pytest.raises(UsageError):
            host.app_manifest(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "kind", "value"),
    [
        (PERSON, "key", PERSONAL),
        (APP, "token", PERSONAL),
        (PERSON, "token", "two words that are no token"),
        (PERSON, "token", f"{PERSONAL}\nHost: evil.example"),
        (APP, "key", "-----BEGIN PRIVATE KEY-----\nno key\n-----END PRIVATE KEY-----"),
        (replace(PERSON, token_file=Path("/x")), "token", PERSONAL),
    ],
)
async def test_what_cannot_be_a_login_is_refused(forge: Forge, source: LoginSource, kind: str, value: str) -> None:
    for key in (TOKEN, APP_KEY):
        await forge.vault.remove(LOGIN_PLACE, key)
    async with forge.open(source) as host:
        with pytest.raises(UsageError) as refused:
            await host.set_login(kind, value)
    assert value not in str(refused.value)
    assert await forge.vault.list(LOGIN_PLACE) == []


async def test_a_file_that_everyone_may_read_is_no_place_for_a_login(forge: Forge, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{PERSONAL}\n")
    file.chmod(0o604)
    async with forge.open(replace(PERSON, token_file=file)) as host:
        with pytest.raises(UsageError, match="everyone on this machine"):
            await host.describe(forge.repository)
        file.chmod(0o600)
        assert (await host.describe(forge.repository)).name == "team/shop"


async def test_for_repositories_that_are_not_named_nobody_logs_in(forge: Forge, tmp_path: Path) -> None:
    async with forge.open(PERSON, only=["team/web-*", "other/shop"]) as host:
        assert (await host.way_to(forge.repository)).variables == {}
        for asked in (host.way_to(forge.repository, push=True), host.branches(forge.repository)):
            with pytest.raises(DeniedError, match="other repositories than team/shop"):
                await asked
        assert await host.repositories() == []
        with pytest.raises(RepositoryError, match="asks for a login"):
            await LocalForge(tmp_path, host=host).resolve(forge.repository, None)
    async with forge.open(PERSON, only=["team/web-*", "team/sh*"]) as host:
        assert (await host.way_to(forge.repository)).variables
        assert [it.name for it in await host.repositories()] == ["team/shop"]
        host._known.clear()
        forge.github.accounts.rename(forge.shop, "rival/shop")
        with pytest.raises(DeniedError, match="other repositories than rival/shop"):
            await host.way_to(forge.repository)


async def test_a_guarded_one_is_read_where_its_name_was_found(forge: Forge, tmp_path: Path) -> None:
    guarded = replace(forge.repository, guarded=True)
    port = int(forge.github.url.rpartition(":")[2])
    async with forge.open(PERSON) as host:
        closed = Reach(classify=classify)
        with pytest.raises(DeniedError, match="loopback"):
            await LocalForge(tmp_path / "a", host=host, reach=closed).resolve(guarded, None)
        opened = replace(closed, named=[("127.0.0.1", port)])
        assert (await LocalForge(tmp_path / "b", host=host, reach=opened).resolve(guarded, None)).ref == "main"


async def test_a_login_and_a_pin_go_the_same_way(forge: Forge, tmp_path: Path) -> None:
    name = forge.github.url.replace("127.0.0.1", "github.example")
    named = Repository(address=f"{name}/team/shop", directory="shop", guarded=True)
    answers = [[ip_address("127.0.0.1")], [ip_address("192.0.2.9")]]

    async def look_up(_: str, __: int) -> Sequence[IPv4Address | IPv6Address]:
        return answers.pop(0)

    way = Way(address=named.address, variables={"GIT_CONFIG_COUNT": "1", **_header(name)})
    host = cast("ForgeHost", SimpleNamespace(way_to=lambda _: _done(way)))
    reach = Reach(classify=lambda _: None, look_up=look_up)
    assert (await LocalForge(tmp_path / "state", host=host, reach=reach).resolve(named, None)).ref == "main"
    assert len(answers) == 1, "it was asked once"


async def _done(way: Way) -> Way:
    return way


def _header(url: str) -> dict[str, str]:
    login = b64encode(f"x-access-token:{PERSONAL}".encode()).decode()
    return {"GIT_CONFIG_KEY_0": f"http.{url}/.extraHeader", "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}"}

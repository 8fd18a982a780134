"""What becomes of a mention when the forge changes or fails meanwhile: nothing is done twice, and nothing is lost."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloister.forges.github.credentials import LOGIN_PLACE, TOKEN
from cloister.sandboxes.fake import Hold, Program
from cloister.testing.github.server import Fault
from cloister.triggers import following, inbox, starting

from ..cli.conftest import DIFF
from ..forges.github.conftest import commit
from .conftest import Machine
from .test_mentions import BOT, SECOND, Team, _pull
from .test_mentions import github as github
from .test_mentions import key as key
from .test_mentions import open_team as open_team

pytestmark = pytest.mark.anyio
MESSAGE = "/cloister/out/message.md"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are soon tried again."""
    for module in (following, inbox):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.2)
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(starting, "WAIT_SECONDS", 0.2)


def holds(team: Team) -> None:
    """Have agents wait until `release` is called."""
    team.machine.installation.node.programs["agent"] = Program(steps=[Hold()], leaves={MESSAGE: b"I fixed it."})


def release(team: Team) -> None:
    """Let them end, and those after them not wait."""
    team.machine.installation.node.programs["agent"] = Program(leaves={MESSAGE: b"I fixed it."})
    team.machine.installation.node.release_all()


async def until_told(team: Team, number: int = 1) -> None:
    """Wait until so many tasks run that are told of."""
    await team.until(lambda: sum("Working on it" in it.body for it in team.answers()) == number)
    await team.outcomes()


def branches(team: Team) -> list[str]:
    return [name for name in team.shop.branches() if name.startswith("cloister/")]


async def test_a_thread_that_is_deleted_or_locked_meanwhile_is_left_alone(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        holds(team)
        deleted, locked = (team.shop.open_issue("bob", title) for title in ("The sum is wrong", "So is the product"))
        gone = await team.say(deleted.number, "@cloister-of-team fix the sum")
        kept = await team.say(locked.number, "@cloister-of-team fix the product")
        await until_told(team, 2)
        team.shop.written = {id: it for id, it in team.shop.written.items() if it.number != deleted.number}
        del team.shop.issues[deleted.number]
        locked.locked = True
        release(team)
        await team.until(lambda: len(team.shop.pulls) == 2 and (BOT, "rocket") in kept.reactions)
        assert (BOT, "rocket") not in gone.reactions
        (answer,) = team.answers()
        assert (answer.edits, "Working on it" in answer.body) == (0, True)
        locked_before = await team.say(locked.number, "@cloister-of-team and the quotient")
        await team.until(lambda: len(team.shop.pulls) == 3)
        await team.until(lambda: (BOT, "rocket") in locked_before.reactions)
        assert len(team.answers()) == 1
        assert len(await team.tasks()) == 3


async def test_a_limit_is_waited_for_as_long_as_the_forge_says(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        issue = team.shop.open_issue("bob", "The sum is wrong")
        slower = {"Retry-After": "900"}
        path = rf"/repos/team/shop/issues/{issue.number}/comments"
        team.github.faults.append(Fault(method="POST", path=path, status=403, headers=slower))
        began = time.time()
        asked = await team.say(issue.number, "@cloister-of-team fix it")
        store = team.server.application.automation.inbox.store

        async def put_off(words: str) -> float:
            await team.until(lambda: team.github.faults == [] or team.github.remaining == 0)
            while not ((arrived := (await store.list(limit=1))[0]).outcome and words in arrived.outcome):
                await team.until(lambda: True)
            assert arrived.next_at is not None
            assert arrived.tries == 0, "it counts as no trial"
            return arrived.next_at.timestamp() - began

        assert 890 < await put_off("secondary rate limit is reached") < 1100
        assert (len(await team.tasks()), team.answers()) == (1, [])
        team.github.remaining, team.github.reset_seconds = 0, 2000
        (arrived,) = await store.list(limit=1)
        await store.put_off(arrived.id, arrived.arrived_at, tries=0, outcome="")  # as if it were time
        assert 1900 < await put_off("its rate limit is reached") < 2200
        asked_then = len(team.github.asked)
        await team.until(lambda: team.server.application is not None)
        assert len(team.github.asked) == asked_then, "nobody asks before"
        team.github.remaining = 5000
        await store.put_off(arrived.id, arrived.arrived_at, tries=0, outcome="")
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        assert (len(await team.tasks()), len(team.shop.pulls), len(team.answers())) == (1, 1, 1)


async def test_a_repository_that_is_renamed_meanwhile_is_found(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        holds(team)
        issue = team.shop.open_issue("bob", "The sum is wrong")
        asked = await team.say(issue.number, "@cloister-of-team fix it")
        await until_told(team)
        team.github.accounts.rename(team.shop, "team/store")
        release(team)
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        assert (len(team.shop.pulls), len(team.answers()), len(branches(team))) == (1, 1, 1)
        team.does(SECOND)
        again = await team.say(2, "@cloister-of-team also b")
        await team.until(lambda: (BOT, "rocket") in again.reactions)
        assert [len(it.turns) for it in await team.tasks()] == [2]
        assert list(team.shop.pulls) == [2]

        team.github.accounts.rename(team.shop, "team/warehouse")
        once_more = await team.say(2, "@cloister-of-team and once more")
        await team.until(lambda: any(it == BOT for it, _ in once_more.reactions[1:]))
        assert [len(it.turns) for it in await team.tasks()] == [3], "its pull request was opened under another name"


async def test_a_pull_request_of_another_repository_that_has_the_name_now_is_another_one(
    open_team: Callable[..., Any],
) -> None:
    async with open_team() as team:
        issue = team.shop.open_issue("bob", "The sum is wrong")
        asked = await team.say(issue.number, "@cloister-of-team fix it")
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        team.github.accounts.rename(team.shop, "team/store")
        team.github.accounts.expire_tokens()  # they are for the one that had the name
        team.shop = team.github.accounts.add("team/shop", writers=["ann"])
        commit(team.shop.path, "main", {"a.txt": "one\n", ".cloister/environment.toml": 'agent = "robot"\n'})
        team.shop.open_issue("ann", "Another")
        _pull(team, "topic", {"c.txt": "c\n"})
        asked = await team.say(2, "@cloister-of-team fix it")
        await team.until(lambda: len(asked.reactions) == 2)
        assert [len(it.turns) for it in await team.tasks()] == [1, 1], "it goes on with nobody's task"


async def test_an_installation_that_is_taken_away_ends_it(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        holds(team)
        issue = team.shop.open_issue("bob", "The sum is wrong")
        await team.say(issue.number, "@cloister-of-team fix it")
        await until_told(team)
        (before,) = team.answers()
        team.github.accounts.uninstalled.add(7)
        await team.say(issue.number, "@cloister-of-team fix that too")
        assert (await team.outcomes())[1] == "GitHub App 7 is not installed for team/shop"
        release(team)
        asked = team.server.application.automation.following().store
        (task,) = await team.tasks()
        key = f"{team.shop.id}/comment/{before.id - 1}"
        while not (found := await asked.find(key)) or not found.outcome:
            await team.until(lambda: True)
        assert "The change was not pushed: GitHub App 7 is not installed for team/shop" in found.outcome
        assert (found.task, found.next_at) == (task.task.id, None)
        assert (branches(team), team.shop.pulls, before.edits) == ([], {}, 0)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_in_the_middle_begins_nothing_twice(open_team: Callable[..., Any], status: int) -> None:
    async with open_team() as team:
        issue = team.shop.open_issue("bob", "The sum is wrong")
        team.github.faults.append(Fault(method="POST", path=r".*/issues/\d+/comments", status=status))
        team.github.faults.append(Fault(method="PATCH", path=r".*/issues/comments/\d+", status=status))
        asked = await team.say(issue.number, "@cloister-of-team fix it")
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        assert (len(await team.tasks()), len(team.shop.pulls), len(branches(team))) == (1, 1, 1)
        assert len(team.answers()) == (1 if status == 401 else 0), "who may not answer does not insist"


async def test_lost_answers_of_a_push_and_a_pull_request_make_one_of_each(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        issue = team.shop.open_issue("bob", "The sum is wrong")
        for path, after in (
            (r"/team/shop(\.git)?/git-receive-pack", False),
            (r"/team/shop(\.git)?/git-receive-pack", True),
            (r"/repos/team/shop/pulls", False),
            (r"/repos/team/shop/pulls", True),
        ):
            team.github.faults.append(Fault(method="POST", path=path, status=0, after=after))
        asked = await team.say(issue.number, "@cloister-of-team fix it")
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        assert team.github.faults == []
        assert (len(branches(team)), len(team.shop.pulls), len(team.answers())) == (1, 1, 1)
        (pull,) = team.shop.pulls.values()
        assert team.shop.git("rev-list", "--count", f"main..{pull.head}") == "1"


async def test_a_follow_up_that_has_to_wait_is_told_so_in_the_comment_that_answers_it(
    open_team: Callable[..., Any],
) -> None:
    async with open_team() as team:
        issue = team.shop.open_issue("bob", "The sum is wrong")
        first = await team.say(issue.number, "@cloister-of-team fix it")
        await team.until(lambda: (BOT, "rocket") in first.reactions)
        holds(team)
        team.machine.installation.node.diff = SECOND
        (pull,) = team.shop.pulls.values()
        await team.say(pull.number, "@cloister-of-team also b")
        await until_told(team)
        waits = await team.say(pull.number, "@cloister-of-team and c")
        gone = await team.say(pull.number, "@cloister-of-team and d")
        await team.until(lambda: sum("This is next" in it.body for it in team.answers()) == 2)
        queued, deleted = [it for it in team.answers() if "This is next" in it.body]
        del team.shop.written[deleted.id]
        assert (BOT, "eyes") in waits.reactions
        release(team)
        await team.until(lambda: all((BOT, "rocket") in it.reactions for it in (waits, gone)))
        assert "This is next" not in queued.body and "Updated #2." in queued.body
        assert queued.edits == 2, "taken, and done"
        assert len(team.answers()) == 3, "one that somebody deleted is not written again"
        assert [len(it.turns) for it in await team.tasks()] == [4]


@pytest.fixture
def open_own(machine: Machine, open_team: Callable[..., Any], github: Any) -> Callable[..., Any]:
    """A server that has ann's own token."""

    @asynccontextmanager
    async def open_() -> AsyncIterator[Team]:
        token = f"ghp_{'a' * 36}"
        github.accounts.add_token(token, "ann")
        async with open_team(app=None, own_login=True) as team:
            await team.server.application.intake.vault.set(LOGIN_PLACE, TOKEN, token)
            yield team

    return open_


async def test_with_a_login_that_a_person_shares_cloister_answers_nothing_of_its_own(
    open_own: Callable[..., Any],
) -> None:
    async with open_own() as team:
        team.does(DIFF, b"I fixed it.\n\n@ann fix the rest, please\n\n@ann review\n")
        issue = team.shop.open_issue("bob", "@ann is wrong", "@ann fix everything")
        asked = await team.say(issue.number, "@ann fix it\n\n@ann and the rest")
        await team.until(lambda: ("ann", "rocket") in asked.reactions)
        own = [it for it in team.shop.written.values() if it.id != asked.id]
        assert len(own) == 1
        (pull,) = team.shop.pulls.values()
        about = {"issue": {"number": issue.number}, "comment": {"id": own[0].id, "body": own[0].body}}
        await team.deliver("issue_comment", "ann", action="created", **about)
        await team.deliver("issue_comment", "ann", action="edited", **about)
        opened = {"number": pull.number, "body": pull.body, "title": pull.title}
        await team.deliver("pull_request", "ann", action="opened", number=pull.number, pull_request=opened)
        await team.outcomes()
        assert (len(await team.tasks()), len(team.shop.written)) == (1, 2), json.dumps(await team.outcomes())
        again = await team.say(pull.number, "@ann and c")
        await team.until(lambda: any(name == "ann" for name, _ in again.reactions))
        await team.outcomes()
        assert [len(it.turns) for it in await team.tasks()] == [2], "the twin"

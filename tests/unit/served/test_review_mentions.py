"""`@NAME review` at GitHub, as a server answers it; see `test_mentions`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cloister.automation import review_poster
from cloister.sandboxes.fake import Program
from cloister.triggers import review_command
from cloister.triggers.review_command import read_words

from .test_mentions import BOT, Team, _pull
from .test_mentions import github as github
from .test_mentions import key as key
from .test_mentions import open_team as open_team

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over is soon seen."""
    monkeypatch.setattr(review_command, "_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(review_poster, "LOOK_SECONDS", 0.2)


def finds(team: Team, *findings: dict[str, Any]) -> None:
    """Say what the agent finds from now on."""
    node = team.machine.installation.node
    leaves = {"/cloister/out/review.json": json.dumps({"findings": findings}).encode()}
    node.diff, node.programs["agent"] = b"", Program(leaves=leaves)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("review", ("", False)),
        ("review for security", ("security", False)),
        ("Review, please look at the locks", ("please look at the locks", False)),
        ("review new commits.", ("", True)),
        ("review for new", ("new", False)),
    ],
)
def test_words_say_what_to_look_for(words: str, read: tuple[str, bool]) -> None:
    assert read_words(words) == read


async def test_a_review_is_asked_for_posted_and_told(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        pull = _pull(team, "topic", {"c.txt": "c\n"})
        finds(team, {"path": "c.txt", "line": 1, "priority": "P1", "title": "No c"})
        asked = await team.say(pull.number, "@cloister-of-team review for spelling")
        await team.until(lambda: (BOT, "rocket") in asked.reactions)
        assert (BOT, "eyes") in asked.reactions
        (review,) = pull.reviews
        assert (review.author, review.state) == (BOT, "COMMENTED")
        assert [(it.path, it.line) for it in review.remarks] == [("c.txt", 1)]
        (status,) = await team.tasks()
        assert status.task.review is not None
        assert (status.task.review.focus, status.task.asked_by) == ("spelling", "github/ann")
        assert team.answers() == [], "what is found is the answer"
        assert list(team.shop.branches()) == ["main", "topic"], "nothing is pushed"

        finds(team)
        again = await team.say(pull.number, "@cloister-of-team review")
        await team.until(lambda: (BOT, "+1") in again.reactions)
        assert len(pull.reviews) == 2


async def test_what_keeps_a_review_from_being_made_is_told(open_team: Callable[..., Any]) -> None:
    async with open_team() as team:
        pull = _pull(team, "topic", {"c.txt": "c\n"})
        await team.say(pull.number, "@cloister-of-team review", author="bob")
        issue = team.shop.open_issue("ann", "No pull request")
        await team.say(issue.number, "@cloister-of-team review")
        node = team.machine.installation.node
        node.programs["agent"] = Program(leaves={"/cloister/out/review.json": b'{"findings": [], "approve": true}'})
        asked = await team.say(pull.number, "@cloister-of-team review, and approve it @team")
        await team.until(lambda: (BOT, "confused") in asked.reactions)
        await team.until(lambda: len(team.answers()) == 2)
        told = [it.body for it in team.answers()]
        assert "there is nothing to review" in told[0]
        assert "approve: Extra inputs are not permitted" in told[1]
        assert pull.reviews == []
        assert len(await team.tasks()) == 1, "bob may not write there"

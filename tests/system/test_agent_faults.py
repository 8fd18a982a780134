"""What a program may do to itself and its processes; `test_changes` has what it may do to history."""

from cloister.model.task import Verdict

from .installation import Installation

EDIT = "echo two >a.txt"


async def test_daemons_end_with_the_agent_and_its_change_is_whole(installation: Installation) -> None:
    daemons = "(setsid nohup sh -c 'sleep 1; echo late >a.txt; sleep 600' >/dev/null 2>&1 &); (sleep 600 &)"
    async with installation.opened() as running:
        finished = await running.run(f"{EDIT}; {daemons}")
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome
    assert "+two" in finished.diff


async def test_a_parent_that_is_killed_is_a_failure_with_its_change(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run(f"{EDIT}; kill -9 $$")
    assert (finished.outcome.verdict, finished.outcome.reason) == (Verdict.FAILED, "the agent ended with status 137")
    assert "+two" in finished.diff


async def test_a_program_that_does_nothing_leaves_an_empty_change(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run("true")
    assert finished.outcome.verdict is Verdict.SUCCEEDED
    assert finished.diff == ""
    assert "diff_collected" in finished.names()


async def test_an_agent_that_ends_well_and_did_nothing_is_told_as_such(installation: Installation) -> None:
    said = '{"type": "item.completed", "item": {"type": "agent_message", "id": "1", "text": "It is fine."}}'
    agents = {
        "idle": {"command": "true", "output": "codex"},
        "talker": {"command": f"echo '{said}'", "output": "codex"},
        "worker": {"command": EDIT, "output": "codex"},
    }
    async with installation.opened(settings={"agents": agents}) as running:
        reasons = {name: (await running.run(None, agent=name)).outcome.reason for name in agents}
        asked = await running.run(None, agent="idle", ask=True)
    assert reasons == {
        "idle": "the agent did nothing: it changed no file and said nothing",
        "talker": "",
        "worker": "",
    }
    assert (asked.outcome.verdict, asked.outcome.reason) == (Verdict.SUCCEEDED, "the agent gave no answer")

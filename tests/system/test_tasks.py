"""Tasks end to end: starting points, warm and cold, many at once, and what becomes of them when they are cancelled."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from cloister.model.task import Verdict

from .installation import QUIET, Installation

SETUP = QUIET.replace("automatic = false", 'automatic = false\nscript = "echo installed >installed; echo setting up"')
WORK = "cat a.txt; echo two >a.txt"


async def test_a_cold_and_then_a_warm_start(installation: Installation) -> None:
    async with installation.opened() as running:
        cold = await running.run("cat installed; " + WORK, environment=SETUP)
        warm = await running.run("cat installed; " + WORK, environment=SETUP)
    assert "snapshot_missed" in cold.names() and "snapshot_saved" in cold.names()
    assert "snapshot_hit" in warm.names() and "snapshot_saved" not in warm.names()
    assert (cold.printed("setup"), warm.printed("setup")) == ("setting up\n", "")
    assert cold.printed("agent") == warm.printed("agent") == "installed\none\n"
    assert cold.diff == warm.diff
    assert "installed" not in cold.diff, "what setup made is no part of the change"


async def test_without_the_cache_nothing_is_read_or_kept(installation: Installation) -> None:
    async with installation.opened() as running:
        for _ in range(2):
            finished = await running.run(WORK, environment=SETUP, use_cache=False)
            assert finished.printed("setup") == "setting up\n"
            assert "snapshot_saved" not in finished.names()
    assert installation.snapshots == []


async def test_maintenance_runs_on_a_warm_disk_at_the_tasks_commit(installation: Installation) -> None:
    environment = SETUP.replace(
        "[network]", 'maintenance = "cat a.txt; cat installed; git log --oneline | wc -l"\n[network]'
    )
    async with installation.opened() as running:
        cold = await running.run(environment=environment)
        installation.project.commit({"a.txt": "newer\n"})
        warm = await running.run("cat a.txt", environment=environment)
    assert cold.printed("maintenance") == ""
    assert warm.printed("maintenance") == "newer\ninstalled\n2\n"
    assert warm.printed("agent") == "newer\n"
    assert warm.diff == ""


async def test_a_setup_that_fails_is_told_with_its_status_and_last_words(installation: Installation) -> None:
    environment = SETUP.replace("echo setting up", "echo no such package >&2; exit 7")
    async with installation.opened() as running:
        outcome = (await running.run(environment=environment)).outcome
        again = (await running.run(environment=environment)).outcome
    assert outcome.verdict is again.verdict is Verdict.FAILED
    assert outcome.reason == "the setup script ended with status 7; it last said: no such package"
    assert outcome.change is None
    assert list(installation.paths.snapshots.iterdir()) == []


async def test_an_agent_that_fails_leaves_its_change_and_its_message(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run(WORK + "; echo I could not >/cloister/out/message.md; exit 3")
    outcome = finished.outcome
    assert (outcome.verdict, outcome.exit_status, outcome.message) == (Verdict.FAILED, 3, "I could not\n")
    assert "+two" in finished.diff


async def test_branch_tag_and_commits_are_starting_points(installation: Installation) -> None:
    project = installation.project
    project.git("tag", "v1")
    first = project.git("rev-parse", "HEAD").strip()
    project.git("checkout", "--quiet", "-b", "side/branch")
    project.commit({"a.txt": "side\n"})
    project.git("checkout", "--quiet", "main")
    project.commit({"a.txt": "main\n"})
    expected = {None: "main", "side/branch": "side", "v1": "one", first: "one", first[:8]: "one", "refs/tags/v1": "one"}
    async with installation.opened() as running:
        for ref, text in expected.items():
            finished = await running.run("cat a.txt; git status --porcelain; git branch --show-current", ref=ref)
            branch = finished.status.task.branch
            assert finished.printed("agent") == f"{text}\n{branch}\n", ref


async def test_a_patch_is_part_of_the_change(installation: Installation) -> None:
    (installation.project.path / "a.txt").write_text("patched\n")
    patch = installation.project.git("diff").encode()
    installation.project.git("checkout", "--quiet", "a.txt")
    async with installation.opened() as running:
        finished = await running.run("cat a.txt; echo new >b.txt", patch=patch)
        unfit = await running.run("cat a.txt", patch=patch.replace(b"-one", b"-other"))
    assert finished.printed("agent") == "patched\n"
    assert "+patched" in finished.diff and "b.txt" in finished.diff
    assert unfit.outcome.verdict is Verdict.FAILED
    assert "patch" in unfit.outcome.reason


async def test_uncommitted_work_is_left_alone_and_said(installation: Installation) -> None:
    path = installation.project.path
    (path / "a.txt").write_text("uncommitted\n")
    (path / "untracked").write_text("x")
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.is_file()}
    async with installation.opened() as running:
        finished = await running.run("cat a.txt; ls; echo two >a.txt")
    assert finished.printed("agent") == "one\na.txt\n"
    assert finished.events[0]["notes"] == ["2 uncommitted files are not part of the task"]
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.is_file()} == before
    assert installation.project.git("branch", "--list").split() == ["*", "main"]


async def test_ten_tasks_at_once_on_a_cold_environment(installation: Installation) -> None:
    async with installation.opened(settings={"slots": 10}) as running:
        tasks = [await running.submit(f"cat installed; echo {n} >a.txt", environment=SETUP) for n in range(10)]
        await running.application.work(until_idle=True)
        finished = [await running.finished(task) for task in tasks]
    assert {each.outcome.verdict for each in finished} == {Verdict.SUCCEEDED}
    for number, each in enumerate(finished):
        assert f"\n+{number}\n" in each.diff
        assert each.printed("agent") == "installed\n"
    assert len(installation.snapshots) == 1


async def test_attempts_of_one_task_are_independent(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run("cat a.txt; echo $RANDOM$RANDOM >a.txt", attempts=3)
    diffs = {attempt.outcome.change.diff for attempt in finished.status.attempts}
    assert len(diffs) == 3
    assert finished.printed("agent") == "one\n" * 3


HOLD = "echo ready; exec sleep 600"
PHASES = {
    "setup": (QUIET.replace("automatic = false", f'automatic = false\nscript = "{HOLD}"'), "true"),
    "agent": (QUIET, HOLD),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_task_is_cancelled_from_another_process(installation: Installation, phase: str) -> None:
    environment, work = PHASES[phase]
    with installation.started(*installation.task(work, environment=environment)) as command:
        command.until("output", phase=phase, text="ready")
        assert installation.cloister("task", "cancel", command.task).code == 0
        ended = command.end()
    assert ended.code == 4
    assert ended.events[-1]["verdict"] == "cancelled"


@pytest.mark.parametrize("phase", PHASES)
def test_a_task_is_cancelled_by_ctrl_c(installation: Installation, phase: str) -> None:
    environment, work = PHASES[phase]
    with installation.started(*installation.task(work, environment=environment)) as command:
        command.until("output", phase=phase, text="ready")
        command.interrupt()
        ended = command.end()
    assert ended.code == 4, ended
    assert ended.events[-1]["verdict"] == "cancelled"
    shown = installation.cloister("task", "show", "--json", command.task)
    assert '"verdict": "cancelled"' in shown.stdout


SHORT_PHASES = ["provision", "output", "teardown"]


@pytest.mark.parametrize("phase", SHORT_PHASES)
async def test_a_cancellation_in_a_short_phase_is_the_verdict(installation: Installation, phase: str) -> None:
    """Too short to be hit from outside: the task is cancelled the moment its phase is recorded."""
    cancelled_at = datetime.max.replace(tzinfo=UTC)
    async with installation.opened() as running, anyio.create_task_group() as group:
        task = await running.submit(WORK)

        async def cancel_when_it_begins() -> None:
            nonlocal cancelled_at
            async for recorded in running.application.intake.events(task, follow=True):
                if recorded.event.wire_name == "phase_started" and recorded.phase == phase:
                    await running.application.intake.cancel(task)
                    cancelled_at = datetime.now(UTC)

        group.start_soon(cancel_when_it_begins)
        await running.application.work(until_idle=True)
        finished = await running.finished(task)
        group.cancel_scope.cancel()
    ended = next(event for event in finished.events if event["event"] == "attempt_finished")
    was_in_time = cancelled_at < datetime.fromisoformat(ended["at"])
    assert finished.outcome.verdict == (Verdict.CANCELLED if was_in_time else Verdict.SUCCEEDED)
    assert finished.names()[-1] == "task_finished"


async def test_two_repositories_do_not_meet(installation: Installation, tmp_path: Path) -> None:
    from .project import Project

    other = Project.create(tmp_path / "other", {"a.txt": "other\n"})
    async with installation.opened() as running:
        first = await running.run("ls /workspace; cat /workspace/*/a.txt")
        second = await running.run("ls /workspace; cat /workspace/*/a.txt", repository=str(other.path))
    assert (first.printed("agent"), second.printed("agent")) == ("project\none\n", "other\nother\n")
    keys = [next(event["key"] for event in each.events if "key" in event) for each in (first, second)]
    assert all(one != other for one, other in itertools.combinations(keys, 2))

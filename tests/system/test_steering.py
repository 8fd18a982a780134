"""Steering a running task, as a user does: ending it gently, asking it, looking into it."""

from .installation import QUIET, Installation

WORKS = "echo half >a.txt; echo up; trap 'echo last >>a.txt; exit 3' TERM; while :; do sleep 0.02; done"


# Cancelling


def test_a_grace_that_is_none_is_refused_and_changes_nothing(installation: Installation) -> None:
    for grace, why in (("soon", "must be a duration"), ("11m", "at most 10 minutes")):
        refused = installation.cloister("task", "cancel", "none", "--grace", grace)
        assert (refused.code, why in refused.stderr) == (2, True), refused


def test_what_a_cancelled_agent_changed_is_collected_when_asked(installation: Installation) -> None:
    environment = f'{QUIET}[checks]\ntest = "touch /dev/null"\n'
    with installation.started(*installation.task(WORKS, environment=environment)) as command:
        command.until("output", text="up")
        cancelled = installation.cloister("task", "cancel", command.task, "--collect")
        assert cancelled.code == 0 and "1 file, +2 -1" in cancelled.stdout and "cancelled" in cancelled.stdout, (
            cancelled
        )
        ended = command.end()
    assert (ended.code, ended.events[-1]["verdict"]) == (4, "cancelled")
    names = [event["event"] for event in [*command.events, *ended.events]]
    assert "end_requested" in names and "check_finished" not in names
    diff = installation.cloister("diff", command.task).stdout
    assert "+half\n+last\n" in diff, "its last words count"
    assert installation.cloister("apply", command.task).code == 0


def test_what_a_cancelled_agent_changed_is_thrown_away_otherwise(installation: Installation) -> None:
    with installation.started(*installation.task(WORKS)) as command:
        command.until("output", text="up")
        assert installation.cloister("task", "cancel", command.task, "--grace", "20s").code == 0
        ended = command.end()
    assert (ended.code, ended.events[-1]["attempts"][0]["diff"]) == (4, None)

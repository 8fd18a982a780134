"""The sentence that says why setup failed, and the command that shows more."""

from dataclasses import replace

import pytest

from cloister.model.environment_source import EnvironmentSource, SourceKind
from cloister.model.sandbox import EndCause, Exit
from cloister.model.setup_failure import SetupFailure
from cloister.model.task import CHECK

FAILURE = SetupFailure(
    script="setup",
    ended=Exit(status=137, cause=EndCause.TIMED_OUT),
    section=None,
    running=(),
    last_words="",
    timeout_seconds=5,
)


def test_what_ran_is_printable_short_and_without_the_script_itself(new_task) -> None:
    running = ("/bin/bash -e -o pipefail /cloister/in/setup.sh", "a\nb\x1b[2J", "x" * 500, *(["y"] * 20))
    reason = replace(FAILURE, running=running).reason(new_task())
    named = "a?b?[2J, " + "x" * 100 + "..., " + ", ".join(["y"] * 6)
    assert (
        reason == f"the setup script was stopped after 5 seconds; still running: {named} and 14 more; it said nothing"
    )


def test_nothing_is_said_of_what_ran_when_only_the_script_did(new_task) -> None:
    running = ("/bin/bash -e -o pipefail /cloister/in/setup.sh",)
    assert "still running" not in replace(FAILURE, running=running).reason(new_task())


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({}, "see it without an agent: cloister env check --repo"),
        (
            {"environment_source": EnvironmentSource.of_file("my env.toml")},
            "see it without an agent: cloister env check 'my env.toml' --repo",
        ),
        (
            {"environment_source": EnvironmentSource(kind=SourceKind.STORED, version=3)},
            "see it without an agent: cloister env check web --repo",
        ),
        (
            {"environment_source": EnvironmentSource(kind=SourceKind.REPOSITORY, file=".cloister/environment.toml")},
            "see it without an agent: cloister env check --repo",
        ),
        ({"agent": CHECK}, "try it by hand: cloister env shell --phase setup --repo"),
    ],
)
def test_the_hint_is_a_command_that_can_be_pasted(changes: dict[str, str], hint: str, new_task) -> None:
    task = replace(new_task(), **changes)
    same = replace(task, revision=replace(task.revision, ref=task.revision.default_branch))
    other = replace(task, revision=replace(task.revision, ref="a;b"))
    assert FAILURE.hint(same) == f"{hint} {task.repository.address}"
    assert FAILURE.hint(other) == f"{hint} {task.repository.address} --ref 'a;b'"

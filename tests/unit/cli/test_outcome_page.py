import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from cloister.cli.outcome_page import Page, print_page
from cloister.model.check import CheckResult
from cloister.model.environment import Check, Environment
from cloister.model.event import (
    EgressRefused,
    Event,
    InstructionsRestored,
    PhaseStarted,
    RecordedEvent,
    RecordMissed,
    ResidueFound,
    SandboxProvisioned,
    SnapshotMissed,
)
from cloister.model.flag import Flag, FlagKind
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import AttemptId, AttemptStatus, Outcome, Task, TaskId, TaskState, TaskStatus, Verdict

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIFF = b"".join(b"diff --git a/%s b/%s\nnew file mode 100644\n" % (name, name) for name in (b"a", b"b", b"c", b"d"))
CHANGE = Change(
    base=Commit("a" * 40),
    commit=Commit("c" * 40),
    repository=Path("/x"),
    diff=DIFF,
    stats=DiffStats(files=4, added=10, removed=2),
    flags=tuple(Flag(kind=FlagKind.AUTOMATION, path=f".github/workflows/{n}.yml") for n in range(5)),
)
CHECKS = (
    CheckResult(name="lint", ok=True, status=0, seconds=1.0, flaky=True),
    CheckResult(name="test", ok=False, status=1, seconds=1.0, reason="status 1", last_words="2 failed\nbye"),
)
SUCCESS = Outcome(verdict=Verdict.SUCCEEDED, message="I fixed it.\n\nAll of it.", change=CHANGE, checks=CHECKS)
REFUSED = EgressRefused(
    host="a.example", port=443, method="CONNECT", rule="agent internet is off", hint="ask", command="curl -s x"
)
COURSE: list[tuple[Phase, Event]] = [
    (Phase.PROVISION, SnapshotMissed(key="1" * 64, reason="first use")),
    (
        Phase.PROVISION,
        SandboxProvisioned(
            image="base",
            image_digest="d" * 64,
            runtime="crun 1",
            setup=None,
            maintenance=None,
            catch_up=None,
            not_enforced=("limits.disk",),
        ),
    ),
    (Phase.SETUP, PhaseStarted(network="full", secrets=("TOKEN",), brokered=("GH_PAT",))),
    (Phase.SETUP, InstructionsRestored(paths=("/workspace/x/AGENTS.md",), diff="+evil\n")),
    (Phase.AGENT, PhaseStarted(network="off", brokered=("GH_PAT",))),
    *[(Phase.AGENT, REFUSED)] * 2,
    (Phase.AGENT, replace(REFUSED, host="b.example")),
]

EXPECTED = """\
task t1 succeeded in 5.0 s
  asked      fix the test
             main (aaaaaaaaaaaa) of /srv/project, environment web
             by command: true
  says       I fixed it. All of it.
  changed    4 files, +10 -2: a, b, c, and 1 more
  checked    lint passed at the second try; test failed (status 1); in a clean room, on the change alone
  refused    3 requests: CONNECT a.example:443 (agent internet is off, by curl), CONNECT b.example:443 (agent internet \
is off, by curl)
  look at    .github/workflows/0.yml is run by the forge
             .github/workflows/1.yml is run by the forge
             .github/workflows/2.yml is run by the forge
             and 2 more: --details lists them
  undone     what setup did to /workspace/x/AGENTS.md
  secrets    TOKEN in setup alone; GH_PAT in the proxy alone; none was found on the disk
  next       cloister diff t1             shows the change
             cloister apply t1            puts it into your work tree
             cloister egress propose t1   what would let the refused requests pass
"""


def status(task: Task, *outcomes: Outcome | None) -> TaskStatus:
    over = None not in outcomes
    return TaskStatus(
        task=task,
        state=TaskState.FINISHED if over else TaskState.RUNNING,
        verdict=Verdict.SUCCEEDED if over else None,
        finished_at=task.accepted_at + timedelta(seconds=5) if over else None,
        attempts=tuple(
            AttemptStatus(
                attempt=AttemptId(f"t1-1-{n}"),
                number=n,
                state=TaskState.FINISHED if outcome else TaskState.RUNNING,
                outcome=outcome,
            )
            for n, outcome in enumerate(outcomes, 1)
        ),
    )


def told(course: list[tuple[Phase, Event]]) -> list[RecordedEvent]:
    return [
        RecordedEvent(seq=seq, at=AT, task=TaskId("t1"), attempt=AttemptId("t1-1-1"), phase=phase, event=event)
        for seq, (phase, event) in enumerate(course, 1)
    ]


def printed(of: TaskStatus, course: list[tuple[Phase, Event]], *, number: int = 1, details: bool = False) -> str:
    file = io.StringIO()
    page = Page(status=of, attempt=of.attempts[number - 1], told=told(course), details=details)
    print_page(Console(file=file, width=40), page)
    return file.getvalue()


def test_the_page_of_a_full_course(new_task) -> None:
    assert printed(status(new_task(), SUCCESS), COURSE) == EXPECTED


def test_the_details_are_everything(new_task) -> None:
    shown = printed(status(new_task(), SUCCESS), COURSE, details=True)
    for line in ("  snapshot   111111111111: none fits (first use)", "               d", "             All of it.",
                 "             | 2 failed", "             | +evil", "  not held   limits.disk: this host cannot",
                 "             .github/workflows/4.yml is run by the forge",
                 "  record     signed: cloister record show t1"):  # fmt: skip
        assert f"{line}\n" in shown, line
    assert shown.count("; ask\n") == 3


def test_nothing_is_said_as_well(new_task) -> None:
    quiet = printed(
        status(new_task(), Outcome(verdict=Verdict.SUCCEEDED, change=replace(CHANGE, diff=b"", flags=()))), []
    )
    for line in (
        "  says       nothing",
        "  checked    nothing: no checks are declared",
        "  refused    nothing",
        "  look at    nothing in particular",
        "  next       cloister task logs t1   shows what happened",
    ):
        assert f"{line}\n" in quiet
    declared = new_task(environment=Environment(name="web", checks=(Check(name="test", command="x"),)))
    assert "  checked    not run\n" in printed(status(declared, Outcome(verdict=Verdict.SUCCEEDED)), [])


@pytest.mark.parametrize("action", ["scrubbed", "refused", "allowed"])
def test_what_was_found_of_a_secret_is_said_and_never_that_nothing_was(new_task, action: str) -> None:
    found = ResidueFound(paths=("/root/.npmrc",), details=("/root/.npmrc (TOKEN)",), action=action)
    shown = printed(status(new_task(), SUCCESS), [*COURSE[:4], (Phase.SETUP, found), *COURSE[4:]])
    assert "  found      on the disk after setup: /root/.npmrc (TOKEN)\n" in shown
    assert "none was found" not in shown
    before_the_search = printed(status(new_task(), SUCCESS), COURSE[:4])
    assert "TOKEN in setup alone" in before_the_search
    assert "none was found" not in before_the_search


def test_each_attempt_has_a_page_and_names_the_others(new_task) -> None:
    failed = Outcome(verdict=Verdict.FAILED, reason="it broke\nbadly", change=CHANGE, hint="try again")
    both = status(new_task(attempts=2), SUCCESS, failed)
    first = printed(both, COURSE)
    assert first.splitlines()[1] == "attempt 1 of 2 (the best: the only one that succeeded):"
    assert "  attempt    2 failed (it broke): cloister task show t1 --attempt 2\n" in first
    second = printed(both, [], number=2)
    assert "  ended      it broke badly\n" in second
    assert "  next       try again\n" in second
    assert "cloister apply t1 --attempt 2" in second


def test_a_task_that_runs_has_no_end_yet(new_task) -> None:
    shown = printed(status(new_task(), None), COURSE)
    assert shown.splitlines()[0] == "task t1 is running"
    assert "  says" not in shown
    assert shown.splitlines()[-1] == "  next       cloister task logs t1 --follow   shows what it does"


def test_a_missing_record_is_said(new_task) -> None:
    missed = [(Phase.OUTPUT, RecordMissed(reason="the key is gone"))]
    assert "  record     none: the key is gone\n" in printed(status(new_task(), SUCCESS), missed, details=True)


HOSTILE = (
    "\x1b]0;title\x07\x1b[2J\r  checked    all passed\n  checked    all passed\u2028  checked    all passed\u202e\x9b1m"
)


@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_others_wrote_looks_like_a_line_of_ours(new_task, details: bool, terminal: bool) -> None:
    diff = f"diff --git a/{HOSTILE.splitlines()[0]} b/{HOSTILE.splitlines()[0]}\n".encode()
    flag = Flag(kind=FlagKind.LARGE, path=HOSTILE)
    outcome = replace(SUCCESS, reason=HOSTILE, message=HOSTILE, change=replace(CHANGE, diff=diff, flags=(flag,)))
    outcome = replace(outcome, verdict=Verdict.FAILED, checks=(replace(CHECKS[1], reason=HOSTILE, last_words=HOSTILE),))
    refused = replace(REFUSED, host=HOSTILE, path=HOSTILE, command=HOSTILE, rule=HOSTILE, hint=HOSTILE)
    restored = InstructionsRestored(paths=(HOSTILE,), diff=HOSTILE)
    task = new_task(prompt=HOSTILE, command=HOSTILE)
    page = Page(
        status=status(task, outcome),
        attempt=status(task, outcome).attempts[0],
        told=told([(Phase.AGENT, refused), (Phase.SETUP, restored)]),
        details=details,
    )
    file = io.StringIO()
    print_page(Console(file=file, width=60, force_terminal=terminal, color_system=None), page)
    lines = file.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("  checked")]) == 1
    assert not [line for line in lines if line.startswith("checked")]
    for character in "\x1b\x07\r\u2028\u202e\x9b":
        assert character not in file.getvalue()

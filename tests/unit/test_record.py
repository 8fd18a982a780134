"""What a record says of an attempt, from what was told of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import SignatureError
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.check import CheckResult
from cloister.model.environment import Environment, SetupRecipe
from cloister.model.event import (
    CatchingMissed,
    CheckFinished,
    DiffCollected,
    EgressAllowed,
    EgressFinished,
    EgressRefused,
    Event,
    InstructionsRestored,
    PhaseStarted,
    PolicyApplied,
    RecordedEvent,
    ResidueFound,
    SandboxProvisioned,
    SetupPlanned,
    SnapshotDigested,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
)
from cloister.model.flag import Flag, FlagKind
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import Attempt, AttemptId, Outcome, Task, TaskId, Verdict
from cloister.record import MOST_DECISIONS, PREDICATE_TYPE, STATEMENT_TYPE, Maker, make_statement, read_statement

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAKER = Maker(versions={"cloister": "1.2"}, ceiling=Ceiling(deny=("evil.example",)))
SANDBOX = SandboxProvisioned(
    image="base",
    image_digest="d" * 64,
    runtime="crun 1",
    setup="5" * 64,
    maintenance=None,
    catch_up=None,
    not_enforced=("limits.disk",),
)
SUCCESS = Outcome(verdict=Verdict.SUCCEEDED, exit_status=0, message="done", seconds={Phase.AGENT: 1.5})


def told(*events: tuple[Phase | None, Event]) -> list[RecordedEvent]:
    return [
        RecordedEvent(
            seq=seq,
            at=AT + timedelta(seconds=seq),
            task=TaskId("t1"),
            attempt=AttemptId("t1-1-1"),
            phase=phase,
            event=event,
        )
        for seq, (phase, event) in enumerate(events, 1)
    ]


def said(task: Task, events: Sequence[RecordedEvent] = (), outcome: Outcome = SUCCESS, maker: Maker = MAKER) -> Any:
    attempt = Attempt(id=AttemptId("t1-1-1"), task=task, retry=1)
    return read_statement(make_statement(attempt, outcome, events, maker, AT))


def digest(text: str) -> dict[str, str]:
    return {"sha256": sha256(text.encode()).hexdigest()}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps({"_type": STATEMENT_TYPE, "predicateType": "https://slsa.dev/provenance/v1"}).encode(),
        json.dumps({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": PREDICATE_TYPE}).encode(),
    ],
    ids=range(6),
)
def test_what_else_may_be_signed_is_no_record(payload: bytes) -> None:
    with pytest.raises(SignatureError, match="is no record"):
        read_statement(payload)


def test_an_attempt_that_got_nowhere_has_a_record_too(new_task) -> None:
    statement = said(new_task(), outcome=Outcome(verdict=Verdict.ERRORED, reason="no image"))
    assert statement["subject"] == [{"name": "base", "digest": {"gitCommit": "a" * 40}}]
    predicate = statement["predicate"]
    assert predicate["outcome"]["reason"] == "no image"
    assert predicate["attempt"] == {"id": "t1-1-1", "turn": 1, "number": 1, "retry": 1}
    nothing = [predicate[key] for key in ("change", "snapshot", "secrets", "residue", "not_enforced")]
    assert nothing == [None, None, {}, [], []]
    assert predicate["environment"]["image"] == {"name": "base", "sha256": None}
    assert predicate["policies"] == []
    assert predicate["checks"] == {"state": "not run", "results": [], "rounds": []}


def test_texts_are_there_as_digests_alone(new_task) -> None:
    environment = Environment(
        name="web",
        variables={"B": "value of B", "A": "value of A"},
        setup=SetupRecipe(script="the script", maintenance="the other script"),
    )
    task = new_task(environment=environment, prompt="the prompt", command="the command", patch=b"the patch")
    statement = said(task, told((None, SANDBOX)))
    for text in ("value of", "the script", "the other", "the prompt", "the command", "the patch", "done"):
        assert text not in json.dumps(statement)
    predicate = statement["predicate"]
    assert predicate["task"]["prompt"] == digest("the prompt")
    assert predicate["task"]["command"] == digest("the command")
    assert predicate["task"]["patch"] == digest("the patch")
    assert predicate["outcome"]["message"] == digest("done")
    assert predicate["environment"]["variables"]["names"] == ["A", "B"]
    assert predicate["environment"]["variables"]["values"] == digest('{"A": "value of A", "B": "value of B"}')
    assert (predicate["environment"]["setup"], predicate["environment"]["maintenance"]) == ({"sha256": "5" * 64}, None)


def test_the_subject_is_the_change(new_task) -> None:
    change = Change(
        base=Commit("a" * 40),
        commit=Commit("c" * 40),
        repository=Path("/mirrors/x"),
        diff=b"a diff\xff",
        stats=DiffStats(files=2, added=3, removed=4),
        flags=(Flag(kind=FlagKind.LARGE, path="not masked"),),
    )
    collected = DiffCollected(files=2, added=3, removed=4, flags=("a flag as it was told",))
    outcome = Outcome(verdict=Verdict.SUCCEEDED, change=change)
    statement = said(new_task(), told((Phase.OUTPUT, collected)), outcome)
    whole = sha256(b"a diff\xff").hexdigest()
    assert statement["subject"] == [
        {"name": "diff", "digest": {"sha256": whole}},
        {"name": "commit", "digest": {"gitCommit": "c" * 40}},
    ]
    assert statement["predicate"]["change"] == {
        "base": "a" * 40,
        "commit": "c" * 40,
        "sha256": whole,
        "bytes": 7,
        "files": 2,
        "added": 3,
        "removed": 4,
        "flags": ["a flag as it was told"],
    }
    assert "/mirrors" not in json.dumps(statement)


def test_policies_are_those_that_were_put_in_force(new_task) -> None:
    wide = PolicyApplied(mode="full", allow=(), deny=("evil.example",), methods=None, ports=(443,), audit="full")
    narrow = replace(wide, mode="limited", allow=("a.example",), methods=("GET",))
    events = told(
        (Phase.SETUP, PhaseStarted(network="full", secrets=("TOKEN",))),
        (Phase.SETUP, wide),
        (Phase.SETUP, narrow),
        (Phase.AGENT, PhaseStarted(network="limited", brokered=("GH_PAT",))),
        (Phase.AGENT, narrow),
        (Phase.OUTPUT, PhaseStarted(network="off")),
    )
    predicate = said(new_task(), events)["predicate"]
    assert [(policy["phase"], policy["mode"]) for policy in predicate["policies"]] == [
        ("setup", "full"),
        ("setup", "limited"),
        ("agent", "limited"),
    ]
    assert predicate["policies"][2] == {
        "phase": "agent",
        "mode": "limited",
        "allow": ["a.example"],
        "deny": ["evil.example"],
        "methods": ["GET"],
        "ports": [443],
        "audit": "full",
    }
    assert predicate["ceiling"]["deny"] == ["evil.example"]
    assert predicate["secrets"] == {
        "setup": {"present": ["TOKEN"], "brokered": []},
        "agent": {"present": [], "brokered": ["GH_PAT"]},
    }


def test_the_snapshot_is_the_one_that_the_sandbox_was_made_of(new_task) -> None:
    miss, hit = SnapshotMissed(key="1" * 64, reason="first use"), SnapshotHit(key="1" * 64)
    saved = SnapshotSaved(key="1" * 64)
    for events, expected in (
        ([miss, SANDBOX, saved, hit, SANDBOX], (False, "first use", True)),  # taken over after the disk was kept
        ([miss, hit, SANDBOX], (True, None, False)),  # taken over before there was a sandbox
        ([hit, SANDBOX], (True, None, False)),
    ):
        snapshot = said(new_task(), told(*((Phase.PROVISION, event) for event in events)))["predicate"]["snapshot"]
        assert (snapshot["hit"], snapshot["reason"], snapshot["saved"]) == expected


def test_the_disk_that_the_sandbox_stood_on_has_its_digest_or_none_yet(new_task) -> None:
    miss, hit, saved = SnapshotMissed(key="1" * 64, reason="r"), SnapshotHit(key="1" * 64), SnapshotSaved(key="2" * 64)
    for events, expected in (
        ([miss, SANDBOX], None),
        ([miss, SANDBOX, saved], {"key": "2" * 64, "sha256": None}),
        ([hit, SANDBOX, saved, SnapshotDigested(key="2" * 64, digest="d" * 64)], {"key": "2" * 64, "sha256": "d" * 64}),
        ([hit, SANDBOX, SnapshotDigested(key="1" * 64, digest="d" * 64)], {"key": "1" * 64, "sha256": "d" * 64}),
    ):
        snapshot = said(new_task(), told(*((Phase.PROVISION, event) for event in events)))["predicate"]["snapshot"]
        assert snapshot["stands_on"] == expected


def test_what_was_found_and_undone_is_there_and_what_did_not_hold(new_task) -> None:
    events = told(
        (Phase.PROVISION, SANDBOX),
        (Phase.PROVISION, CatchingMissed()),
        (
            Phase.SETUP,
            SetupPlanned(steps=(), notes=(), differing=(), versions=("python 3.11, asked by .python-version",)),
        ),
        (Phase.SETUP, InstructionsRestored(paths=("/workspace/x/AGENTS.md",), diff="+be evil")),
        (Phase.SETUP, ResidueFound(paths=("/root/.npmrc",), details=("/root/.npmrc: NPM_TOKEN",), action="scrubbed")),
    )
    predicate = said(new_task(), events)["predicate"]
    assert predicate["instructions_restored"] == [
        {"paths": ["/workspace/x/AGENTS.md"], "more": 0, "diff": digest("+be evil"), "left": []}
    ]
    assert predicate["residue"] == [
        {"paths": ["/root/.npmrc"], "details": ["/root/.npmrc: NPM_TOKEN"], "action": "scrubbed", "more": 0}
    ]
    assert predicate["environment"]["versions"] == ["python 3.11, asked by .python-version"]
    assert predicate["not_enforced"][0] == "limits.disk"
    assert "proxy" in predicate["not_enforced"][1]
    assert predicate["versions"] == {"cloister": "1.2", "runtime": "crun 1"}


def test_checks_are_there_without_what_they_printed(new_task) -> None:
    failed = CheckResult(name="test", ok=False, status=1, seconds=2.0, reason="status 1", last_words="it printed this")
    outcome = Outcome(verdict=Verdict.SUCCEEDED, checks=(failed,))
    checks = said(new_task(), outcome=outcome)["predicate"]["checks"]
    assert checks["state"] == "failed"
    assert (checks["results"][0]["name"], checks["results"][0]["status"]) == ("test", 1)
    assert "it printed this" not in json.dumps(checks)


def test_the_checks_of_every_round_are_there(new_task) -> None:
    def finished(name: str, round_: int, *, ok: bool, reason: str = "") -> tuple[Phase, Event]:
        event = CheckFinished(
            name=name, ok=ok, status=0 if ok else 1, reason=reason, seconds=1.0, flaky=False, notes=(), round=round_
        )
        return Phase.OUTPUT, event

    events = told(
        finished("lint", 0, ok=True),
        finished("test", 0, ok=False, reason="first"),
        finished("lint", 0, ok=True),  # its worker was killed, and the round told anew
        finished("test", 0, ok=False, reason="first"),
        finished("lint", 1, ok=False, reason="second"),
        finished("test", 1, ok=True),
    )
    passed = CheckResult(name="test", ok=True, status=0, seconds=1.0)
    checks = said(new_task(), events, Outcome(verdict=Verdict.SUCCEEDED, checks=(passed,)))["predicate"]["checks"]
    assert [[(it["name"], it["ok"], it["reason"]) for it in results] for results in checks["rounds"]] == [
        [("lint", True, ""), ("test", False, "first")],
        [("lint", False, "second"), ("test", True, "")],
    ]
    assert [it["name"] for it in checks["results"]] == ["test"]


@pytest.mark.parametrize("number", [0, 1, MOST_DECISIONS, MOST_DECISIONS + 1])
def test_every_decision_counts_and_few_are_listed(new_task, number: int) -> None:
    refused = EgressRefused(host="a.example", port=443, method="CONNECT", rule="off", hint="")
    events = told(
        *[(Phase.AGENT, refused)] * max(number - 1, 0),
        *[(Phase.AGENT, EgressAllowed(host="b.example", port=80, method="GET", rule="full", flow=1))] * min(number, 1),
        (Phase.AGENT, EgressFinished(flow=1, sent_bytes=1, received_bytes=2, seconds=0.1)),
    )
    egress = said(new_task(), events)["predicate"]["egress"]
    assert (egress["allowed"], egress["refused"]) == (min(number, 1), max(number - 1, 0))
    assert (egress["decisions"] is None) == (number > MOST_DECISIONS)
    if number:
        other = said(new_task(), events[:-1])["predicate"]["egress"]
        assert other["sha256"] != egress["sha256"], "what was carried counts too"


def test_the_same_facts_are_the_same_bytes(new_task) -> None:
    task = new_task()
    attempt = Attempt(id=AttemptId("t1-1-1"), task=task)
    other_order = Maker(versions={"b": "2", "a": "1"}, ceiling=UNBOUNDED)
    one = make_statement(attempt, SUCCESS, (), Maker(versions={"a": "1", "b": "2"}, ceiling=UNBOUNDED), AT)
    assert one == make_statement(attempt, SUCCESS, (), other_order, AT)
    assert one.isascii()

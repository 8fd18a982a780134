import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from cloister import notary
from cloister.envelope import open_envelope, payload_of
from cloister.errors import SignatureError
from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase
from cloister.sandboxes.fake import Print, Program

from .conftest import Installation

SECRET, BROKERED, VARIABLE = "canary-7f3a9c51d2e84b60", "canary-kanarek-and-more", "value-of-a-variable"
ENVIRONMENT = f"""
name = "web"
[setup]
script = "make deps"
[variables]
MODE = "{VARIABLE}"
[secrets]
TOKEN = {{ mode = "setup" }}
GH_PAT = {{ mode = "brokered" }}
[network]
agent = "limited"
allow = ["packages.example.com"]
"""


def _decision(phase: Phase, *, allowed: bool, path: str = "/") -> EgressRecord:
    return EgressRecord(
        sandbox="s",
        phase=phase,
        host="packages.example.com",
        port=443,
        method="GET",
        decision=Decision(allowed=allowed, rule="allow: packages.example.com", hint="" if allowed else "ask"),
        command=f"pip --token {SECRET}",
        path=path,
    )


@pytest.fixture
def task(installation: Installation) -> str:
    """A task that used everything there is, and printed its secrets wherever it could."""
    installation.decisions = {
        Phase.SETUP: [_decision(Phase.SETUP, allowed=True), _decision(Phase.SETUP, allowed=False, path=f"/{SECRET}")],
        Phase.AGENT: [_decision(Phase.AGENT, allowed=False)],
    }
    installation.node.programs["setup"] = Program(steps=[Print(data=f"{SECRET} {BROKERED}\n".encode())])
    message = f"I said {SECRET} and {BROKERED}".encode()
    installation.node.programs["agent"] = Program(leaves={"/cloister/out/message.md": message})
    installation.run("secret", "set", "web", "TOKEN", stdin=SECRET)
    rule = ("--brokered", "--host", "packages.example.com", "--header", "Authorization")
    installation.run("secret", "set", "web", "GH_PAT", *rule, stdin=BROKERED)
    (installation.project / "env.toml").write_text(ENVIRONMENT)
    done = installation.run("run", "--command", "make fix", "--env", "env.toml", "fix the test")
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()[0].removeprefix("task ")


@pytest.fixture
def envelope(installation: Installation, task: str) -> bytes:
    return installation.run("record", "show", task, "--envelope").stdout_bytes


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every leaf, empty containers included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner or not value:
        yield path
    for key, each in inner:
        yield from _places(each, (*path, key))


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case str() | list():
            return value + type(value)("x")
        case int() | float():
            return value + 1
        case dict():
            return {"x": 1}
        case _:
            return "something"


def _edited(envelope: bytes, place: tuple[Any, ...], *, by: Any = _other) -> bytes:
    """The envelope with one leaf of the statement edited."""
    fields = json.loads(envelope)
    statement = json.loads(base64.b64decode(fields["payload"]))
    owner = statement
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = by(owner[place[-1]])
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"))
    return json.dumps(fields | {"payload": base64.b64encode(text.encode()).decode()}).encode()


def test_every_edited_leaf_is_found(installation: Installation, envelope: bytes) -> None:
    key = installation.run("record", "key").stdout
    statement = json.loads(payload_of(envelope))
    places = list(_places(statement))
    assert len(places) > 120, "a record that says little proves little"
    for place in places:
        with pytest.raises(SignatureError):
            open_envelope(_edited(envelope, place), key)
    untouched = _edited(envelope, places[0], by=lambda value: value)
    assert open_envelope(untouched, key) == payload_of(envelope), "it is the edit that is found, not the way it is made"


def test_no_value_is_in_a_record(installation: Installation, task: str, envelope: bytes) -> None:
    payload = payload_of(envelope).decode()
    for value in (SECRET, BROKERED, VARIABLE):
        assert value not in payload
    said = json.loads(payload)["predicate"]
    assert said["secrets"] == {
        "setup": {"present": ["TOKEN"], "brokered": ["GH_PAT"]},
        "agent": {"present": [], "brokered": ["GH_PAT"]},
    }
    assert said["environment"]["variables"]["names"] == ["MODE"]
    assert said["egress"]["decisions"][1]["path"] == "/[secret TOKEN]", "it would have been there, and was masked"


def test_the_log_of_requests_has_the_digest_of_the_record(
    installation: Installation, task: str, envelope: bytes
) -> None:
    egress = json.loads(payload_of(envelope))["predicate"]["egress"]
    log = installation.run("egress", "log", task, "--attempt", "1", "--json")
    assert sha256(log.stdout_bytes).hexdigest() == egress["sha256"]
    assert (egress["allowed"], egress["refused"]) == (1, 2)
    assert installation.run("egress", "log", task, "--attempt", "2").exit_code == 2


def test_a_record_is_shown(installation: Installation, task: str) -> None:
    shown = installation.run("record", "show", task)
    assert shown.exit_code == 0, shown.output
    lines = {line[:13].strip(): line[13:] for line in shown.stdout.splitlines()}
    assert lines["attempt"] == f"1 of 1 of task {task}"
    assert lines["setup"] == "network full, secrets TOKEN, GH_PAT (brokered)"
    assert lines["requests"] == "1 let out, 2 refused"
    assert lines["change"].startswith("1 file, +1 -1, diff sha256 ")
    assert lines["not enforced"] == "limits.cpu"
    assert lines["signed"].endswith(": valid")
    assert json.loads(installation.run("record", "show", task, "--json").stdout)["subject"]
    assert installation.run("record", "show", task, "--json", "--envelope").exit_code == 2


def test_a_record_is_verified_here_and_elsewhere(installation: Installation, task: str, monkeypatch, tmp_path) -> None:
    file, key = str(tmp_path / "record.json"), str(tmp_path / "record.pub")
    assert installation.run("record", "show", task, "--output", file).exit_code == 0
    (tmp_path / "record.pub").write_text(installation.run("record", "key").stdout)
    done = installation.run("record", "verify", file)
    assert (done.exit_code, done.stdout.partition(",")[0]) == (0, f"verified: attempt 1 of task {task}")
    monkeypatch.setenv("CLOISTER_STATE", str(tmp_path / "another"))
    assert installation.run("record", "verify", file, "--key", key).exit_code == 0
    assert not (tmp_path / "another").exists(), "to verify takes no installation"
    another = installation.run("record", "verify", file)
    assert (another.exit_code, "another key" in another.stderr) == (1, True)


def test_what_is_wrong_with_a_record_is_said(installation: Installation, envelope: bytes, tmp_path) -> None:
    file = tmp_path / "record.json"
    for content, code, words in (
        (_edited(envelope, ("predicate", "outcome", "verdict")), 1, "does not fit"),
        (envelope.replace(b"vnd.in-toto+json", b"vnd.other+json"), 1, "this is no record"),
        (envelope[:-10], 2, "no signed record"),
        (b"", 2, "no signed record"),
    ):
        file.write_bytes(content)
        done = installation.run("record", "verify", str(file))
        assert (done.exit_code, words in done.stderr, done.stdout) == (code, True, ""), done.output
    file.write_bytes(envelope)
    (tmp_path / "no.pub").write_text("no key")
    assert installation.run("record", "verify", str(file), "--key", str(tmp_path / "no.pub")).exit_code == 2
    assert installation.run("record", "verify", str(tmp_path / "absent")).exit_code == 2
    assert installation.run("record", "show", "none").exit_code == 2


def test_a_record_that_was_changed_in_the_database_is_not_shown(installation: Installation, task: str) -> None:
    assert installation.run("record", "show", task).exit_code == 0
    (installation.state / "record.key").unlink()
    done = installation.run("record", "show", task)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "another key" in done.stderr
    assert installation.run("record", "show", task, "--envelope").exit_code == 0


def test_each_attempt_has_one_record(installation: Installation) -> None:
    done = installation.run("run", "--command", "x", "--attempts", "2", "fix")
    task = done.stdout.splitlines()[0].removeprefix("task ")
    numbers = [
        json.loads(installation.run("record", "show", task, "--attempt", n, "--json").stdout)["predicate"]["attempt"]
        for n in ("1", "2")
    ]
    assert [each["number"] for each in numbers] == [1, 2]
    assert installation.run("record", "show", task, "--attempt", "3").exit_code == 2


@pytest.mark.parametrize("fault", ["key", "bug"])
def test_an_attempt_ends_without_a_record_when_it_cannot_be_made(
    installation: Installation, monkeypatch, fault
) -> None:
    if fault == "key":
        installation.state.mkdir(mode=0o700)
        (installation.state / "record.key").write_text("no key")
    else:
        monkeypatch.setattr(notary, "make_statement", lambda *arguments: 1 // 0)
    done = installation.run("run", "--command", "x", "fix")
    assert done.exit_code == 0, done.output
    task = done.stdout.splitlines()[0].removeprefix("task ")
    assert "no record: " in done.stdout
    shown = installation.run("record", "show", task, "--envelope")
    assert (shown.exit_code, "has no record" in shown.stderr) == (2, True)


def test_a_task_that_is_not_over_has_no_record_yet(installation: Installation, monkeypatch) -> None:
    monkeypatch.setattr("cloister.cli.run.start_background_worker", lambda context, task: None)
    monkeypatch.setattr("cloister.cli.task.start_background_worker", lambda context, task: None)
    waiting = installation.run("run", "--detach", "--command", "x", "fix").stdout.strip()
    done = installation.run("record", "show", waiting)
    assert (done.exit_code, f"cloister task wait {waiting}" in done.stderr) == (2, True)
    installation.run("task", "cancel", waiting)
    assert "has no record" in installation.run("record", "show", waiting).stderr

"""S9: no value of a secret is on disk in any form that can be read without the master key."""

import base64
import gzip
import json
import re
import shlex
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from cloister.model.environment import Environment
from cloister.model.event import Output
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.secret import SecretUse
from cloister.model.task import Outcome, Verdict
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.tasks import SqlTaskStore
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

from ..system.files import written

CANARIES = {
    "ASCII": "canary-7f3a9c51d2e84b60",
    "PEM": "-----BEGIN CANARY KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nBKcwggSjAgEAAoIBAQC7VJTU\n-----END CANARY KEY-----",
    "DOCUMENT": '{"type": "canary", "key": "a\\"b\\\\c/d\\u00e9", "n": [1, 2]}',
    "UNICODE": "kanárek-🐤-Ωμέγα-密碼",
    "REGEX": "canary.*[^a-z]+(?P<x>$)\\d{3}|\\'\"`$HOME",
}
COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")


def _forms(value: str) -> set[bytes]:
    """Written apart from the masker's, so that one's gap is not the other's."""
    raw = value.encode()
    forms = {raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1]}
    for before in range(3):
        encoded = base64.b64encode(b"?" * before + raw)[4 if before else 0 :][:-4]
        forms |= {encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))}
    for text in (
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        shlex.quote(value),
        value.replace("'", "'\\''"),
    ):
        forms.add(text.encode())
    for ascii_only in (True, False):
        forms.add(json.dumps(value, ensure_ascii=ascii_only)[1:-1].encode())
    forms |= {line.encode() for line in value.splitlines()}
    return forms | {value.encode("utf-16-le"), value.encode("utf-16-be")}


def _contents(state: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and everything compressed in it."""
    for path in sorted(path for path in state.rglob("*") if path.is_file()):
        data = written(path)
        yield str(path.relative_to(state)), data + str(path).encode()
        for found in COMPRESSED.finditer(data):
            try:
                yield f"{path.name}, unpacked", zlib.decompressobj(wbits=47).decompress(data[found.start() :], 10**7)
            except zlib.error:
                continue


def _found(state: Path) -> set[tuple[str, str]]:
    """Which canary is to be found in which file."""
    forms = {name: _forms(value) for name, value in CANARIES.items()}
    return {
        (name, place)
        for place, data in _contents(state)
        for name, encoded in forms.items()
        if any(form in data for form in encoded)
    }


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> SealedVault:
    return SealedVault(
        SqlSecretStore(database),
        KeyFile(tmp_path / "keys" / "master.key"),
        SigningKeyFile(tmp_path / "keys" / "record.key"),
    )


async def test_no_canary_is_anywhere_in_the_state_directory(vault, database, tmp_path: Path, new_task) -> None:
    names = list(CANARIES)
    for name in names:
        await vault.set("web", name, "a former value: " + CANARIES[name])
        await vault.set("web", name, CANARIES[name])
    sealed = await vault.seal_for_task({name: CANARIES[name] for name in names[:2]})
    environment = Environment(name="web", secrets=tuple(SecretUse(name=name) for name in names))
    task = new_task(environment=environment, sealed_secrets=sealed)
    async with EmbeddedQueue.open(SqlLedger(database), tmp_path / "workers") as queue:
        await queue.submit(task)
        attempt = await queue.claim()
        secrets = await vault.open_for(attempt.task)
        assert {name: value.reveal() for name, value in secrets.values.items()} == CANARIES
        redactor = vault.redactor(secrets)
        printed = redactor.feed("".join(f"{name}={value}\n" for name, value in CANARIES.items()).encode())
        text = (printed + redactor.flush()).decode()
        await queue.record(attempt, Phase.SETUP, Output(stream="stdout", text=text, command="setup", offset=1))
        await queue.finish(
            attempt, Outcome(verdict=Verdict.FAILED, reason=text, message=repr(secrets), change=_change(text))
        )
        assert _found(tmp_path) == set()
    await vault.rotate_key()
    await vault.remove("web", names[0])
    assert (await SqlTaskStore(database).get("t1")).verdict is Verdict.FAILED
    assert (tmp_path / "cloister.db-wal").stat().st_size > 0
    assert _found(tmp_path) == set()


def _change(text: str) -> Change:
    return Change(
        base=Commit("a" * 40),
        commit=Commit("b" * 40),
        repository=Path("/state/x.git"),
        diff=text.encode(),
        stats=DiffStats(files=1, added=1, removed=0),
    )


@pytest.mark.parametrize("name", CANARIES)
async def test_the_search_finds_what_was_not_sealed(database: Database, tmp_path: Path, new_task, name: str) -> None:
    value = CANARIES[name]
    await SqlLedger(database).accept(new_task(prompt=value), [])
    assert {found for found, _ in _found(tmp_path)} == {name}


@pytest.mark.parametrize("name", CANARIES)
async def test_the_search_finds_a_value_in_a_compressed_diff(database, tmp_path: Path, new_task, name: str) -> None:
    ledger = SqlLedger(database)
    await ledger.accept(new_task(), [])
    attempt = await ledger.claim("worker", lambda _: False)
    await ledger.finish(attempt.lease, Outcome(verdict=Verdict.SUCCEEDED, change=_change(CANARIES[name])))
    assert {found for found, _ in _found(tmp_path)} == {name}


@pytest.mark.parametrize("name", CANARIES)
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda value: base64.b64encode(b"user:" + value.encode()),
        lambda value: base64.urlsafe_b64encode(b"me:" + value.encode() + b"\n"),
        lambda value: value.encode().hex().encode(),
        lambda value: quote(value, safe="").encode(),
        lambda value: json.dumps({"x": value}).encode(),
        lambda value: shlex.quote(value).encode(),
        lambda value: gzip.compress(b"before " + value.encode()),
    ],
    ids=["raw", "base64", "base64url", "hex", "url", "json", "shell", "gzip"],
)
def test_the_search_finds_every_form(tmp_path: Path, name: str, encode) -> None:
    (tmp_path / "leak").write_bytes(bytes(1000) + encode(CANARIES[name]) + bytes(1000))
    assert {found for found, _ in _found(tmp_path)} == {name}

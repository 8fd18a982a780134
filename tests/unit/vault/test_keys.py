"""The file of the master key."""

import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import ConflictError, VaultError
from cloister.vault import keys
from cloister.vault.keys import KEY_BYTES, KeyFile

LOAD = """
import sys
from pathlib import Path
from cloister.vault.keys import KeyFile
print(KeyFile(Path(sys.argv[1])).load().current.id.hex())
"""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o777])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    KeyFile(path).load()
    path.chmod(mode)
    with pytest.raises(VaultError, match=r"others than its owner.*master\.key") as refusal:
        KeyFile(path).load()
    assert refusal.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_file_of_another_size_is_no_key(tmp_path: Path, size: int) -> None:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(bytes(size))
    with pytest.raises(VaultError, match="no master key"):
        KeyFile(path).load()


def test_a_place_that_cannot_hold_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(VaultError, match="cannot be used"):
        KeyFile(tmp_path / "keys" / "master.key").load()


def test_the_first_use_makes_a_private_key_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    before = os.umask(0)
    try:
        first = KeyFile(path).load()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_size == KEY_BYTES
    assert list(path.parent.iterdir()) == [path]
    assert KeyFile(path).load().current.id == first.current.id


def test_processes_that_use_it_first_at_once_have_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(tmp_path / "keys" / "master.key")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate()[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0] * 6


def test_a_key_does_not_print_itself(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    keyring = KeyFile(path).load()
    assert path.read_bytes().hex() not in repr(keyring)
    assert repr(path.read_bytes()) not in repr(keyring)


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "master.key").load().current
    assert key.derive("one") == key.derive("one") != key.derive("two")
    assert (tmp_path / "master.key").read_bytes() not in {key.derive("one"), key.derive("")}


def test_a_replacement_that_fails_leaves_the_key_and_goes_on_with_the_same_new_one(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "master.key")
    old = keys.load().current.id
    with pytest.raises(KeyError), keys.replacing() as new:
        raise KeyError
    assert keys.load().current.id == old
    assert new.id in keys.load().by_id
    with keys.replacing() as again:
        assert again.id == new.id
    assert keys.load().current.id == new.id
    assert old in keys.load().by_id


@pytest.mark.parametrize("read", range(1, 4))
def test_keys_that_are_there_are_found_whenever_a_replacement_ends_meanwhile(tmp_path, monkeypatch, read: int) -> None:
    path = tmp_path / "master.key"
    replacing = ExitStack()
    old = KeyFile(path).load().current.id
    new = replacing.enter_context(KeyFile(path).replacing()).id
    real, reads = keys.read_private, iter(range(1, 100))

    def read_private(*arguments: Any, **named: Any) -> bytes:
        if next(reads) == read:
            replacing.close()
        return real(*arguments, **named)

    monkeypatch.setattr(keys, "read_private", read_private)
    assert {old, new} <= set(KeyFile(path).load().by_id)


def test_two_replacements_at_once_are_refused(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "master.key")
    with key.replacing() as new, pytest.raises(ConflictError, match="at this moment"), key.replacing():
        pass
    assert key.load().current.id == new.id


def test_a_half_made_new_key_stops_nothing(tmp_path: Path) -> None:
    """A file that was cut short is a draft, and drafts are no keys."""
    key = KeyFile(tmp_path / "master.key")
    old = key.load().current.id
    (tmp_path / ".master.key.next.0123456789abcdef").write_bytes(b"half")
    (tmp_path / ".master.key.previous.0123456789abcdef").write_bytes(b"half")
    assert key.load().current.id == old
    with key.replacing():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"master.key", "master.key.previous", "master.key.lock"}


def test_the_key_before_the_last_is_forgotten(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "master.key")
    ids = [keys.load().current.id]
    for _ in range(2):
        with keys.replacing():
            pass
        ids.append(keys.load().current.id)
    assert set(keys.load().by_id) == set(ids[1:])
    assert {path.name for path in tmp_path.iterdir()} == {"master.key", "master.key.previous", "master.key.lock"}

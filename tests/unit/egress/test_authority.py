"""The authority's file, and the certificates it signs."""

from datetime import timedelta
from pathlib import Path

import pytest

from cloister.egress import authority
from cloister.egress.authority import Leaves, load_authority
from cloister.errors import EgressError


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made = load_authority(tmp_path / "state")
    assert load_authority(tmp_path / "state") == made
    assert [(path.name, path.stat().st_mode & 0o777) for path in (tmp_path / "state").iterdir()] == [
        ("authority.pem", 0o600)
    ]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_authority(tmp_path)
    (tmp_path / "authority.pem").chmod(0o640)
    with pytest.raises(EgressError, match="others than its owner"):
        load_authority(tmp_path)


@pytest.mark.parametrize("text", ["", "nonsense"])
def test_a_file_that_is_no_authority_is_told_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "authority.pem"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(EgressError, match="holds no authority"):
        load_authority(tmp_path)
    assert path.read_text() == text


def test_it_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "_LIFE", timedelta(days=89))
    ending = load_authority(tmp_path)
    monkeypatch.undo()
    renewed = load_authority(tmp_path)
    assert renewed != ending
    assert load_authority(tmp_path) == renewed


def test_leaves_are_remembered_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "_MOST_LEAVES", 2)
    leaves = Leaves(load_authority(tmp_path))
    first, second = leaves.context_for("a.example"), leaves.context_for("192.0.2.1")
    assert leaves.context_for("a.example") is first
    leaves.context_for("2001:db8::1")
    assert leaves.context_for("a.example") is first, "the one that was used longest ago goes"
    assert leaves.context_for("192.0.2.1") is not second

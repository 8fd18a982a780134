"""What `--repo` means."""

from pathlib import Path

import pytest

from cloister.cli.work_tree import repository_address, vault_name
from cloister.errors import NotFoundError


def test_a_path_that_is_not_there_is_told_even_where_an_address_could_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("nothing", "./host:path", "sub/host:path"):
        with pytest.raises(NotFoundError, match="there is no"):
            repository_address(path)


@pytest.mark.parametrize("address", ["git@host:a/b", "work:b", "git@[::1]:b", "ssh://host/x", "https://host/x"])
def test_an_address_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert repository_address(address) == address
    assert vault_name(address) == address


def test_a_path_of_that_form_is_a_path_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work:b" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert repository_address("work:b") == str(tmp_path / "work:b")

"""What a command writes into the settings, and what it leaves there."""

import os
import stat
from pathlib import Path

import pytest

from cloister import settings_files
from cloister.cli.settings_file import write_setting
from cloister.errors import UsageError
from cloister.settings_files import load_settings

URL = 'url = "https://github.example.com"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[github]\napp = 7\n"),
        (f"slots = 2  # mine\n\n[github]\n{URL}\n", f"slots = 2  # mine\n\n[github]\n{URL}\napp = 7\n"),
        ("[github]\napp = 6 # of ours\n[models]\n", "[github]\napp = 7 # of ours\n[models]\n"),
        (f"github.{URL}\n", f"github.{URL}\ngithub.app = 7\n"),
        (f"github = {{ {URL} }}\n", f"github = {{ {URL}, app = 7}}\n"),
    ],
)
def test_a_key_is_set_and_all_else_stays(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "real.toml"
    file.write_text(before)
    file.chmod(0o640)
    config = tmp_path / "cloister.toml"
    config.symlink_to(file)
    assert write_setting(config, "github", "app", 7) == file
    assert file.read_text() == after
    assert (stat.S_IMODE(file.stat().st_mode), config.is_symlink()) == (0o640, True)
    assert load_settings(config).github.app == 7
    assert sorted(tmp_path.iterdir()) == [config, file]


@pytest.mark.parametrize("broken", ["[github\n", "github = 1\n"])
def test_a_file_that_cannot_be_read_stays(tmp_path: Path, broken: str) -> None:
    config = tmp_path / "cloister.toml"
    config.write_text(broken)
    with pytest.raises(UsageError, match="cannot read the settings file"):
        write_setting(config, "github", "app", 7)
    assert config.read_text() == broken


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write the settings file"):
        write_setting(tmp_path / "file" / "cloister.toml", "github", "app", 7)


def test_of_two_files_it_is_the_one_whose_table_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, own = tmp_path / "etc/cloister.toml", tmp_path / "own/cloister.toml"
    for file in (system, own):
        file.parent.mkdir()
    monkeypatch.setattr(settings_files, "settings_files", lambda config: (system, own))
    system.write_text(f"[github]\n{URL}\n")
    own.write_text("slots = 2\n")
    assert write_setting(None, "github", "app", 7) == system
    assert str(load_settings().github.url) == "https://github.example.com"
    assert load_settings().github.app == 7
    own.write_text(f"[github]\n{URL}\n")
    assert write_setting(None, "github", "app", 8) == own
    for file in (system, own):
        file.unlink()
    assert write_setting(None, "github", "app", 9) == (system if os.geteuid() == 0 else own)

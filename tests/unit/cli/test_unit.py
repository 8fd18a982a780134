"""The unit for systemd is one, and as closed as it says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cloister.cli.unit import unit_text

from .conftest import Installation

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")

HIGHEST_EXPOSURE = 8.2
"""Of systemd's 10. An ordinary service that nobody hardened has 9.6."""


def _unit(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cloister.service"
    path.write_text(text)
    return path


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


def _exposure(path: Path) -> float:
    done = _analyze("security", "--offline=yes", "--no-pager", path)
    found = re.search(r"Overall exposure level for cloister.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def test_it_runs_the_server_as_it_was_asked_to(installation: Installation) -> None:
    done = installation.run("serve", "--print-unit", "--listen", "127.0.0.1:8450")
    assert done.exit_code == 0, done.output
    (command,) = re.findall(r"^ExecStart=(.*)$", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"/\S+/cloister serve --listen 127\.0\.0\.1:8450", command)
    assert f"Environment=CLOISTER_STATE={installation.state}\n" in done.stdout
    assert "KillMode=process" in done.stdout, "containers outlive it"
    assert not installation.state.exists(), "nothing else was done"


@needs_systemd
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    text = unit_text(Path("/bin/true"), state=Path("/srv/a b/100%"), config=None, listen="[::1]:1", drain_seconds=60)
    assert "TimeoutStopSec=90" in text
    assert 'Environment="CLOISTER_STATE=/srv/a b/100%%"' in text
    done = _analyze("verify", "--man=no", _unit(tmp_path, text))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = _analyze("verify", "--man=no", _unit(tmp_path, text.replace("KillMode=process", "KillMode=nonsense")))
    assert "kill mode" in broken.stderr, "the twin: it would have been seen"


@needs_systemd
def test_it_is_more_closed_than_a_service_that_nobody_hardened(tmp_path: Path) -> None:
    text = unit_text(Path("/bin/true"), state=Path("/srv"), config=None, listen=None, drain_seconds=60)
    bare = re.sub(r"^(NoNew|Capability|Restrict|Keyring|UMask).*\n", "", text, flags=re.MULTILINE)
    assert _exposure(_unit(tmp_path, bare)) > _exposure(_unit(tmp_path, text))
    assert _exposure(_unit(tmp_path, text)) <= HIGHEST_EXPOSURE

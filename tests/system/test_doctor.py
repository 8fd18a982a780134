import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.doctor.facts import RUNTIMES


def doctor(state: Path, *options: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "cloister", "doctor", *options],
        env={**os.environ, "CLOISTER_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_host_that_cannot_hold_disks_ends_with_3(tmp_path: Path) -> None:
    state = tmp_path / "a:b"
    state.mkdir()
    answer = doctor(state, "--json")
    assert answer.returncode == 3
    failures = [finding for finding in json.loads(answer.stdout) if finding["state"] == "fail"]
    assert "state directory" in {finding["name"] for finding in failures}
    assert all(finding["do"] for finding in failures)


@pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")
def test_this_host_can_run_sandboxes_and_looking_leaves_nothing(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mounts").read_text().count(str(tmp_path))
    answer = doctor(tmp_path / "state", "--json")
    findings = {finding["name"]: finding for finding in json.loads(answer.stdout)}
    assert answer.returncode == 0, answer.stdout
    assert findings["overlay"]["state"] == "ok"
    assert findings["runtime"]["what"].split()[0] in RUNTIMES
    assert list(tmp_path.iterdir()) == []
    assert Path("/proc/self/mounts").read_text().count(str(tmp_path)) == mounts


def test_elsewhere_than_on_a_terminal_each_finding_is_one_line(tmp_path: Path) -> None:
    lines = doctor(tmp_path).stdout.splitlines()
    assert len(lines) > 10
    assert all(line.split("\t")[0] in ("ok", "warn", "fail") for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_whether_programs_can_be_caught_is_tried_and_not_read_off_a_program(tmp_path: Path) -> None:
    (library,) = Path("/usr/lib").glob("*/libnftables.so.1")
    hidden = ("unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {library.resolve()} && exec "$@"', "sh")
    here = _finding(doctor(tmp_path, "--json"), "programs that ignore the proxy")
    without = _finding(doctor(tmp_path, "--json", prefix=hidden), "programs that ignore the proxy")
    assert (here["state"], without["state"]) == ("ok", "warn")
    assert "libnftables.so.1 is not installed" in without["what"]
    assert "apt install nftables" in without["do"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything, and becomes another user")
def test_a_file_of_authorities_that_the_egress_process_cannot_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities = tmp_path / "corp.pem"
    authorities.write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    monkeypatch.setenv("CLOISTER_EGRESS_UID", "64321")
    tmp_path.chmod(0o700)
    told = _finding(doctor(tmp_path, "--json"), "authorities")
    assert told["state"] == "warn"
    assert str(authorities) in told["what"]
    assert "64321" in told["what"]
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    names = [finding["name"] for finding in json.loads(doctor(tmp_path, "--json").stdout)]
    assert "authorities" not in names, "the twin: it can be read now"


# Removes a package and mends that, with the real apt, on a system that is a copy: the machine's own stays as it is.
REMOVE_AND_FIX = """
set -e
for folder in etc usr var; do
    mkdir -p "$1/$folder/upper" "$1/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
shift
apt-get remove -qq --yes uidmap >/dev/null 2>&1
if command -v newuidmap; then exit 9; fi
exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_missing_package_is_installed_and_looked_for_again(tmp_path: Path) -> None:
    prefix = ("unshare", "--mount", "sh", "-c", REMOVE_AND_FIX, "sh", str(tmp_path))
    answer = doctor(tmp_path, "--fix", "--yes", "--json", prefix=prefix)
    assert answer.returncode == 0, answer
    assert "will be installed, without starting a service: uidmap\n" in answer.stderr
    assert "\ninstalled: uidmap\n" in answer.stderr
    assert _finding(answer, "newuidmap")["state"] == "ok"


def _finding(answer: subprocess.CompletedProcess[str], name: str) -> dict[str, str]:
    (found,) = [finding for finding in json.loads(answer.stdout) if finding["name"] == name]
    return dict(found)

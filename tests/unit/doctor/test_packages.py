"""Installing, with programs in place of Debian's that check how they are called."""

import os
from pathlib import Path

import pytest

from cloister.doctor.packages import install, installed_packages, raise_sysctls
from cloister.errors import HostError

# Refuses everything but the two calls that are right, and to install while services could start.
APT_GET = r"""#!/bin/sh
set -eu
cd "$WORLD"
echo "$*" >>calls
case "$*" in
    "update -qq") exit "$(cat update-status)" ;;
    "install -qq --yes --no-upgrade --no-install-recommends -o DPkg::Lock::Timeout=120 -- "*) ;;
    *) exit 90 ;;
esac
[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 91
status=0
"$WORLD/policy-rc.d" nginx start || status=$?
[ "$status" = 101 ] || exit 92
while [ "$1" != -- ]; do shift; done
shift
for package; do
    grep -qx "$package" available || { echo "E: Unable to locate package $package" >&2; exit 100; }
done
for package; do echo "installed $package" >>dpkg; done
"""
DPKG_QUERY = r"""#!/bin/sh
set -eu
[ "$1 $2 $3" = '--show --showformat=${db:Status-Status} ${Package}\n --' ] || exit 90
shift 3
status=0
for package; do grep " $package\$" "$WORLD/dpkg" || status=1; done
exit "$status"
"""
SYSCTL = r"""#!/bin/sh
set -eu
[ "$1 $2" = "-q -w" ] || exit 90
shift 2
for setting; do
    file=$WORLD/proc/$(echo "${setting%%=*}" | tr . /)
    [ -w "$file" ] && echo "${setting#*=}" >"$file"
done
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing installed, on which git and crun can be."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("apt-get", APT_GET), ("dpkg-query", DPKG_QUERY), ("sysctl", SYSCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    if os.geteuid() != 0:
        (programs / "sudo").write_text('#!/bin/sh\n[ "$1" = --non-interactive ] && shift\nexec "$@"\n')
        (programs / "sudo").chmod(0o755)
    (tmp_path / "available").write_text("git\ncrun\n")
    (tmp_path / "dpkg").write_text("")
    (tmp_path / "update-status").write_text("0")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("WORLD", str(tmp_path))
    return tmp_path


async def test_what_cannot_be_installed_is_returned_and_nothing_stays_behind(
    world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await install(["git", "nonsense"], policy=world / "policy-rc.d") == ["git", "nonsense"]
    assert not (world / "policy-rc.d").exists()
    output = capfd.readouterr()
    assert output.out == ""
    assert "Unable to locate package nonsense" in output.err


async def test_packages_are_installed_while_no_service_can_start(world: Path) -> None:
    assert await install(["git", "crun"], policy=world / "policy-rc.d") == []
    assert await installed_packages(["git", "skopeo"]) == {"git"}
    assert not (world / "policy-rc.d").exists()


async def test_somebody_elses_policy_is_left_as_it_is(world: Path) -> None:
    theirs = "#!/bin/sh\n# theirs\nexit 101\n"
    (world / "policy-rc.d").write_text(theirs)
    (world / "policy-rc.d").chmod(0o755)
    assert await install(["git"], policy=world / "policy-rc.d") == []
    assert (world / "policy-rc.d").read_text() == theirs


async def test_old_lists_of_packages_are_better_than_none(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (world / "update-status").write_text("100")
    assert await install(["git"], policy=world / "policy-rc.d") == []
    assert "lists of packages could not be renewed" in capfd.readouterr().err


async def test_without_apt_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as refusal:
        await install(["git", "crun"])
    assert "git crun" in (refusal.value.hint or "")
    assert await installed_packages(["git"]) == frozenset()


async def test_kernel_settings_are_raised_and_never_lowered(world: Path) -> None:
    (world / "proc/user").mkdir(parents=True)
    (world / "proc/fs").mkdir()
    (world / "proc/user/max").write_text("96365\n")
    (world / "proc/fs/instances").write_text("128\n")
    wanted = {"user.max": 65536, "fs.instances": 1024, "kernel.unknown": 1}
    assert await raise_sysctls(wanted, proc=world / "proc") == ["kernel.unknown"]
    assert (world / "proc/user/max").read_text() == "96365\n"
    assert (world / "proc/fs/instances").read_text() == "1024\n"

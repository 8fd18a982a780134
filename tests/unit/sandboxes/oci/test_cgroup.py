"""Each layout of control groups, as a directory that looks like it."""

import subprocess
from pathlib import Path

import pytest

from cloister.errors import HostError
from cloister.sandboxes.oci import cgroup
from cloister.sandboxes.oci.cgroup import CgroupLayout

FILES = {
    CgroupLayout.V2: ["cgroup.controllers", "cgroup.procs"],
    CgroupLayout.HYBRID: ["unified/cgroup.procs", "pids/cgroup.procs", "memory/cgroup.procs"],
    CgroupLayout.V1: ["systemd/cgroup.procs", "pids/cgroup.procs", "memory/cgroup.procs"],
}
MEMBERSHIPS = {
    CgroupLayout.V2: "0::/system.slice/cloister.service\n",
    CgroupLayout.HYBRID: "4:cpu,cpuacct:/\n3:pids:/system.slice\n1:name=systemd:/system.slice\n0::/system.slice\n",
    CgroupLayout.V1: "4:rdma,pids:/system.slice\n3:cpu,cpuacct:/\n1:name=systemd:/system.slice\n",
}
GROUPS = {
    CgroupLayout.V2: ["system.slice/cloister.service"],
    CgroupLayout.HYBRID: ["pids/system.slice"],
    CgroupLayout.V1: ["pids/system.slice"],
}


@pytest.fixture(params=list(CgroupLayout), ids=lambda layout: layout.name)
def layout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CgroupLayout:
    found: CgroupLayout = request.param
    for name in FILES[found]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    return found


def test_it_is_known_by_its_files(layout: CgroupLayout) -> None:
    assert cgroup.find_layout() is layout


def test_the_group_that_counts_processes_is_found(layout: CgroupLayout, tmp_path: Path) -> None:
    found = list(cgroup._own_groups(MEMBERSHIPS[layout]))
    assert found == [tmp_path / name for name in GROUPS[layout]]


@pytest.mark.parametrize("layout", [CgroupLayout.V1], indirect=True)
def test_a_host_that_counts_no_processes_has_none(layout: CgroupLayout) -> None:
    assert list(cgroup._own_groups("1:name=systemd:/\n")) == []


def test_version_2_hands_the_controllers_on_in_the_root_and_in_a_group_of_the_sandbox(
    layout: CgroupLayout, tmp_path: Path
) -> None:
    cgroup.hold_controllers("one")
    written = {file.parent.name: file.read_text() for file in tmp_path.rglob("cgroup.subtree_control")}
    both = dict.fromkeys((tmp_path.name, "cloister.one.=controllers"), "+cpu +memory +pids")
    assert written == (both if layout is CgroupLayout.V2 else {})


@pytest.mark.parametrize("layout", [CgroupLayout.V2], indirect=True)
def test_a_host_that_switches_no_controllers_on_is_an_error(layout: CgroupLayout, tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").mkdir()
    with pytest.raises(HostError, match="control groups cannot hold limits"):
        cgroup.hold_controllers("one")


def test_groups_are_removed_in_every_hierarchy_and_their_members_killed(layout: CgroupLayout, tmp_path: Path) -> None:
    hierarchy = "" if layout is CgroupLayout.V2 else "memory"
    group, neighbour = (tmp_path / hierarchy / f"cloister.{name}.agent" for name in ("one", "two"))
    group.mkdir()
    neighbour.mkdir()
    with subprocess.Popen(["sleep", "600"]) as member:
        # A directory with a file in it stays, as a group with a member does.
        (group / "cgroup.procs").write_text(f"{member.pid}\n")
        cgroup.remove_groups("one.")
        assert member.wait() == -9
    assert group.exists()
    (group / "cgroup.procs").unlink()
    cgroup.remove_groups("one.")
    assert not group.exists()
    assert neighbour.exists()


def test_who_hastens_enters_again_and_again_and_stops(layout: CgroupLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    groups = [cgroup.ROOT / name for name in GROUPS[layout]]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    haste = cgroup.HastenedEntry()

    def pause(seconds: float) -> None:
        for group in groups:
            entered.append((group / "cgroup.procs").read_text())
            (group / "cgroup.procs").unlink()
        if len(entered) == 3:
            haste._until = 0.0

    monkeypatch.setattr(cgroup, "_own_groups", lambda memberships: iter(groups))
    monkeypatch.setattr(cgroup.time, "sleep", pause)
    haste._until = cgroup.time.monotonic() + 60
    haste._enter_own_group()
    assert entered == ["0"] * 3

import os
import stat
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.sandboxes.oci.image_tree import clean_tree, installed_packages, seal_tree

BASE = 1_000_000_000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")


def _write(path: Path, content: str = "", *, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.chown(path, *owner)
    path.chmod(mode)
    return path


def _tree(root: Path) -> Path:
    _write(root / "usr/bin/su", "program", mode=0o4755)
    _write(root / "var/mail/ann", owner=(1000, 8), mode=0o2660)
    (root / "bin").symlink_to("usr/bin")
    return root


def test_a_device_is_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "sda", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    with pytest.raises(SandboxError, match="sda"):
        seal_tree(tmp_path, uid_base=BASE)


def test_an_owner_beyond_the_containers_range_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "file", owner=(0, 65_536))
    with pytest.raises(SandboxError, match="65536"):
        seal_tree(tmp_path, uid_base=BASE)


def test_owners_are_shifted_and_modes_are_kept(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    seal_tree(root, uid_base=BASE)
    su, mail, link = (root / "usr/bin/su").stat(), (root / "var/mail/ann").stat(), (root / "bin").lstat()
    assert (su.st_uid, su.st_gid, stat.S_IMODE(su.st_mode)) == (BASE, BASE, 0o4755)
    assert (mail.st_uid, mail.st_gid, stat.S_IMODE(mail.st_mode)) == (BASE + 1000, BASE + 8, 0o2660)
    assert (link.st_uid, link.st_gid) == (BASE, BASE)
    assert root.stat().st_uid == BASE


def test_a_file_with_two_names_is_shifted_and_counted_once(tmp_path: Path) -> None:
    _write(tmp_path / "one", "12345")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert seal_tree(tmp_path, uid_base=BASE).size_bytes == 5
    assert (tmp_path / "two").stat().st_uid == BASE


def test_a_target_outside_is_left_alone(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside", "host's")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    seal_tree(root, uid_base=BASE)
    assert outside.stat().st_uid == 0


def test_the_digest_depends_on_neither_time_nor_place_nor_base(tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "elsewhere/two")
    os.utime(two / "usr/bin/su", (1, 1))
    assert seal_tree(one, uid_base=BASE) == seal_tree(two, uid_base=2 * BASE)


@pytest.mark.parametrize("change", ["content", "mode", "owner", "name", "target", "hard link"])
def test_the_digest_changes_with(tmp_path: Path, change: str) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    match change:
        case "content":
            (two / "usr/bin/su").write_text("Program")
        case "mode":
            (two / "usr/bin/su").chmod(0o755)
        case "owner":
            os.chown(two / "usr/bin/su", 1, 0)
        case "name":
            (two / "usr/bin/su").rename(two / "usr/bin/us")
        case "target":
            (two / "bin").unlink()
            (two / "bin").symlink_to("usr/sbin")
        case "hard link":
            _write(one / "usr/bin/sudo", "program", mode=0o4755)
            (two / "usr/bin/sudo").hardlink_to(two / "usr/bin/su")
    assert seal_tree(one, uid_base=BASE).digest != seal_tree(two, uid_base=BASE).digest


def test_what_belongs_to_the_host_or_the_build_is_removed(tmp_path: Path) -> None:
    dropped = [
        "etc/resolv.conf",
        "etc/hostname",
        "etc/ssh/ssh_host_rsa_key",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "var/log/apt/history.log",
        "var/lib/apt/lists/mirror_Packages",
        "tmp/left/over",
        "run/lock/it",
        "dev/note",
    ]
    for name in dropped:
        _write(tmp_path / name, "x")
    kept = _write(tmp_path / "etc/ssh/ssh_config", "x")
    _write(tmp_path / "etc/machine-id", "0123")
    clean_tree(tmp_path)
    assert [name for name in dropped if (tmp_path / name).exists()] == []
    assert kept.exists()
    assert (tmp_path / "etc/machine-id").read_bytes() == b""
    assert (tmp_path / "tmp").is_dir()


def test_packages_are_read_from_the_tree_and_half_installed_ones_are_not(tmp_path: Path) -> None:
    _write(
        tmp_path / "var/lib/dpkg/status",
        "Package: git\nStatus: install ok installed\nVersion: 1:2.39.5-0\nDescription: fast\n Version: no\n\n"
        "Package: vim\nStatus: deinstall ok config-files\nVersion: 9.0\n\n"
        "Package: adduser\nStatus: install ok installed\nVersion: 3.134\n",
    )
    assert installed_packages(tmp_path) == {"adduser": "3.134", "git": "1:2.39.5-0"}

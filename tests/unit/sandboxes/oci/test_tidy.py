"""What no two sandboxes may share is taken out of a layer; everything else stays as it is."""

import os
import socket
from pathlib import Path

from cloister.sandboxes.oci.tidy import tidy_layer


def write(upper: Path, path: str, text: str = "x") -> Path:
    place = upper / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_identities_keys_and_seeds_go_and_the_rest_stays(tmp_path: Path) -> None:
    identity = write(tmp_path, "etc/machine-id", "0a1b\n")
    gone = [
        write(tmp_path, path)
        for path in ("etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "var/lib/systemd/random-seed")
    ]
    kept = [write(tmp_path, path) for path in ("etc/ssh/sshd_config", "etc/hostname", "opt/machine-id")]
    tidy_layer(tmp_path)
    assert identity.read_text() == ""
    assert not any(path.exists() for path in gone)
    assert all(path.read_text() == "x" for path in kept)


def test_sockets_pipes_and_devices_go_and_marks_of_removal_stay(tmp_path: Path) -> None:
    folder = tmp_path / "opt/deep"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
    os.mknod(folder / "null", 0o20666, os.makedev(1, 3))
    os.mknod(folder / "removed", 0o20000, os.makedev(0, 0))
    (folder / "link").symlink_to("/nowhere")
    tidy_layer(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["link", "removed"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in ("machine-id", "ssh/ssh_host_rsa_key"):
        write(outside, name)
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "etc").symlink_to(outside)
    (upper / "var").symlink_to(outside)
    (upper / "folder").symlink_to(outside)
    os.mkfifo(outside / "pipe")
    tidy_layer(upper)
    assert (outside / "machine-id").read_text() == "x"
    assert (outside / "ssh/ssh_host_rsa_key").exists()
    assert (outside / "pipe").exists()

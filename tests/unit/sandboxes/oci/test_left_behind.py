"""What an agent left that no change holds, out of the layer that it wrote to."""

import os
from pathlib import Path

from cloister.sandboxes.oci.left_behind import list_left_behind


def write(upper: Path, path: str) -> None:
    place = upper / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("x")


def test_files_links_and_removals_are_told_and_caches_are_not(tmp_path: Path) -> None:
    for path in ("opt/a", "usr/lib/b.py", "root/.bashrc", "workspace/shop/ignored/c", "workspace/shop/changed"):
        write(tmp_path, path)
    for path in ("root/.cache/x", "var/log/x", "tmp/x", "cloister/out/x", "opt/__pycache__/b.pyc", "usr/lib/b.pyc"):
        write(tmp_path, path)
    write(tmp_path, "workspace/shop/.git/index")
    write(tmp_path, "workspace/other/d")
    (tmp_path / "opt/link").symlink_to("/etc/passwd")
    os.mknod(tmp_path / "opt/gone", 0o20000, os.makedev(0, 0))
    assert list_left_behind(tmp_path, "shop", frozenset({"changed"})) == [
        "/opt/a",
        "/opt/gone",
        "/opt/link",
        "/root/.bashrc",
        "/usr/lib/b.py",
        "/workspace/other/d",
        "/workspace/shop/ignored/c",
    ]


def test_a_work_tree_that_is_gone_and_a_deep_tree_break_nothing(tmp_path: Path) -> None:
    (tmp_path / "workspace").symlink_to("/nowhere")
    deep = tmp_path
    for _ in range(30):
        deep /= "d" * 100
    deep.mkdir(parents=True)
    assert list_left_behind(tmp_path, "shop", frozenset()) == ["/workspace"]

"""What the residue gate's search finds on a disk, and what it must not take for a secret; see residue.json."""

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import os
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import SandboxError, TaskFailedError
from cloister.model.secret import SecretValue
from cloister.residue import ResidueSearch
from cloister.sandboxes.oci import searcher
from cloister.sandboxes.oci.searcher import search_disk

CORPUS = json.loads((Path(__file__).with_name("residue.json")).read_text())
SECRET: str = CORPUS["secret"]
VALUES = {"NPM_TOKEN": SecretValue(SECRET)}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root searches disks of others")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    root = tmp_path / "disk"
    for case in [*CORPUS["holds"], *CORPUS["holds_not"]]:
        write(root, case, SECRET)
    return root


async def test_every_form_is_found_and_no_near_miss(disk: Path) -> None:
    found = {residue.path: residue for residue in await search_disk(disk, VALUES)}
    wanted = {f"/{case['path']}" for case in CORPUS["holds"]}
    assert (wanted - found.keys(), found.keys() - wanted) == (set(), set())
    assert all(residue.names == ("NPM_TOKEN",) for residue in found.values())
    for case in CORPUS["holds"]:
        if "tool" in case:
            assert found[f"/{case['path']}"].tool == case["tool"]
    assert found["/srv/package.whl"].member == "inside.txt"


async def test_the_same_disk_with_another_secret_holds_nothing(tmp_path: Path) -> None:
    """The twin: it is the value that is found, not the kind of file."""
    other = "Zk_3RwM7+y/5cXs2NnVd86jTePg$a'Lp"
    for case in [*CORPUS["holds"], *CORPUS["holds_not"]]:
        write(tmp_path, {**case, "path": case["path"].replace("tk_9QvN2", "other")}, other)
    assert await search_disk(tmp_path, VALUES) == []
    assert await search_disk(tmp_path, {"OTHER": SecretValue(other)}) != []


async def test_scrubbing_rewrites_text_and_removes_caches_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "root/.cache/pip").mkdir(parents=True)
    (tmp_path / "root/.cache/pip/blob").write_bytes(b"\0" + SECRET.encode())
    (tmp_path / "root/.npmrc").write_text(f"a=1\n//r/:_authToken={SECRET}\nb=2\n")
    (tmp_path / "root/.npmrc").chmod(0o600)
    (tmp_path / "tool.bin").write_bytes(b"\0" + SECRET.encode())
    (tmp_path / "shared").write_text(SECRET)
    (tmp_path / "twin").hardlink_to(tmp_path / "shared")
    found = [residue.path for residue in await search_disk(tmp_path, VALUES)]
    left = await search_disk(tmp_path, VALUES, scrub=found)
    assert sorted(residue.path for residue in left) == ["/shared", "/tool.bin", "/twin"]
    assert (tmp_path / "root/.npmrc").read_text() == "a=1\n//r/:_authToken=[secret NPM_TOKEN]\nb=2\n"
    assert (tmp_path / "root/.npmrc").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "root/.cache/pip/blob").exists()
    assert (tmp_path / "tool.bin").read_bytes() == b"\0" + SECRET.encode()


async def test_scrubbing_takes_attributes_away_and_leaves_their_files(tmp_path: Path) -> None:
    for kind in ("file", "folder"):
        place = tmp_path / kind
        place.mkdir() if kind == "folder" else place.write_bytes(b"\0binary")
        os.setxattr(place, "user.xdg.origin.url", f"https://me:{SECRET}@example.com/a".encode())
        os.setxattr(place, "user.other", b"stays")
    (tmp_path / "both").write_bytes(b"\0" + SECRET.encode())
    os.setxattr(tmp_path / "both", f"user.{SECRET[:10]}{SECRET}".replace("/", "_"), SECRET.encode())
    found = [residue.path for residue in await search_disk(tmp_path, VALUES)]
    assert sorted(set(found)) == ["/both", "/file", "/folder"]
    left = await search_disk(tmp_path, VALUES, scrub=sorted(set(found)))
    assert [str(residue) for residue in left] == ["/both (NPM_TOKEN)"]
    assert os.listxattr(tmp_path / "file") == os.listxattr(tmp_path / "folder") == ["user.other"]
    assert (tmp_path / "file").read_bytes() == b"\0binary"


async def test_what_was_committed_is_found_loose_and_packed(tmp_path: Path) -> None:
    """Setup that commits: git's objects are compressed, and a pack holds most as what differs from another."""
    run_git(tmp_path, "init", "--quiet")
    for number in range(30):
        text = "".join(f"line {line} of a file\n" for line in range(300 + number))
        (tmp_path / "file").write_text(text + (f"token = {SECRET}\n" if number == 20 else ""))
        run_git(tmp_path, "add", "file")
        run_git(tmp_path, "commit", "--quiet", f"--message=m{number}")
    loose = await search_disk(tmp_path, VALUES)
    assert len(loose) == 1
    assert loose[0].path.startswith("/.git/objects/")
    run_git(tmp_path, "gc", "--quiet", "--aggressive", "--prune=now")
    packed = await search_disk(tmp_path, VALUES)
    assert [residue.path.rpartition(".")[2] for residue in packed] == ["pack"]
    assert packed[0].member == "one of git's objects"
    assert await search_disk(tmp_path, {"OTHER": SecretValue(SECRET.replace("Qv", "vQ"))}) == []


async def test_of_two_secrets_the_one_in_a_damaged_archive_is_found(tmp_path: Path) -> None:
    both = {**VALUES, "OTHER": SecretValue("another-value-that-is-long")}
    for how in ("gzip", "bzip2", "xz", "zstd", "zlib"):
        (tmp_path / how).write_bytes(pack(SECRET.encode() + os.urandom(300_000), how)[:-1000])
    found = await search_disk(tmp_path, both)
    assert [residue.path for residue in found] == ["/gzip", "/xz", "/zlib", "/zstd"]  # bzip2 has larger blocks


async def test_no_link_is_followed_and_no_special_file_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    root = tmp_path / "disk"
    (root / "folder").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("..")
    os.mkfifo(root / "folder/fifo")
    os.mknod(root / "folder/whiteout", 0o20000, os.makedev(0, 0))
    assert await search_disk(root, VALUES) == []
    assert await search_disk(root, VALUES, scrub=["/link"]) == []
    assert outside.read_text() == SECRET


async def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="could not be searched"):
        await search_disk(tmp_path / "absent", VALUES)


async def test_what_is_packed_too_tightly_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "LARGEST_UNPACKED_BYTES", 10 * 1024 * 1024)
    bomb = gzip.compress(b"\0" * 20 * 1024 * 1024 + SECRET.encode())
    search = ResidueSearch(VALUES)
    (tmp_path / "bomb.gz").write_bytes(bomb)
    assert list(searcher._search_file(os.fsencode(tmp_path / "bomb.gz"), "/bomb.gz", search)) == []


async def test_members_that_share_their_packed_bytes_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive may list one member any number of times (a zip bomb without recursion)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", b"\0" * 1024**2)
        archive.filelist = archive.filelist * 1000
    place = tmp_path / "bomb.zip"
    place.write_bytes(packed.getvalue())
    read = []
    monkeypatch.setattr(searcher, "LARGEST_UNPACKED_BYTES", 10 * 1024**2)
    monkeypatch.setattr(ResidueSearch, "names_in", lambda _, chunks: read.extend(map(len, chunks)) or set())
    assert list(searcher._search_file(os.fsencode(place), "/bomb.zip", ResidueSearch(VALUES))) == []
    assert sum(read) < 11 * 1024**2


async def test_what_takes_too_long_fails_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "PROCESSOR_SECONDS", 1)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * 1024**2) * 3000)
    with pytest.raises(TaskFailedError, match="1 s of processor time"):
        await search_disk(tmp_path, VALUES)


async def test_holes_and_further_names_cost_nothing_and_hide_nothing(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 42)
        file.seek(1 << 41)
        file.write(SECRET.encode())
    with (tmp_path / "large").open("wb") as file:
        file.write(b"x" * 32 * 1024**2 + SECRET.encode())
    for number in range(500):
        (tmp_path / f"name-{number}").hardlink_to(tmp_path / "large")
    found = await search_disk(tmp_path, VALUES)
    assert sorted(residue.path for residue in found) == sorted(f"/{path.name}" for path in tmp_path.iterdir())


async def test_what_programs_note_in_attributes_is_found(tmp_path: Path) -> None:
    for kind in ("file", "folder"):
        place = tmp_path / kind
        place.mkdir() if kind == "folder" else place.write_text("")
        os.setxattr(place, "user.xdg.origin.url", f"https://me:{SECRET}@example.com/a".encode())
    (tmp_path / "other").write_text("")
    os.setxattr(tmp_path / "other", "user.xdg.origin.url", b"https://example.com/a")
    found = await search_disk(tmp_path, VALUES)
    assert [str(residue) for residue in found] == [
        f"/{kind} (NPM_TOKEN, in an extended attribute)" for kind in ("file", "folder")
    ]


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=60), st.binary(max_size=200))
def test_a_value_is_found_wherever_chunks_are_cut(before: bytes, size: int, after: bytes) -> None:
    data = before + SECRET.encode() + after
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert ResidueSearch(VALUES).names_in(chunks) == {"NPM_TOKEN"}


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=300))
def test_a_value_of_any_characters_is_found(value: str) -> None:
    if len(value.strip()) >= 16 and len(value.strip().splitlines()) == 1:
        assert ResidueSearch({"X": SecretValue(value)}).names_in([b"x" * 100, f"={value};".encode()]) == {"X"}


def test_a_key_in_lines_is_found_and_its_first_line_alone_is_not() -> None:
    lines = [base64.b64encode(os.urandom(48)).decode() for _ in range(20)]
    key = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END PRIVATE KEY-----\n"
    search = ResidueSearch({"KEY": SecretValue(key)})
    assert search.names_in([b"x\n" + key.encode()]) == {"KEY"}
    assert search.names_in([json.dumps({"key": key}).encode()]) == {"KEY"}
    assert search.names_in([key.replace("\n", "\r\n").encode()]) == {"KEY"}
    assert search.names_in([base64.b64encode(key.encode())]) == {"KEY"}
    assert search.names_in([f"only {lines[7]}".encode()]) == {"KEY"}
    assert search.names_in([b"-----BEGIN PRIVATE KEY-----\nMIIEother\n-----END PRIVATE KEY-----\n"]) == set()


def test_a_json_file_is_found_and_its_common_lines_are_not() -> None:
    account = {
        "type": "service_account",
        "auth_uri": "https://accounts.example.com/o/oauth2/auth",
        "private_key_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n",
    }
    search = ResidueSearch({"ACCOUNT": SecretValue(json.dumps(account, indent=2))})
    assert search.names_in([json.dumps(account, indent=2).encode()]) == {"ACCOUNT"}
    assert search.names_in([account["private_key_id"].encode()]) == {"ACCOUNT"}
    common = {**account, "private_key_id": "", "private_key": ""}
    assert search.names_in([json.dumps(common, indent=2).encode()]) == set()


def run_git(tree: Path, *arguments: str) -> None:
    names = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    subprocess.run(["git", *names, "-C", str(tree), *arguments], check=True)


def write(root: Path, case: Mapping[str, Any], secret: str) -> None:
    path = root / case["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in case:
        path.symlink_to(case["link"].replace("{}", secret))
        return
    form = secret
    for how in case.get("how", ()):
        form = encode(form, how)
    text = case["text"].replace("{}", form) * case.get("times", 1)
    content = b"x" * case.get("before_bytes", 0) + text.encode("latin-1" if case.get("latin") else "utf-8")
    path.write_bytes(pack(content, case.get("pack")))
    if "attribute" in case or "attribute_name" in case:
        name, value = case.get("attribute_name", "user.xdg.origin.url"), case.get("attribute", "")
        os.setxattr(path, name.replace("{}", form), value.replace("{}", form).encode())


def encode(text: str, how: str) -> str:
    """What the tools do that write such files, and not our own code."""
    name, _, argument = how.partition(" ")
    match name:
        case "base64":
            return base64.b64encode(argument.removeprefix("behind ").encode() + text.encode()).decode()
        case "urlsafe":
            return text.replace("+", "-").replace("/", "_")
        case "url":
            return quote(text, safe="")
        case "lower":
            return re.sub("%..", lambda escape: escape[0].lower(), text)
        case "hex":
            return text.encode().hex()
        case "upper":
            return text.upper()
        case "json":
            return json.dumps(text)[1:-1]
        case "slashes":
            return text.replace("/", "\\/")
        case "html":
            return html.escape(text)
        case "shell":
            return subprocess.run(
                ["bash", "-c", 'printf %q "$1"', "bash", text], capture_output=True, text=True, check=True
            ).stdout
        case "single":
            return text.replace("'", "'\\''")
        case "wrap":
            width = int(argument)
            return "\n".join(text[at : at + width] for at in range(0, len(text), width))
        case "crlf":
            return text.replace("\n", "\r\n")
        case "backslashes":
            return text.replace("\n", "\\\n")
        case "indented":
            return text.replace("\n", "\n  ")
        case "strings":
            return text.replace("\n", '"\n  "')
    raise AssertionError(f"{how!r} is nothing that is done to a secret")


def pack(content: bytes, how: str | None) -> bytes:
    match how:
        case None:
            return content
        case "gzip":
            return gzip.compress(content)
        case "bzip2":
            return bz2.compress(content)
        case "gzip, cut off":
            return gzip.compress(content + os.urandom(10_000))[:-2000]
        case "gzip, two members":
            return gzip.compress(b"before") + gzip.compress(content)
        case "xz":
            return lzma.compress(content)
        case "lzma":
            return lzma.compress(content, format=lzma.FORMAT_ALONE)
        case "zlib":
            return zlib.compress(content)
        case "zlib fast":
            return zlib.compress(content, 1)
        case "zstd" | "zstd behind a skipped frame":
            skipped = b"\x50\x2a\x4d\x18\x04\0\0\0more" if "behind" in how else b""
            return skipped + zstandard.compress(content)
        case "zip behind a line":
            return b"#!/usr/bin/env python3\n" + (pack(content, "zip"))
    packed = io.BytesIO()
    if how == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside.txt", content)
    else:
        mode = how.replace("tar", "w").replace(".", ":") if "." in how else "w"
        with tarfile.open(fileobj=packed, mode=mode) as archive:
            entry = tarfile.TarInfo("inside.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()

"""Large files (Git LFS), from a strict server and back, and where its addresses lead."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.egress.addresses import classify
from cloister.errors import DeniedError, RepositoryError
from cloister.forges.branches import MirrorBranches
from cloister.forges.large_files import LISTS, ObjectStore, parse_pointer, read_large_files
from cloister.forges.large_server import LargeServer
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.model.forge import Person
from cloister.model.large_file import LargeFiles
from cloister.model.publication import BranchDraft
from cloister.model.sandbox import Commit
from cloister.model.task import AttemptId, Repository
from cloister.sandboxes.oci.worktree import large
from cloister.testing.github.server import Fault

from ..test_reach import CLOSED
from .conftest import PERSONAL, Forge, commit
from .test_host import APP, PERSON

pytestmark = pytest.mark.anyio

CONTENT = b"\x00large" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LARGE = f"version https://git-lfs.github.com/spec/v1\noid sha256:{DIGEST}\nsize {len(CONTENT)}\n"


@pytest.fixture
def stored(forge: Forge) -> Forge:
    rules = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    commit(forge.shop.path, "main", {".gitattributes": rules, "a.bin": LARGE, "plain.txt": LARGE})
    forge.github.large.add(forge.shop, CONTENT)
    return forge


def reach_of(forge: Forge) -> Reach:
    return Reach(classify=classify, named=[("127.0.0.1", int(forge.github.url.rpartition(":")[2]))])


@pytest.mark.parametrize("source", [PERSON, APP], ids=["token", "app"])
async def test_what_a_pointer_stands_for_is_fetched_once_and_no_login_goes_along(
    stored: Forge, source: object, tmp_path: Path
) -> None:
    async with stored.open(source) as host:
        local = LocalForge(tmp_path, host=host, reach=reach_of(stored))
        found = (await local.resolve(stored.repository, None)).commit
        mirror = await local.mirror(stored.repository, found)
        for _ in range(2):
            told = await local.fetch_large_files(stored.repository, [found])
            assert told == LargeFiles(files=1, size=len(CONTENT))
    assert stored.github.large.asked == [f"GET {DIGEST}"]
    assert ObjectStore(mirror).path_of(DIGEST).read_bytes() == CONTENT
    assert [it.path for it in await read_large_files(mirror, found)] == [b"a.bin"], "plain.txt is what it is"
    assert large.LISTS.decode() == LISTS, "what the host writes, the program for the work tree reads"
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"ghs_" not in written
    assert PERSONAL.encode() not in written


async def _fetched(stored: Forge, tmp_path: Path, **options: int) -> LargeFiles:
    async with stored.open(PERSON) as host:
        local = LocalForge(tmp_path / "state", host=host, reach=reach_of(stored), **options)
        found = (await local.resolve(stored.repository, None)).commit
        told = await local.fetch_large_files(stored.repository, [found])
        mirror = await local.mirror(stored.repository, found)
    left = [path.name for path in (mirror / "lfs").rglob("*") if path.is_file()] if (mirror / "lfs").exists() else []
    assert left == ([] if told.left else [DIGEST])
    return told


@pytest.mark.parametrize("host", CLOSED)
async def test_an_address_that_is_nobodys_business_is_not_gone_to(stored: Forge, tmp_path: Path, host: str) -> None:
    href = f"https://{host.replace('%25', '%25')}/{DIGEST}"
    stored.github.large.extra = {"actions": {"download": {"href": href}}}
    told = await _fetched(stored, tmp_path)
    assert (told.left, stored.github.large.asked) == (1, [])
    assert told.reason


@pytest.mark.parametrize(
    "href",
    [
        "http://objects.example/x",
        "file:///etc/shadow",
        "ftp://objects.example/x",
        "https://user:word@objects.example/x",
        "https://objects.example/x#y",
        "https://objects.example\\@127.0.0.1/x",
        "https://objects.example /x",
        "https://objects.example:99999/x",
        "https:///x",
        "//objects.example/x",
    ],
)
async def test_an_address_of_another_kind_is_refused(stored: Forge, tmp_path: Path, href: str) -> None:
    stored.github.large.extra = {"actions": {"download": {"href": href}}}
    told = await _fetched(stored, tmp_path)
    assert told.left == 1
    assert "address" in told.reason or "sends nobody" in told.reason


async def test_what_comes_is_only_kept_if_it_is_what_the_pointer_says(stored: Forge, tmp_path: Path) -> None:
    path = stored.github.large.path_of(stored.shop, DIGEST)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert "its SHA-256 is another one" in (await _fetched(stored, tmp_path)).reason
    path.write_bytes(CONTENT)
    assert (await _fetched(stored, tmp_path)).left == 0, "the twin"


@pytest.mark.parametrize("header", [{"X-A": "a\r\nX-B: b"}, {"X A": "a"}, {"": "a"}, {"X-Ä": "a"}])
async def test_no_header_is_more_than_one(stored: Forge, tmp_path: Path, header: dict[str, str]) -> None:
    href = f"{stored.github.url}/lfs-store/1/{DIGEST}"
    stored.github.large.extra = {"actions": {"download": {"href": href, "header": header}}}
    assert "a header that cannot be one" in (await _fetched(stored, tmp_path)).reason


async def test_more_than_the_settings_take_is_left(stored: Forge, tmp_path: Path) -> None:
    assert "the settings take 10 B" in (await _fetched(stored, tmp_path, most_large_bytes=10)).reason
    assert stored.github.large.asked == []


async def test_what_is_not_there_is_said_and_what_passes_is_waited_for(stored: Forge, tmp_path: Path) -> None:
    stored.github.faults.append(Fault(method="POST", path=".*/objects/batch", status=502))
    stored.github.faults.append(Fault(method="GET", path="/lfs-store/.*", status=0))
    assert (await _fetched(stored, tmp_path)).reason == ""
    stored.github.large.path_of(stored.shop, DIGEST).unlink()
    told = await _fetched(stored, tmp_path / "other")
    assert told.reason == f"the server has no object {DIGEST[:12]}: 404 Object does not exist"


async def test_a_repository_on_this_machine_gives_what_it_has(stored: Forge, tmp_path: Path) -> None:
    _run("git", "clone", "-q", str(stored.shop.path), "clone", home=tmp_path)
    local = LocalForge(tmp_path / "state")
    repository = Repository(address=str(tmp_path / "clone"), directory="clone")
    found = (await local.resolve(repository, None)).commit
    told = await local.fetch_large_files(repository, [found])
    assert (told.left, told.reason) == (1, f"{tmp_path}/clone does not have them: git lfs fetch --all")
    place = tmp_path / "clone/.git/lfs/objects" / DIGEST[:2] / DIGEST[2:4]
    place.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(CONTENT)
    (place / DIGEST).symlink_to(tmp_path / "secret")
    assert (await local.fetch_large_files(repository, [found])).left == 1
    (place / DIGEST).unlink()
    (place / DIGEST).write_bytes(CONTENT[::-1])
    assert "its SHA-256 is another one" in (await local.fetch_large_files(repository, [found])).reason
    (place / DIGEST).write_bytes(CONTENT)
    assert (await local.fetch_large_files(repository, [found])).left == 0


def _run(*command: str, home: Path) -> bytes:
    people = {f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(command, cwd=home, env=env | people, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _compose(stored: Forge, local: LocalForge, branches: MirrorBranches, home: Path) -> Commit:
    """The change of an agent that wrote to a large file, and made another one, and a plain one."""
    base = (await local.resolve(stored.repository, None)).commit
    _run("git", "clone", "-q", str(stored.shop.path), "work", home=home)
    for name, content in (("a.bin", b"\x00changed"), ("b.bin", b"\x00new"), ("c.txt", b"plain\n")):
        (home / "work" / name).write_bytes(content)
    _run("git", "-C", "work", "add", "-A", home=home)
    draft = BranchDraft(
        base=base,
        diff=_run("git", "-C", "work", "diff", "--cached", "--binary", "--full-index", home=home),
        onto="main",
        former=None,
        message="Change",
        author=Person(name="ann", email="ann@example.com"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        attempt=AttemptId("1-1"),
    )
    return (await branches.compose(stored.repository, draft)).pushed.head


async def test_a_changed_one_is_pushed_as_a_pointer_whose_object_is_there_before(stored: Forge, tmp_path: Path) -> None:
    async with stored.open(PERSON) as host:
        local = LocalForge(tmp_path / "state", host=host, reach=reach_of(stored))
        branches = MirrorBranches(forge=local, host=host, reach=reach_of(stored))
        head = await _compose(stored, local, branches, tmp_path)
        stored.github.large.quota = 1
        with pytest.raises(DeniedError, match=r"so nothing was pushed: .* over its data quota"):
            await branches.push(stored.repository, "cloister/1-x", head, expected=None, default_branch="main")
        assert await branches.head(stored.repository, "cloister/1-x") is None
        stored.github.large.quota = None
        await branches.push(stored.repository, "cloister/1-x", head, expected=None, default_branch="main")
    for name, content in (("a.bin", b"\x00changed"), ("b.bin", b"\x00new")):
        pointer = parse_pointer(stored.shop.git("show", f"cloister/1-x:{name}").encode() + b"\n")
        assert pointer == (hashlib.sha256(content).hexdigest(), len(content))
        assert stored.github.large.path_of(stored.shop, pointer[0]).read_bytes() == content
    assert stored.shop.git("show", "cloister/1-x:c.txt") == "plain"
    assert sum(asked.endswith("/verify") for asked in stored.github.large.asked) == 2


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
async def test_git_lfs_itself_gets_and_gives_them(stored: Forge, tmp_path: Path) -> None:
    """The twin of our own client: the server of tests is one that the reference client works with."""
    address = stored.github.url.replace("//", f"//x:{PERSONAL}@") + "/team/shop.git"
    _run("git", "lfs", "install", "--skip-repo", home=tmp_path)
    _run("git", "clone", "-q", address, "work", home=tmp_path)
    assert (tmp_path / "work/a.bin").read_bytes() == CONTENT
    (tmp_path / "work/b.bin").write_bytes(b"\x00theirs")
    _run("git", "-C", "work", "add", "-A", home=tmp_path)
    _run("git", "-C", "work", "commit", "-qm", "b", home=tmp_path)
    _run("git", "-C", "work", "push", "-q", "origin", "HEAD:theirs", home=tmp_path)
    assert parse_pointer(stored.shop.git("show", "theirs:b.bin").encode() + b"\n") is not None
    assert stored.github.large.path_of(stored.shop, hashlib.sha256(b"\x00theirs").hexdigest()).exists()


async def test_a_server_that_answers_nonsense_is_said_to(stored: Forge, tmp_path: Path) -> None:
    for extra in ({"actions": 1}, {"oid": "../x"}, {"actions": {}}):
        stored.github.large.extra = extra
        assert (await _fetched(stored, tmp_path)).left == 1
    async with stored.open(PERSON) as host:
        server = LargeServer(await host.way_to(stored.repository), reach=reach_of(stored), guarded=True)
        wrong = replace(server._way, address=f"{stored.github.url}/team/none")
        with pytest.raises(RepositoryError, match="gives no large objects: 404"):
            await LargeServer(wrong, reach=None, guarded=True)._ask("download", [])

"""Submodules: which addresses are followed, with whose login, and what becomes of names that are traps."""

import os
import subprocess
from pathlib import Path

import pytest

from cloister.egress.addresses import classify
from cloister.errors import UsageError
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.forges.submodules import LISTS, MOST, Origins, resolve_url
from cloister.model.sandbox import Commit
from cloister.model.submodule import Submodules
from cloister.sandboxes.oci.worktree import submodules
from cloister.testing.github.hosted import Hosted

from ..test_reach import CLOSED
from .conftest import Forge, commit
from .test_host import PERSON

pytestmark = pytest.mark.anyio


def link(repository: Hosted, branch: str, modules: str, links: dict[str, str]) -> None:
    """Commit a .gitmodules, and pointers to commits, onto a branch."""
    base = repository.find_commit(branch) or repository.git("rev-parse", "main")
    lines = [f"commit refs/heads/{branch}", "committer A <a@example.com> 1700000000 +0000", "data 3", "one"]
    lines += [f"from {base}", "M 100644 inline .gitmodules", f"data {len(modules.encode())}", modules]
    lines += [f"M 160000 {at} {path}" for path, at in links.items()]
    env = {"PATH": os.environ["PATH"], "GIT_DIR": str(repository.path)}
    subprocess.run(["git", "fast-import", "--quiet"], env=env, input="\n".join(lines) + "\n", text=True, check=True)


def module(name: str, path: str, url: str) -> str:
    return f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'


@pytest.fixture
def library(forge: Forge) -> Hosted:
    inner = forge.github.accounts.add("team/inner", private=False)
    commit(inner.path, "main", {"deep.txt": "deep\n"})
    made = forge.github.accounts.add("team/lib", writers=["ann"])
    commit(made.path, "main", {"lib.c": "1\n"})
    link(made, "main", module("in", "in", "../inner.git"), {"in": inner.git("rev-parse", "main")})
    return made


async def _told(forge: Forge, state: Path, ref: str | None = None) -> tuple[Submodules, dict[str, str]]:
    """Fetch those of a branch; return what was said, and the files of each as the mirror has them."""
    reach = Reach(classify=classify, named=[("127.0.0.1", int(forge.github.url.rpartition(":")[2]))])
    async with forge.open(PERSON) as host:
        local = LocalForge(state, host=host, reach=reach)
        found = await local.resolve(forge.repository, ref)
        for _ in range(2):
            told = await local.fetch_submodules(forge.repository, [found.commit], found.default_commit)
        mirror = await local.mirror(forge.repository, found.commit)
    records = (mirror / LISTS / found.commit).read_text().split("\0")[:-1]
    trees = {path: tree for tree, _, path in (record.partition(" ") for record in records)}
    assert submodules.LISTS.decode() == LISTS, "what the host writes, the program for the work tree reads"
    return told, {path: _names(mirror, tree) for path, tree in trees.items()}


def _names(mirror: Path, tree: str) -> str:
    env = {"PATH": os.environ["PATH"], "GIT_DIR": str(mirror), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", "ls-tree", "--name-only", tree], env=env, capture_output=True, text=True).stdout


async def test_those_of_the_default_branch_are_fetched_with_those_inside(
    forge: Forge, library: Hosted, tmp_path: Path
) -> None:
    link(forge.shop, "main", module("lib", "vendor/lib", "../lib"), {"vendor/lib": library.git("rev-parse", "main")})
    told, files = await _told(forge, tmp_path)
    assert told == Submodules(there=2)
    assert files == {"vendor/lib": ".gitmodules\nin\nlib.c\n", "vendor/lib/in": "deep.txt\n"}


async def test_what_only_a_branch_names_is_fetched_without_a_login(
    forge: Forge, library: Hosted, tmp_path: Path
) -> None:
    commit(forge.shop.path, "main", {"a.txt": "two\n"})
    head, url = library.git("rev-parse", "main"), f"{forge.github.url}/team/lib"
    link(forge.shop, "feature", module("x", "x", url), {"x": head})
    for ref in ("feature", "feature"):
        told, files = await _told(forge, tmp_path, ref)
        assert files == {}
        assert "asks for a login" in told.left[0]
    link(forge.shop, "main", module("x", "x", url), {"x": head})
    assert (await _told(forge, tmp_path))[0].there == 2, "the twin: the default branch names it"
    link(forge.shop, "other", module("y", "y", f"{forge.github.url}/team/inner"), {"y": head})
    library.private = False
    link(forge.shop, "public", module("y", "y", f"{url}.git"), {"y": head})
    assert (await _told(forge, tmp_path, "public"))[0].there == 2


async def test_a_public_repository_brings_no_private_one_into_what_strangers_see(
    forge: Forge, library: Hosted, tmp_path: Path
) -> None:
    link(forge.shop, "main", module("lib", "lib", "../lib"), {"lib": library.git("rev-parse", "main")})
    forge.shop.private = False
    told, files = await _told(forge, tmp_path / "public")
    assert files == {}
    assert "asks for a login" in told.left[0]
    forge.shop.private = True
    assert (await _told(forge, tmp_path / "private"))[0].there == 2, "the twin"


async def test_what_nobody_stands_for_brings_no_repository_that_the_default_branch_does_not_name(
    forge: Forge, library: Hosted, tmp_path: Path
) -> None:
    library.private = False
    head, url = library.git("rev-parse", "main"), f"{forge.github.url}/team/lib"
    both = module("lib", "lib", "../lib") + module("huge", "huge", f"{forge.github.url}/team/inner")
    link(forge.shop, "main", module("lib", "lib", url), {"lib": head})
    link(forge.shop, "topic", both, {"lib": head, "huge": head})
    commit_of_fork = forge.shop.git("rev-parse", "topic")
    forge.shop.git("update-ref", "refs/pull/1/head", commit_of_fork)
    forge.shop.git("branch", "-D", "topic")
    told, files = await _told(forge, tmp_path / "fork", commit_of_fork)
    assert list(files) == ["lib"], "and nothing of what that names, at a commit that is a stranger's choice"
    assert [it.partition(":")[0] for it in told.left] == ["huge", "lib/in"]
    assert not list((tmp_path / "fork/without-login").glob("*"))
    forge.shop.git("branch", "cloister/0g2x-x", commit_of_fork)
    assert list((await _told(forge, tmp_path / "agent", commit_of_fork))[1]) == ["lib"]
    forge.shop.git("branch", "topic", commit_of_fork)
    assert list((await _told(forge, tmp_path / "own", "topic"))[1]) == ["lib", "lib/in"], "the twin"
    assert list((tmp_path / "own/without-login/mirrors").glob("*.git")), "that one was asked for"


async def test_many_that_cannot_be_had_are_not_all_asked_for(forge: Forge, library: Hosted, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(200)]
    nowhere = "".join(module(name, name, "../nowhere") for name in names)
    link(forge.shop, "main", nowhere, dict.fromkeys(names, library.git("rev-parse", "main")))
    told, files = await _told(forge, tmp_path)
    assert files == {}
    assert len(told.left) == MOST + 1
    assert told.left[-1] == f"and {200 - MOST} more"
    assert 0 < len([it for it in forge.github.asked if "nowhere" in it]) <= 2 * MOST, "it is told twice"


async def test_names_and_paths_that_are_traps_are_left(forge: Forge, library: Hosted, tmp_path: Path) -> None:
    head, good = library.git("rev-parse", "main"), "../lib"
    traps = {
        "../up": module("../../evil", "up", good),
        "cr": module("cr", '"cr\r"', good),
        "dash": module("-u", "dash", good),
        "other": module("other", "elsewhere", good),
    }
    links = {"up": head, "cr": head, "dash": head, "other": head, '"\\303\\244"': head}
    link(forge.shop, "main", "".join(traps.values()) + module("ok", "ok", good), links | {"ok": head})
    told, files = await _told(forge, tmp_path)
    assert set(files) == {"ok", "ok/in"}
    assert len(told.left) == len(links)


async def test_too_deep_a_nest_ends(forge: Forge, tmp_path: Path) -> None:
    below = forge.github.accounts.add("team/n0", private=False)
    commit(below.path, "main", {"f": "f\n"})
    for number in range(1, 6):
        above = forge.github.accounts.add(f"team/n{number}", private=False)
        commit(above.path, "main", {"f": "f\n"})
        link(above, "main", module("n", "n", f"../n{number - 1}"), {"n": below.git("rev-parse", "main")})
        below = above
    link(forge.shop, "main", module("n", "n", "../n5"), {"n": below.git("rev-parse", "main")})
    told, files = await _told(forge, tmp_path)
    assert (len(files), len(told.left)) == (3, 1)


ORIGINS = Origins(
    parent="https://git.example/team/shop",
    guarded=True,
    is_allowed=lambda url: url.startswith("https://github.example/"),
)


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/shop",
        "/srv/shop",
        "ext::sh -c id",
        "git://git.example/x",
        "http://git.example/team/lib",
        "https://user:word@git.example/x",
        "https://git.example:444/x",
        "https://git.example.evil.example/x",
        "https://git.example/x?y",
        "https://git.example/x#y",
        "https://git.example/x y",
        "https://git.example/-x",
        "https://git.example/a/../../x",
        "https://git.example/%2e%2e/x",
        "https://git.example\\@evil.example/x",
        "https://git.example",
        "-oProxyCommand=id",
        "git@-oProxyCommand=id:x",
        "ssh://git.example:2222/x",
        "../../../../../etc",
        None,
        *(f"https://{host}/x" for host in CLOSED),
    ],
)
def test_an_address_of_nobody_s_is_refused(url: str | None) -> None:
    if url == "../../../../../etc":
        assert resolve_url(url, ORIGINS) == "https://git.example/etc", "no way up leads out of the server"
        return
    with pytest.raises(UsageError):
        resolve_url(url, ORIGINS)


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("../lib.git", "https://git.example/team/lib.git"),
        ("./lib", "https://git.example/team/shop/lib"),
        ("../../other/lib/", "https://git.example/other/lib"),
        ("https://git.example/a/b.git", "https://git.example/a/b.git"),
        ("https://github.example/a/b", "https://github.example/a/b"),
        ("git@github.example:a/b.git", "https://github.example/a/b.git"),
        ("ssh://git@git.example/a/b", "https://git.example/a/b"),
    ],
)
def test_others_are_beside_the_repository_or_at_the_forge(url: str, resolved: str) -> None:
    assert resolve_url(url, ORIGINS) == resolved


def test_beside_a_path_on_this_machine_is_nothing() -> None:
    origins = Origins(parent="/srv/shop", guarded=False, is_allowed=ORIGINS.is_allowed)
    for url in ("../lib", "file:///srv/lib", "../../etc"):
        with pytest.raises(UsageError):
            resolve_url(url, origins)
    assert resolve_url("https://github.example/a/b", origins) == "https://github.example/a/b"
    assert Commit("a") == "a"

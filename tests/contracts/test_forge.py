"""What every `Forge` promises, over one real repository and over the same one scripted."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from cloister.errors import NotFoundError, UsageError
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.forges.local import LocalForge
from cloister.model.sandbox import Commit
from cloister.model.task import Repository, Revision
from cloister.protocols import Forge

PERSON = {f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
GIT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", **PERSON}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, env=GIT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def at(path: Path) -> Repository:
    return Repository(address=str(path), directory="shop")


@dataclass(slots=True)
class Shop:
    """A repository on disk, and what a script has to say of it; both change together."""

    path: Path
    refs: dict[str, Commit] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    files: dict[tuple[Commit, str], bytes] = field(default_factory=dict)
    diffs: dict[tuple[Commit, Commit], bytes] = field(default_factory=dict)
    merge_bases: dict[tuple[Commit, Commit], Commit] = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        return at(self.path)

    def commit(self, branch: str, readme: str) -> Commit:
        (self.path / "README").write_text(readme)
        git(self.path, "add", "--all")
        git(self.path, "commit", "--quiet", "-m", readme)
        made = Commit(git(self.path, "rev-parse", "HEAD"))
        self.refs[branch] = made
        self.commits.append(made)
        self.files[made, "README"] = readme.encode()
        return made

    def tag(self, name: str, commit: Commit, *options: str) -> None:
        git(self.path, "tag", *options, name, commit)
        self.refs[name] = commit
        self.tags.append(name)

    def scripted(self, *, default_branch: str = "main", note: str | None = None) -> FakeRepository:
        bare = self.path.with_suffix(".git")
        git(self.path, "clone", "--quiet", "--mirror", ".", str(bare))
        return FakeRepository(
            refs=self.refs,
            tags=self.tags,
            default_branch=default_branch,
            files=self.files,
            diffs=self.diffs,
            merge_bases=self.merge_bases,
            note=note,
            commits=self.commits,
            bare_mirror=bare,
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Two commits on main, one more on topic/cart, a tag of each kind; a file, a folder and a link."""
    shop = Shop(tmp_path / "shop")
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "shop")
    first = shop.commit("main", "first")
    (shop.path / "folder").mkdir()
    (shop.path / "folder/data").write_bytes(b"\0data\xff")
    (shop.path / "link").symlink_to("README")
    second = shop.commit("main", "second")
    shop.files[second, "folder/data"] = b"\0data\xff"
    shop.tag("light", first)
    shop.tag("annotated", first, "-m", "x")
    git(shop.path, "checkout", "--quiet", "-b", "topic/cart")
    shop.commit("topic/cart", "third")
    git(shop.path, "checkout", "--quiet", "main")
    return shop


@pytest.fixture
def empty(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "empty")
    return at(tmp_path / "empty")


Open = Callable[..., Forge]
"""Opens a forge over the shop and the empty repository as they are; named arguments are for the script."""


@pytest.fixture(params=["local", "fake"])
def open_forge(request: pytest.FixtureRequest, tmp_path: Path, shop: Shop, empty: Repository) -> Open:
    def local(**_: str) -> Forge:
        return LocalForge(tmp_path / "state")

    def fake(**script: str) -> Forge:
        return FakeForge({str(shop.path): shop.scripted(**script), empty.address: FakeRepository(refs={})})

    return {"local": local, "fake": fake}[request.param]


@pytest.fixture
def forge(open_forge: Open) -> Forge:
    return open_forge()


@pytest.mark.parametrize("ref", ["absent", "mai", "main ", "main~1", "topic", "f" * 40, "0000", "", "-x", "a\nb"])
async def test_an_unknown_ref_is_not_found(forge: Forge, shop: Shop, ref: str) -> None:
    with pytest.raises(NotFoundError):
        await forge.resolve(shop.repository, ref)


@pytest.mark.parametrize("ref", [None, "main"])
async def test_an_unknown_repository_is_not_found(forge: Forge, tmp_path: Path, ref: str | None) -> None:
    with pytest.raises(NotFoundError):
        await forge.resolve(at(tmp_path / "absent"), ref)


@pytest.mark.parametrize("ref", [None, "main", "f" * 40])
async def test_a_repository_without_a_commit_is_not_found(forge: Forge, empty: Repository, ref: str | None) -> None:
    with pytest.raises(NotFoundError):
        await forge.resolve(empty, ref)


async def test_a_default_branch_without_a_commit_is_not_found_and_another_branch_is(
    open_forge: Open, shop: Shop
) -> None:
    git(shop.path, "checkout", "--quiet", "--orphan", "new")
    forge = open_forge(default_branch="new")
    for ref in (None, "new"):
        with pytest.raises(NotFoundError):
            await forge.resolve(shop.repository, ref)
    assert (await forge.resolve(shop.repository, "topic/cart")).commit == shop.refs["topic/cart"]


async def test_no_ref_is_the_default_branch(forge: Forge, shop: Shop) -> None:
    head = shop.refs["main"]
    expected = Revision(ref="main", commit=head, default_branch="main", default_commit=head)
    assert await forge.resolve(shop.repository, None) == expected
    assert await forge.resolve(shop.repository, "main") == expected


async def test_the_default_branch_is_the_one_that_the_repository_names(open_forge: Open, shop: Shop) -> None:
    git(shop.path, "checkout", "--quiet", "topic/cart")
    revision = await open_forge(default_branch="topic/cart").resolve(shop.repository, None)
    assert (revision.ref, revision.commit) == ("topic/cart", shop.refs["topic/cart"])


@pytest.mark.parametrize("ref", ["topic/cart", "light", "annotated"])
async def test_a_branch_or_tag_is_the_commit_it_points_to(forge: Forge, shop: Shop, ref: str) -> None:
    head = shop.refs["main"]
    assert await forge.resolve(shop.repository, ref) == Revision(
        ref=ref, commit=shop.refs[ref], default_branch="main", default_commit=head
    )


@pytest.mark.parametrize("digits", [12, 40])
async def test_a_commit_is_found_by_its_name_full_or_short(forge: Forge, shop: Shop, digits: int) -> None:
    older = shop.commit("main", "fourth")
    shop.commit("main", "fifth")
    for commit in (older, *shop.refs.values()):
        revision = await forge.resolve(shop.repository, commit[:digits])
        assert (revision.ref, revision.commit) == (commit[:digits], commit)


async def test_resolve_sees_what_was_committed_since(forge: Forge, shop: Shop) -> None:
    before = await forge.resolve(shop.repository, None)
    head = shop.commit("main", "fourth")
    after = await forge.resolve(shop.repository, "main")
    assert (after.commit, after.default_commit) == (head, head)
    assert (await forge.resolve(shop.repository, before.commit)).commit == before.commit


async def test_concurrent_resolves_agree(forge: Forge, shop: Shop) -> None:
    found: list[Revision] = []

    async def resolve() -> None:
        found.append(await forge.resolve(shop.repository, "topic/cart"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(resolve)
    assert len(found) == 5
    assert {revision.commit for revision in found} == {shop.refs["topic/cart"]}


@pytest.mark.parametrize("resolved_before", [True, False])
async def test_the_mirror_is_a_bare_repository_with_the_commit(forge: Forge, shop: Shop, resolved_before: bool) -> None:
    commit = shop.refs["topic/cart"]
    if resolved_before:
        await forge.resolve(shop.repository, commit)
    mirror = await forge.mirror(shop.repository, commit)
    assert mirror.is_dir()
    assert git(mirror, "rev-parse", "--is-bare-repository") == "true"
    assert git(mirror, "cat-file", "-t", commit) == "commit"
    assert await forge.mirror(shop.repository, commit) == mirror


async def test_a_file_is_read_as_it_is_in_the_commit(forge: Forge, shop: Shop) -> None:
    (shop.path / "README").write_text("uncommitted")
    (shop.path / "folder/data").unlink()
    for name, readme in {"light": b"first", "main": b"second", "topic/cart": b"third"}.items():
        assert await forge.read_file(shop.repository, shop.refs[name], "README") == readme
    assert await forge.read_file(shop.repository, shop.refs["main"], "folder/data") == b"\0data\xff"


@pytest.mark.parametrize("path", ["absent", "folder", "folder/", "link", "README/x", "../README", "*", "-x"])
async def test_what_is_no_regular_file_reads_as_none(forge: Forge, shop: Shop, path: str) -> None:
    assert await forge.read_file(shop.repository, shop.refs["main"], path) is None


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["README", "folder", "absent"], ["README", "folder/data"]),
        (["folder/data"], ["folder/data"]),
        (["link"], []),
        (["fold", "READ*", "*", ":/", "-r"], []),
    ],
)
async def test_files_are_found_at_and_below_the_asked_paths(
    forge: Forge, shop: Shop, paths: list[str], found: list[str]
) -> None:
    """No pattern, no beginning of a name, no link."""
    assert await forge.find_files(shop.repository, shop.refs["main"], paths) == found
    assert await forge.find_files(shop.repository, shop.refs["light"], ["folder"]) == []


async def test_project_files_are_those_of_the_commit(forge: Forge, shop: Shop) -> None:
    """Asked twice, for what was read is kept. A symlink that bears a manifest's name is none."""
    (shop.path / "web").mkdir()
    (shop.path / "pyproject.toml").symlink_to("/etc/passwd")
    first = _commit_package(shop, lock=b"\xff")
    for _ in range(2):
        files = (await forge.project_files(shop.repository, first)).files
        texts = {path: file.text for path, file in files.items()}
        assert texts == {"web/package.json": "{}", "web/package-lock.json": ""}
        assert (await forge.project_files(shop.repository, shop.refs["light"])).files == {}
    later = (await forge.project_files(shop.repository, _commit_package(shop, lock=b"other"))).files
    assert later["web/package.json"] == files["web/package.json"]
    assert later["web/package-lock.json"].blob != files["web/package-lock.json"].blob


def _commit_package(shop: Shop, *, lock: bytes) -> Commit:
    written = {"web/package.json": b"{}", "web/package-lock.json": lock}
    for path, content in written.items():
        (shop.path / path).write_bytes(content)
    commit = shop.commit("main", "with a package")
    shop.files.update({(commit, path): content for path, content in written.items()})
    return commit


async def test_a_file_of_a_later_commit_is_absent_from_an_earlier_one(forge: Forge, shop: Shop) -> None:
    assert await forge.read_file(shop.repository, shop.refs["light"], "folder/data") is None


async def test_a_clean_repository_has_no_note(forge: Forge, shop: Shop) -> None:
    assert await forge.note(shop.repository) is None


async def test_uncommitted_work_is_noted_and_is_no_part_of_a_task(open_forge: Open, shop: Shop) -> None:
    (shop.path / "new").write_text("x")
    forge = open_forge(note="1 uncommitted file is not part of the task")
    assert await forge.note(shop.repository) == "1 uncommitted file is not part of the task"
    assert await forge.read_file(shop.repository, shop.refs["main"], "new") is None


async def test_what_differs_is_told_of_two_commits_and_where_they_parted(open_forge: Open, shop: Shop) -> None:
    main, cart, first = shop.refs["main"], shop.refs["topic/cart"], shop.refs["light"]
    git(shop.path, "config", "diff.external", "touch /tmp/never; false")
    for old, new in ((main, cart), (first, cart)):
        shop.diffs[old, new] = git(shop.path, "diff", "--no-ext-diff", old, new).encode() + b"\n"
    shop.merge_bases[main, cart] = main
    forge = open_forge()
    for commit in (main, cart, first):
        await forge.resolve(shop.repository, commit)
    told = await forge.diff(shop.repository, main, cart)
    assert b"-second\n" in told.replace(b"\\ No newline at end of file\n", b"")
    assert told == shop.diffs[main, cart]
    assert await forge.diff(shop.repository, first, cart) == shop.diffs[first, cart]
    assert await forge.diff(shop.repository, main, main) == b""
    for one, other in ((main, cart), (cart, main)):
        assert await forge.merge_base(shop.repository, one, other) == main


async def test_commits_that_have_nothing_in_common_parted_nowhere(open_forge: Open, shop: Shop) -> None:
    git(shop.path, "checkout", "--quiet", "--orphan", "other")
    other = shop.commit("other", "another beginning")
    git(shop.path, "checkout", "--quiet", "main")
    assert await open_forge().merge_base(shop.repository, shop.refs["main"], other) is None


# What an agent wrote


async def test_a_commit_that_only_cloisters_branches_have_is_foreign_until_it_is_merged(
    open_forge: Open, shop: Shop
) -> None:
    git(shop.path, "checkout", "--quiet", "-b", "cloister/t1")
    written = shop.commit("cloister/t1", "by an agent")
    git(shop.path, "checkout", "--quiet", "main")
    forge = open_forge()
    for ref in ("cloister/t1", written, written[:12]):
        revision = await forge.resolve(shop.repository, ref)
        assert (revision.commit, revision.foreign) == (written, True)
    for ref in (None, "main", "light", "topic/cart", shop.refs["light"]):
        assert not (await forge.resolve(shop.repository, ref)).foreign
    git(shop.path, "branch", "taken-over", written)
    shop.refs["taken-over"] = written
    forge = LocalForge(shop.path.with_name("new-state")) if isinstance(forge, LocalForge) else forge
    for ref in ("cloister/t1", written, "taken-over"):
        assert not (await forge.resolve(shop.repository, ref)).foreign


async def test_what_lies_behind_the_tip_of_a_branch_of_cloisters_is_foreign_too(shop: Shop, tmp_path: Path) -> None:
    git(shop.path, "checkout", "--quiet", "-b", "cloister/t1")
    earlier = shop.commit("cloister/t1", "by an agent")
    shop.commit("cloister/t1", "by an agent, again")
    git(shop.path, "checkout", "--quiet", "main")
    assert (await LocalForge(tmp_path / "state").resolve(shop.repository, earlier)).foreign
    git(shop.path, "merge", "--quiet", "--no-ff", "-m", "merge", earlier)
    revision = await LocalForge(tmp_path / "state").resolve(shop.repository, earlier)
    assert not revision.foreign
    assert (await LocalForge(tmp_path / "state").resolve(shop.repository, "cloister/t1")).foreign


async def test_a_branch_of_cloisters_is_no_default_branch(open_forge: Open, shop: Shop) -> None:
    git(shop.path, "checkout", "--quiet", "-b", "cloister/t1")
    shop.commit("cloister/t1", "by an agent")
    with pytest.raises(UsageError, match="an agent wrote"):
        await open_forge(default_branch="cloister/t1").resolve(shop.repository, None)


async def test_branches_are_listed_by_name_without_tags(open_forge: Open, shop: Shop, tmp_path: Path) -> None:
    forge = open_forge()
    found = await forge.branches(shop.repository)
    assert [(branch.name, branch.commit) for branch in found] == [
        ("main", shop.refs["main"]),
        ("topic/cart", shop.refs["topic/cart"]),
    ]
    with pytest.raises(NotFoundError):
        await forge.branches(at(tmp_path / "nowhere"))

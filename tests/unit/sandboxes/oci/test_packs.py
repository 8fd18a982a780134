"""Packs that are removed or superseded, and what a sandbox sees of them meanwhile."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import CloisterError, ConflictError, NotFoundError, SandboxError
from cloister.model.pack import PackPart, PackRecipe
from cloister.sandboxes.oci import packs
from cloister.sandboxes.oci.pack_build import build_pack
from cloister.sandboxes.oci.packs import OciAgentPacks
from cloister.sandboxes.oci.recipe_package import parse_npm_package

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")

ONE = PackRecipe(name="one", version="1", program="bin/one", needs="nothing")
TWO = replace(ONE, version="2")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OciAgentPacks:
    """One whose packs hold a program that says their version, and come from no registry."""

    async def build(recipe: PackRecipe, folder: Path, _: object) -> Path:
        program = folder / "tree" / recipe.name / recipe.program
        program.parent.mkdir(parents=True)
        if recipe.version == "broken":
            raise SandboxError("the registry is away")
        program.write_text(recipe.version)
        return folder / "tree"

    monkeypatch.setattr(packs, "build_pack", build)
    return OciAgentPacks(tmp_path)


@contextmanager
def seen(place: Path) -> Iterator[None]:
    """A process that sees the pack, as a sandbox does, on a mount of its own."""
    script = f"mount --bind '{place}' /mnt && echo && exec cat"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.kill()


async def installed(store: OciAgentPacks, recipe: PackRecipe) -> Path:
    return (await store.install(recipe, lambda _: None)).place


async def test_one_that_is_not_there_is_not_removed(store: OciAgentPacks) -> None:
    with pytest.raises(NotFoundError, match="'one' is not installed"):
        await store.remove("one")


async def test_one_in_use_stays_until_nobody_sees_it(store: OciAgentPacks) -> None:
    place = await installed(store, ONE)
    with seen(place), pytest.raises(ConflictError, match="'one' works in a sandbox now"):
        await store.remove("one")
    assert (place / "one/bin/one").read_text() == "1"
    await store.remove("one")
    assert (place.exists(), await store.find("one")) == (False, None)


async def test_one_that_is_held_stays_although_nobody_sees_it_yet(store: OciAgentPacks) -> None:
    """Between the look for a pack and the start of its sandbox."""
    place = await installed(store, ONE)
    pack = await store.find("one")
    assert pack is not None
    with store.held(pack):
        with store.held(pack), pytest.raises(ConflictError, match="'one' works in a sandbox now"):
            await store.remove("one")
        await installed(store, TWO)
        assert (place / "one/bin/one").read_text() == "1", "superseded, but held"
    await installed(store, replace(ONE, name="other"))
    await store.remove("other")
    assert not place.exists()
    with pytest.raises(NotFoundError, match="'one' is not installed"), store.held(pack):
        pass


async def test_a_superseded_one_stays_for_who_sees_it_and_goes_with_the_next(store: OciAgentPacks) -> None:
    old = await installed(store, ONE)
    with seen(old):
        new = await installed(store, TWO)
        assert (old / "one/bin/one").read_text() == "1"
    found = await store.find("one")
    assert found is not None
    assert (found.version, found.place) == ("2", new)
    await installed(store, replace(ONE, name="other"))
    assert (old.exists(), new.exists()) == (False, True)


async def test_the_same_content_is_kept_once_and_goes_alone(store: OciAgentPacks) -> None:
    place = await installed(store, ONE)
    assert await installed(store, ONE) == place, "the same content is kept once"
    other = await installed(store, replace(ONE, name="other"))
    await store.remove("one")
    assert (place.exists(), other.exists()) == (False, True)


async def test_a_build_that_fails_leaves_the_former_one(store: OciAgentPacks, tmp_path: Path) -> None:
    place = await installed(store, ONE)
    with pytest.raises(SandboxError, match="the registry is away"):
        await installed(store, replace(ONE, version="broken"))
    found = await store.find("one")
    assert found is not None
    assert (found.version, found.place) == ("1", place)
    assert [*(tmp_path / "packs/building").iterdir()] == []


async def test_progress_names_the_package_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    part = PackPart(npm="one-linux-{arch}@1.0.0", place="bin")
    monkeypatch.setenv("PATH", str(tmp_path))  # where no client of a registry is
    with pytest.raises(CloisterError):
        await build_pack(replace(ONE, parts=(part,)), tmp_path / "bench", lambda progress: told.append(progress.stage))
    assert told == [f"fetching {parse_npm_package(part.npm).requirement}"]
    assert "{" not in told[0]

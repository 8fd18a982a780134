"""The agents' packs on this node: content-addressed, made once, and whole from the moment that they can be seen."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from anyio import to_thread

from cloister.errors import ConflictError, NotFoundError
from cloister.model.image import BuildProgress
from cloister.model.pack import Pack, PackRecipe, not_installed
from cloister.protocols import AgentPacks
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.image_build import ReportProgress
from cloister.sandboxes.oci.image_tree import SealedTree, seal_tree
from cloister.sandboxes.oci.pack_build import build_pack
from cloister.sandboxes.oci.workbench import locked, remove_tree, sync, sync_file_system, workbench

_DIGEST_LENGTH = 64
_PLACE = re.compile(r"/packs/([0-9a-f]{64})$")


class OciAgentPacks:
    """Keeps packs below one directory.

    `<digest>/NAME/` the pack, owned by a container's root; `names/NAME` which one that is;
    `building/NAME` and `removing/` what is not whole.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / "packs"

    async def install(self, recipe: PackRecipe, report: ReportProgress) -> Pack:
        """Make or find the recipe's pack; see `protocols.AgentPacks`."""
        async with locked(self._folder, recipe.name), self._bench(recipe.name) as bench:
            tree = await build_pack(recipe, bench, report)
            report(BuildProgress("sealing", 0.92))
            sealed = await to_thread.run_sync(_seal, tree)
            report(BuildProgress("writing to disk", 0.96))
            await sync_file_system(bench)
            place = self._folder / sealed.digest
            if not place.exists():
                tree.rename(place)
            pack = Pack(
                name=recipe.name,
                version=recipe.version,
                digest=sealed.digest,
                size_bytes=sealed.size_bytes,
                installed_at=datetime.now(UTC),
                place=place,
            )
            self._write(pack)
            await to_thread.run_sync(self._remove_unused)
        report(BuildProgress("done", 1.0))
        return pack

    async def find(self, name: str) -> Pack | None:
        """Read which one it is; see `protocols.AgentPacks`."""
        try:
            fields = json.loads((self._folder / "names" / name).read_text())
        except FileNotFoundError:
            return None
        place = self._folder / fields["digest"]
        if not place.is_dir():
            return None
        return Pack(**{**fields, "installed_at": datetime.fromisoformat(fields["installed_at"]), "place": place})

    @contextmanager
    def held(self, pack: Pack) -> Iterator[None]:
        """Lock its folder, which goes on being the one of that place; see `protocols.AgentPacks`."""
        try:
            folder = os.open(pack.place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise not_installed(pack.name) from error
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(folder), pack.place.stat()):
                raise not_installed(pack.name)
            yield
        except (BlockingIOError, FileNotFoundError) as error:
            raise not_installed(pack.name) from error
        finally:
            os.close(folder)

    async def remove(self, name: str) -> None:
        """Forget it; see `protocols.AgentPacks`."""
        async with locked(self._folder, name):
            pack = await self.find(name)
            if pack is None:
                raise NotFoundError(f"agent {name!r} is not installed here", hint="see: cloister agent list")
            if pack.digest in await to_thread.run_sync(_in_use) or _is_held(pack.place):
                raise ConflictError(f"the agent {name!r} works in a sandbox now", hint="wait for its tasks")
            (self._folder / "names" / name).unlink()
            await to_thread.run_sync(self._remove_unused)

    def _bench(self, name: str) -> AbstractAsyncContextManager[Path]:
        return workbench(self._folder, name, f"the agent {name!r}")

    def _write(self, pack: Pack) -> None:
        names = self._folder / "names"
        names.mkdir(exist_ok=True)
        draft = names / f".{pack.name}.new"
        fields = {**asdict(pack), "installed_at": pack.installed_at.isoformat()}
        del fields["place"]
        draft.write_text(json.dumps(fields) + "\n")
        sync(draft)
        draft.rename(names / pack.name)
        sync(names)
        sync(self._folder)

    def _remove_unused(self) -> None:
        """Remove packs that no name stands for, no sandbox sees and nobody holds, who is about to start one."""
        named = {json.loads(path.read_text())["digest"] for path in (self._folder / "names").glob("[!.]*")}
        kept = named | _in_use()
        for place in self._folder.iterdir():
            if len(place.name) == _DIGEST_LENGTH and place.name not in kept:
                grave = self._folder / "removing" / place.name
                grave.parent.mkdir(exist_ok=True)
                if not _is_held(place, move_to=grave):
                    remove_tree(grave)


def _seal(tree: Path) -> SealedTree:
    tree.chmod(0o755)
    return seal_tree(tree, uid_base=UID_BASE)


def _is_held(place: Path, *, move_to: Path | None = None) -> bool:
    """Whether somebody holds the pack; if nobody does, it is moved, and who comes later finds none."""
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if move_to is not None:
            place.rename(move_to)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def _in_use() -> frozenset[str]:
    """Return the digests of packs that some process of this machine sees: removing one would empty it there."""
    namespaces: dict[int, Path] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            namespaces.setdefault((process / "ns/mnt").stat().st_ino, process / "mountinfo")
    found: set[str] = set()
    for mounts in namespaces.values():
        with suppress(OSError):
            roots = (line.split()[3] for line in mounts.read_text(errors="replace").splitlines())
            found.update(match[1] for root in roots if (match := _PLACE.search(root)))
    return frozenset(found)


def _conforms(packs: OciAgentPacks) -> AgentPacks:
    return packs

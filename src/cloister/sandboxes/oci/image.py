"""The images on this node: content-addressed root file systems, built or pulled once and atomically."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio import to_thread

from cloister.errors import ConflictError, NotFoundError
from cloister.model.image import BuildProgress, Image, Toolchain
from cloister.model.reference import ImageReference, is_reference, not_pulled, parse_reference
from cloister.model.sandbox import ImageDigest
from cloister.model.universal import SCRIPT
from cloister.protocols import ImageKeeper
from cloister.sandboxes.oci.image_build import ReportProgress
from cloister.sandboxes.oci.image_clients import registries_in
from cloister.sandboxes.oci.image_install import build_recipe
from cloister.sandboxes.oci.image_manifest import Manifest, read_manifest, write_manifest
from cloister.sandboxes.oci.image_pull import Puller, has_plain_file
from cloister.sandboxes.oci.image_recipe import (
    ImageRecipe,
    is_recipe_name,
    known_recipes,
    load_recipe,
    packaged_recipes,
)
from cloister.sandboxes.oci.image_registry import FetchedImage
from cloister.sandboxes.oci.image_tree import clean_tree, installed_packages, seal_tree
from cloister.sandboxes.oci.workbench import locked, remove_tree, sync, sync_file_system, workbench

UID_BASE = 1_000_000_000
"""Host uid of container root: far above the ranges that user databases and /etc/subuid hand out."""

_DIGEST_LENGTH = 64
_SHORTEST_DIGEST = 4


class OciImageStore:
    """Keeps images below one directory.

    Own recipes are in `recipes` of the state directory, and come before those that Cloister brings.
    `<digest>/rootfs` the root file system, owners shifted; `<digest>/image.json` what it is;
    `names/<name>` the digest of the newest build, where a reference's name is its SHA-256;
    `building/<name>` and `removing/` what is not whole.
    A digest's directory appears and disappears by one rename, so it is never half there.
    """

    def __init__(
        self, state: Path, *, uid_base: int = UID_BASE, recipes: Path | None = None, puller: Puller | None = None
    ) -> None:
        self._folder = state / "images"
        self._uid_base = uid_base
        self._recipes = (state / "recipes", recipes or packaged_recipes())
        self._puller = puller or Puller()
        self._described: dict[ImageDigest, Image] = {}

    async def ensure(self, name: str, progress: ReportProgress | None = None) -> ImageDigest:
        """Return the digest of the image `name`, building it when it was never built."""
        if built := self._find(name):  # first, because it is on the way of every start
            return built
        if is_reference(name):
            raise not_pulled(name)
        recipe = load_recipe(name, *self._recipes)
        async with locked(self._folder, name):
            return self._find(name) or await self._build(recipe, progress)

    async def find(self, name: str) -> ImageDigest | None:
        """Return the digest of the image `name` when it was built."""
        return self._find(name)

    async def names(self) -> Sequence[str]:
        """Every name that `ensure` accepts, built or not, sorted."""
        return known_recipes(*self._recipes)

    async def build(self, name: str, progress: ReportProgress | None = None) -> Image:
        """Build `name` anew, from today's packages; what was built before stays usable by its digest."""
        recipe = load_recipe(name, *self._recipes)
        async with locked(self._folder, name):
            return self.get(await self._build(recipe, progress))

    async def pull(self, text: str, progress: ReportProgress | None = None) -> Image:
        """Pull what the reference `text` stands for now; what was pulled before stays usable by its digest.

        UsageError when it is no reference; the errors of `Puller.pull`, and then nothing has changed.
        """
        reference = parse_reference(text)
        async with locked(self._folder, _file_name(text)):
            return self.get(await self._pull(reference, text, progress))

    def rootfs(self, digest: ImageDigest) -> Path:
        """Return the root file system. NotFoundError when it is not whole on this node."""
        place = self._folder / digest
        if not (place / "image.json").exists():  # not read: this is on the way of every start
            raise _absent(digest)
        return place / "rootfs"

    def get(self, digest: ImageDigest) -> Image:
        """Return what is known of an image. NotFoundError when it is not whole on this node."""
        try:
            return _read_image(self._folder / digest / "image.json")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _absent(digest) from error

    async def describe(self, digest: ImageDigest) -> Image:
        """Return what `get` does, read once: an image never changes."""
        self.rootfs(digest)
        if digest not in self._described:
            self._described[digest] = self.get(digest)
        return self._described[digest]

    async def list(self) -> Sequence[Image]:
        """Every whole image, newest first."""
        images = [_read_image(path) for path in self._folder.glob("*/image.json") if _is_digest(path.parent.name)]
        return sorted(images, key=lambda image: image.created_at, reverse=True)

    async def look_up(self, name_or_digest: str) -> Image:
        """Return an image, by name or by a unique beginning of its digest; errors as of `remove`."""
        return self.get(await self._resolve(name_or_digest))

    async def remove(self, name_or_digest: str, *, in_use: Callable[[ImageDigest], bool]) -> None:
        """Forget an image, by name or by a unique beginning of its digest.

        NotFoundError when there is none; ConflictError when `in_use` says that a sandbox or a snapshot stands on it.
        """
        digest = await self._resolve(name_or_digest)
        if in_use(digest):
            raise ConflictError(
                f"the image {name_or_digest} is in use", hint="finish its tasks and remove its snapshots"
            )
        for link in (self._folder / "names").iterdir():
            if link.read_text().strip() == digest:
                link.unlink()
        grave = self._folder / "removing" / digest
        grave.parent.mkdir(exist_ok=True)
        (self._folder / digest).rename(grave)
        await to_thread.run_sync(remove_tree, grave)

    def _find(self, name: str) -> ImageDigest | None:
        if not is_recipe_name(name) and not is_reference(name):
            return None
        with suppress(FileNotFoundError, NotFoundError):
            digest = ImageDigest((self._folder / "names" / _file_name(name)).read_text().strip())
            self.rootfs(digest)
            return digest
        return None

    async def _resolve(self, name_or_digest: str) -> ImageDigest:
        if built := self._find(name_or_digest):
            return built
        given = name_or_digest if len(name_or_digest) >= _SHORTEST_DIGEST else "no digest"
        found = [image.digest for image in await self.list() if image.digest.startswith(given)]
        match found:
            case [digest]:
                return digest
            case []:
                buildable = name_or_digest in known_recipes(*self._recipes)
                hint = f"cloister image build {name_or_digest}" if buildable else "see `cloister image list`"
                raise NotFoundError(f"there is no image {name_or_digest!r} on this node", hint=hint)
            case _:
                raise ConflictError(f"{name_or_digest!r} begins the digests of {len(found)} images; give more of it")

    async def _build(self, recipe: ImageRecipe, progress: ReportProgress | None) -> ImageDigest:
        """Build with the recipe's lock held."""
        report = progress or _ignore
        async with workbench(self._folder, recipe.name, _the_image(recipe.name)) as bench:
            root = await build_recipe(recipe, bench, report)
            manifest = await read_manifest(recipe, root)
            registries = await registries_in(root)
            report(BuildProgress("sealing", 0.92))
            image = await to_thread.run_sync(self._seal, recipe, root, registries, manifest)
            report(BuildProgress("writing to disk", 0.96))
            await sync_file_system(bench)
            self._publish(bench, image)
        report(BuildProgress("done", 1.0))
        return image.digest

    async def _pull(self, reference: ImageReference, text: str, progress: ReportProgress | None) -> ImageDigest:
        """Pull with the reference's lock held."""
        report = progress or _ignore
        async with workbench(self._folder, _file_name(text), _the_image(text)) as bench:
            fetched = await self._puller.pull(reference, bench, report)
            report(BuildProgress("sealing", 0.92))
            image = await to_thread.run_sync(self._seal_pulled, text, fetched, bench / "rootfs")
            report(BuildProgress("writing to disk", 0.96))
            await sync_file_system(bench)
            self._publish(bench, image)
        report(BuildProgress("done", 1.0))
        return image.digest

    def _seal_pulled(self, text: str, fetched: FetchedImage, root: Path) -> Image:
        """Make a pulled tree an image's. Nothing in it is run, and no link in it is followed."""
        packages: Mapping[str, str] = {}
        if has_plain_file(root, "var/lib/dpkg/status"):
            with suppress(UnicodeDecodeError, KeyError):  # it need not be dpkg's
                packages = installed_packages(root)
        tree = seal_tree(root, uid_base=self._uid_base)
        image = Image(
            name=text,
            digest=_digest_with(tree.digest, fetched.variables),
            created_at=datetime.now(UTC),
            size_bytes=tree.size_bytes,
            packages=packages,
            source=fetched.digest,
            variables=fetched.variables,
            universal=has_plain_file(root, SCRIPT.lstrip("/")),
        )
        _write_image(root.parent / "image.json", image)
        return image

    def _seal(self, recipe: ImageRecipe, root: Path, registries: tuple[str, ...], manifest: Manifest) -> Image:
        """Make the built tree an image's, and describe it beside the tree and inside."""
        clean_tree(root)
        packages = installed_packages(root)
        write_manifest(recipe.name, packages, manifest, root)
        tree = seal_tree(root, uid_base=self._uid_base)
        image = Image(
            name=recipe.name,
            digest=ImageDigest(tree.digest),
            created_at=datetime.now(UTC),
            size_bytes=tree.size_bytes,
            packages=packages,
            registries=registries,
            toolchains=manifest.toolchains,
            package_managers=manifest.package_managers,
        )
        _write_image(root.parent / "image.json", image)
        return image

    def _publish(self, bench: Path, image: Image) -> None:
        place = self._folder / image.digest
        if not place.exists():
            whole = bench / "image"
            whole.mkdir()
            for part in ("rootfs", "image.json"):
                (bench / part).rename(whole / part)
            whole.rename(place)
        names = self._folder / "names"
        names.mkdir(exist_ok=True)
        name = _file_name(image.name)
        link = names / f".{name}.new"
        link.write_text(image.digest + "\n")
        sync(link)
        link.rename(names / name)
        sync(names)
        sync(self._folder)


def _conforms(store: OciImageStore) -> ImageKeeper:
    return store


def _absent(digest: ImageDigest) -> NotFoundError:
    return NotFoundError(f"there is no image {digest[:12]} on this node")


def _file_name(name: str) -> str:
    """Return a safe file name: a recipe's own, and for a reference one that is too long to be a recipe's."""
    return hashlib.sha256(name.encode()).hexdigest() if is_reference(name) else name


def _digest_with(tree: str, variables: Mapping[str, str]) -> ImageDigest:
    """Return the digest of a tree that comes with variables: programs behave otherwise without them."""
    together = f"{tree} {json.dumps(dict(variables), sort_keys=True)}"
    return ImageDigest(hashlib.sha256(together.encode()).hexdigest() if variables else tree)


def _the_image(name: str) -> str:
    return f"the image {name!r}"


def _ignore(_: BuildProgress) -> None:
    """Report to nobody."""


def _is_digest(name: str) -> bool:
    return len(name) == _DIGEST_LENGTH


def _read_image(path: Path) -> Image:
    fields = json.loads(path.read_text())
    return Image(
        name=fields["name"],
        digest=ImageDigest(fields["digest"]),
        created_at=datetime.fromisoformat(fields["created_at"]),
        size_bytes=fields["size_bytes"],
        packages=fields["packages"],
        registries=tuple(fields.get("registries", ())),  # older images were not asked
        source=fields.get("source", ""),
        variables=fields.get("variables", {}),
        universal=fields.get("universal", False),
        toolchains=tuple(_fields_to_toolchain(toolchain) for toolchain in fields.get("toolchains", ())),
        package_managers=fields.get("package_managers", {}),
    )


def _fields_to_toolchain(fields: Mapping[str, Any]) -> Toolchain:
    return Toolchain(**{**fields, "path": tuple(fields["path"])})


def _write_image(path: Path, image: Image) -> None:
    fields = {
        "name": image.name,
        "digest": image.digest,
        "created_at": image.created_at.isoformat(),
        "size_bytes": image.size_bytes,
        "packages": dict(image.packages),
        "registries": list(image.registries),
        "source": image.source,
        "variables": dict(image.variables),
        "universal": image.universal,
        "toolchains": [asdict(toolchain) for toolchain in image.toolchains],
        "package_managers": dict(image.package_managers),
    }
    path.write_text(json.dumps(fields, indent=1) + "\n")

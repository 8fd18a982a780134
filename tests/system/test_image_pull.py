"""Images from a real registry on loopback: by tag, by digest, with a password, and what goes wrong meanwhile."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from cloister.errors import DiskFullError, NotFoundError, SandboxError
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_layer import Allowance
from cloister.sandboxes.oci.image_pull import Puller

from .installation import QUIET, Installation
from .registry import ARCHITECTURE, CutConnection, Registry, layer_of, needs_registry, small_layer
from .small_disk import small_disk

pytestmark = needs_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry").running() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> OciImageStore:
    return OciImageStore(tmp_path / "state")


def left(store: OciImageStore, state: Path) -> list[str]:
    found = (path.relative_to(state / "images") for path in (state / "images").glob("*/*"))
    return sorted(str(path) for path in found if path.parts[0] != "locks")


async def test_a_tag_is_pulled_shifted_and_pinned(registry: Registry, store: OciImageStore, tmp_path: Path) -> None:
    digest = registry.push("a/b:1", [layer_of(tmp_path / "one", {"etc/x": b"1"})], ("PATH=/opt/bin:/bin", "1=2"))
    image = await store.pull(f"{registry.host}/a/b:1")
    status = (store.rootfs(image.digest) / "etc/x").stat()
    assert status.st_uid == 1_000_000_000
    assert (image.source, dict(image.variables)) == (digest, {"PATH": "/opt/bin:/bin"})
    registry.push("a/b:1", [layer_of(tmp_path / "two", {"etc/x": b"2"})])
    assert await store.ensure(f"{registry.host}/a/b:1") == image.digest, "a pulled tag does not move by itself"
    moved = await store.pull(f"{registry.host}/a/b:1")
    assert moved.digest != image.digest
    assert (await store.pull(f"{registry.host}/a/b@{digest}")).digest == image.digest


async def test_of_a_list_this_machines_own_is_pulled_and_the_lists_digest_is_kept(
    registry: Registry, store: OciImageStore, tmp_path: Path
) -> None:
    own, other = (layer_of(tmp_path / name, {"which": name.encode()}) for name in ("own", "other"))
    digest = registry.push_list("a:1", {"s390x": [other], ARCHITECTURE: [zstandard.compress(own)]})
    image = await store.pull(f"{registry.host}/a:1")
    assert (store.rootfs(image.digest) / "which").read_text() == "own"
    assert image.source == digest
    assert (await store.pull(f"{registry.host}/a@{digest}")).digest == image.digest
    registry.push_list("b:1", {"s390x": [other]})
    with pytest.raises(SandboxError, match=f"has no image for linux/{ARCHITECTURE}"):
        await store.pull(f"{registry.host}/b:1")


async def test_a_registry_that_dies_meanwhile_is_told_and_changes_nothing(
    registry: Registry, store: OciImageStore, tmp_path: Path
) -> None:
    registry.push("a:1", [layer_of(tmp_path / "one", {"x": b"1"})])
    with CutConnection(registry, after_bytes=1 << 40).running() as front:  # the twin: it cuts nothing
        before = await store.pull(f"{front.host}/a:1")
        whole = left(store, tmp_path / "state")
        registry.push("a:1", [layer_of(tmp_path / "large", {"x": os.urandom(2_000_000)})])
        front.cut_after(1_000_000)
        with pytest.raises(SandboxError, match=r"skopeo copy .* failed: .*(EOF|reset by peer)"):
            await store.pull(f"{front.host}/a:1")
        assert left(store, tmp_path / "state") == whole
        assert await store.ensure(f"{front.host}/a:1") == before.digest
        assert (store.rootfs(before.digest) / "x").read_bytes() == b"1"


async def test_what_nobody_pulled_is_not_fetched_for_a_task(
    registry: Registry, store: OciImageStore, tmp_path: Path
) -> None:
    reference = f"{registry.host}/a:1"
    registry.push("a:1", [layer_of(tmp_path / "layer", {"a": b"1"})])
    with pytest.raises(NotFoundError) as refused:
        await store.ensure(reference)
    assert refused.value.hint == f"if you trust it, fetch it once: cloister image pull {reference}"
    assert await store.find(reference) is None
    pulled = await store.pull(reference)  # the twin: it can be fetched
    assert await store.ensure(reference) == await store.find(reference) == pulled.digest


async def test_a_digest_that_is_not_there_is_refused(registry: Registry, store: OciImageStore, tmp_path: Path) -> None:
    registry.push("a:1", [layer_of(tmp_path / "one", {"x": b"1"})])
    with pytest.raises(SandboxError, match="manifest unknown"):
        await store.pull(f"{registry.host}/a@sha256:{'0' * 64}")
    assert left(store, tmp_path / "state") == []


async def test_a_damaged_layer_is_refused_and_the_next_pull_works(
    registry: Registry, store: OciImageStore, tmp_path: Path
) -> None:
    layer = layer_of(tmp_path / "one", {"x": b"1"})
    registry.push("a:1", [layer])
    data = registry.damage(layer)
    with pytest.raises(SandboxError, match=hashlib.sha256(layer).hexdigest()):
        await store.pull(f"{registry.host}/a:1")
    assert left(store, tmp_path / "state") == []
    data.write_bytes(layer)
    await store.pull(f"{registry.host}/a:1")


async def test_a_bomb_is_refused_and_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.push("a:1", [layer_of(tmp_path / "one", {"x": bytes(100_000)})])
    store = OciImageStore(tmp_path / "state", puller=Puller(allowance=lambda: Allowance(bytes=50_000)))
    with pytest.raises(SandboxError, match="too large when it is unpacked"):
        await store.pull(f"{registry.host}/a:1")
    assert left(store, tmp_path / "state") == []


async def test_a_full_disk_is_told_and_left_clean(registry: Registry, store: OciImageStore, tmp_path: Path) -> None:
    registry.push("a:1", [layer_of(tmp_path / "one", {"x": bytes(3_000_000)})])
    state = tmp_path / "state"
    with small_disk(state):
        with pytest.raises(DiskFullError):
            await store.pull(f"{registry.host}/a:1")
        assert left(store, state) == []


async def test_a_registry_that_is_away_is_told_and_the_next_pull_works(store: OciImageStore, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    with registry.running():
        registry.push("a:1", [layer_of(tmp_path / "one", {"x": b"1"})])
    with pytest.raises(SandboxError, match="connection refused"):
        await store.pull(f"{registry.host}/a:1")
    assert left(store, tmp_path / "state") == []
    with registry.running():
        await store.pull(f"{registry.host}/a:1")


async def test_a_password_comes_from_the_standard_file(
    store: OciImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "auth.json"
    credentials.write_text("{}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(credentials))
    with Registry(tmp_path / "registry", password="open sesame").running() as registry:
        registry.push("a:1", [layer_of(tmp_path / "one", {"x": b"1"})])
        with pytest.raises(SandboxError, match="authentication required"):
            await store.pull(f"{registry.host}/a:1")
        encoded = base64.b64encode(b"me:open sesame").decode()
        credentials.write_text(json.dumps({"auths": {registry.host: {"auth": encoded}}}))
        await store.pull(f"{registry.host}/a:1")


async def test_a_task_runs_in_a_pulled_image(
    installation: Installation, images: OciImageStore, registry: Registry, tmp_path: Path
) -> None:
    small = small_layer(images.rootfs(await images.ensure("base")))
    registry.push("small:1", [small, layer_of(tmp_path / "mark", {"opt/mark": b"pulled\n"})])
    environment = f'image = "{registry.host}/small:1"\n' + QUIET
    async with installation.opened() as running:
        with pytest.raises(NotFoundError) as refused:
            await running.submit(environment=environment)
        assert refused.value.hint == f"if you trust it, fetch it once: cloister image pull {registry.host}/small:1"
        assert await running.application.images.pull(f"{registry.host}/small:1")
        finished = await running.run("cat /opt/mark; stat -c %u /opt/mark", environment=environment)
    assert finished.printed("agent") == "pulled\n0\n"
    await images.remove(f"{registry.host}/small:1", in_use=lambda _: False)

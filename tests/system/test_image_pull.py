"""Images from a real registry on loopback: by tag, by digest, with a password, and what goes wrong meanwhile."""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloister.errors import DiskFullError, NotFoundError, SandboxError
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_layer import Allowance
from cloister.sandboxes.oci.image_pull import Puller

from .installation import QUIET, Installation

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners"),
    pytest.mark.skipif(not shutil.which("docker-registry") or not shutil.which("skopeo"), reason="./dev test"),
]

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Debian's docker-registry, with a folder of its own."""

    def __init__(self, folder: Path, *, password: str = "") -> None:
        self.folder = folder
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.password = password

    @contextmanager
    def running(self) -> Iterator["Registry"]:
        auth = ""
        if self.password:
            users = subprocess.check_output(["htpasswd", "-nbB", "me", self.password])
            (self.folder / "users").write_bytes(users)
            auth = f"auth: {{htpasswd: {{realm: test, path: {self.folder}/users}}}}"
        configuration = self.folder / "config.yml"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, port=self.port, auth=auth))
        # It takes each REGISTRY_ variable for a setting of its own.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        command = ["docker-registry", "serve", str(configuration)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=variables)
        try:
            self._wait()
            yield self
        finally:
            process.terminate()
            process.wait()

    def push(self, name: str, layers: list[bytes], variables: tuple[str, ...] = ()) -> str:
        """Push an image of these layers, each a tar archive, and return its manifest's digest."""
        layout = self.folder / "layout"
        blobs = layout / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)

        def put(content: bytes, kind: str) -> dict[str, object]:
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

        placed = [put(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers]
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": list(variables)},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in placed]},
        }
        configuration = put(json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json")
        whole = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": placed}
        manifest = put(json.dumps(whole).encode(), MANIFEST)
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        credentials = [f"--dest-creds=me:{self.password}"] if self.password else []
        copy = ("skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false")
        subprocess.run([*copy, *credentials, f"oci:{layout}", f"docker://{self.host}/{name}"], check=True)
        return str(manifest["digest"])

    def damage(self, content: bytes) -> Path:
        """Change a blob where the registry keeps it, and return the file."""
        digest = hashlib.sha256(content).hexdigest()
        data = self.folder / f"blobs/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
        data.write_bytes(content[:-1] + b"!")
        return data

    def _wait(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the registry does not answer")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry").running() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> OciImageStore:
    return OciImageStore(tmp_path / "state")


def layer_of(folder: Path, files: dict[str, bytes]) -> bytes:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return archive_of(folder)


def archive_of(folder: Path) -> bytes:
    owner = ("--owner=0", "--group=0", "--numeric-owner")
    return subprocess.check_output(["tar", "--create", "--directory", folder, *owner, "."])


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


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
    base = images.rootfs(await images.ensure("base"))
    registry.push("base:1", [archive_of(base), layer_of(tmp_path / "mark", {"opt/mark": b"pulled\n"})])
    environment = f'image = "{registry.host}/base:1"\n' + QUIET
    async with installation.opened() as running:
        with pytest.raises(NotFoundError) as refused:
            await running.submit(environment=environment)
        assert refused.value.hint == f"if you trust it, fetch it once: cloister image pull {registry.host}/base:1"
        assert await running.application.images.pull(f"{registry.host}/base:1")
        finished = await running.run("cat /opt/mark; stat -c %u /opt/mark", environment=environment)
    assert finished.printed("agent") == "pulled\n0\n"
    await images.remove(f"{registry.host}/base:1", in_use=lambda _: False)

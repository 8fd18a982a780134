"""Debian's docker-registry on loopback, and images that are pushed to it."""

import gzip
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zstandard

needs_registry = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("docker-registry") or not shutil.which("skopeo"),
    reason="only root can make files of other owners; ./dev test installs the rest",
)

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LIST = "application/vnd.oci.image.index.v1+json"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


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
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables)
        try:
            self._wait()
            yield self
        finally:
            process.terminate()
            process.wait()

    def push(self, name: str, layers: Sequence[bytes], variables: tuple[str, ...] = ()) -> str:
        """Push an image of these layers, each a tar archive, and return its manifest's digest."""
        return self._push(name, self._manifest(layers, variables))

    def push_list(self, name: str, images: Mapping[str, Sequence[bytes]]) -> str:
        """Push a list of images by architecture, and return its digest."""
        manifests = [
            {
                **self._manifest(layers, architecture=architecture),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, layers in images.items()
        ]
        whole = {"schemaVersion": 2, "mediaType": LIST, "manifests": manifests}
        return self._push(name, self._put(json.dumps(whole).encode(), LIST), "--all")

    def blobs(self) -> list[bytes]:
        """All that the registry keeps, unpacked where it is packed."""
        found = [path.read_bytes() for path in self.folder.glob("blobs/docker/registry/v2/blobs/sha256/*/*/data")]
        return [_unpacked(blob) for blob in found]

    def damage(self, content: bytes) -> Path:
        """Change a blob where the registry keeps it, and return the file."""
        digest = hashlib.sha256(content).hexdigest()
        data = self.folder / f"blobs/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
        data.write_bytes(content[:-1] + b"!")
        return data

    def _manifest(
        self, layers: Sequence[bytes], variables: tuple[str, ...] = (), *, architecture: str = ARCHITECTURE
    ) -> dict[str, object]:
        placed = [self._put(layer, _kind_of(layer)) for layer in layers]
        described = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(variables)},
            "rootfs": {"type": "layers", "diff_ids": [_diff_id(layer) for layer in layers]},
        }
        configuration = self._put(json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json")
        whole = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": placed}
        return self._put(json.dumps(whole).encode(), MANIFEST)

    def _put(self, content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs = self.folder / "layout/blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def _push(self, name: str, described: Mapping[str, object], *options: str) -> str:
        layout = self.folder / "layout"
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        credentials = [f"--dest-creds=me:{self.password}"] if self.password else []
        copy = ("skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", *options)
        subprocess.run([*copy, *credentials, f"oci:{layout}", f"docker://{self.host}/{name}"], check=True)
        return str(described["digest"])

    def _wait(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the registry does not answer")


class CutConnection:
    """Stands before a registry, and cuts every connection after so many bytes of its answers."""

    def __init__(self, registry: Registry, *, after_bytes: int) -> None:
        self._target = ("127.0.0.1", registry.port)
        self._left = after_bytes
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"

    def cut_after(self, answered_bytes: int) -> None:
        """Cut after so many more bytes."""
        self._left = answered_bytes

    @contextmanager
    def running(self) -> Iterator["CutConnection"]:
        threads = [threading.Thread(target=self._accept, daemon=True)]
        threads[0].start()
        try:
            yield self
        finally:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            threads[0].join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, socket.create_connection(self._target) as target:
                asking = threading.Thread(target=_carry, args=(client, target), daemon=True)
                asking.start()
                while self._left > 0 and (data := target.recv(min(self._left, 65536))):
                    self._left -= len(data)
                    client.sendall(data)
                client.shutdown(socket.SHUT_RDWR)
                asking.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _unpacked(blob: bytes) -> bytes:
    if blob[:4] == zstandard.FRAME_HEADER:
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    return gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob


def _kind_of(layer: bytes) -> str:
    return "application/vnd.oci.image.layer.v1.tar" + ("+zstd" if layer[:4] == zstandard.FRAME_HEADER else "")


def _diff_id(layer: bytes) -> str:
    unpacked = zstandard.decompress(layer) if layer[:4] == zstandard.FRAME_HEADER else layer
    return f"sha256:{hashlib.sha256(unpacked).hexdigest()}"


def layer_of(folder: Path, files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    return archive_of(folder)


def archive_of(folder: Path) -> bytes:
    owner = ("--owner=0", "--group=0", "--numeric-owner")
    return subprocess.check_output(["tar", "--create", "--directory", folder, *owner, "."])


_PROGRAMS = (
    "bash sh cat chmod chown cp env false grep ln ls mkdir mkfifo mktemp od readlink rm sleep stat touch true".split()
)
_LIBRARIES = ("acl", "attr", "c", "pcre2-8", "selinux", "tinfo")


def small_layer(base: Path) -> bytes:
    """Return what a shell and a few programs need, out of the image `base`: a hundredth of it."""
    libraries = [path for name in _LIBRARIES for path in base.glob(f"usr/lib/*/lib{name}.so.*")]
    loaders = [*base.glob("lib64/ld-linux*"), *base.glob("usr/lib/*/ld-linux*"), *base.glob("usr/lib/ld-linux*")]
    programs = [
        path for name in (*_PROGRAMS, "dash") if (path := base / "usr/bin" / name).is_symlink() or path.exists()
    ]
    names = [str(path.relative_to(base)) for path in (*libraries, *loaders, *programs)]
    links = [name for name in ("bin", "lib", "lib64") if (base / name).is_symlink()]
    owner = ("--owner=0", "--group=0", "--numeric-owner")
    folders = "etc tmp opt root usr usr/bin usr/lib usr/lib64 etc/passwd etc/skel etc/debian_version".split()
    command = (
        "tar",
        "--create",
        "--directory",
        base,
        *owner,
        "--no-recursion",
        *folders,
        *links,
        *dict.fromkeys(names),
    )
    return subprocess.check_output(command)

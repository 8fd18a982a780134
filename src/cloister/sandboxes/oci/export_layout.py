"""Writes an OCI image layout: blobs by digest, a configuration, a manifest and an index."""

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard

from cloister.model.snapshot_export import Compression

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIGURATION = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP_LEVEL = 3
"""A third of the time of the usual level, and a tenth larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayer:
    """A layer that lies in the layout."""

    descriptor: Mapping[str, object]
    diff_id: str
    made_by: str
    """What the image's history says of it."""


@dataclass(slots=True)
class ImageLayout:
    """An image that is being written to `folder`, layer by layer from the lowest up."""

    folder: Path
    compression: Compression
    layers: list[PackedLayer] = field(default_factory=list)

    def add_layer(self, pack: Callable[[IO[bytes]], int], *, made_by: str) -> None:
        """Let `pack` write an archive, and add it unless it says that it has no entries."""
        draft = self._blobs / "draft"
        with draft.open("wb") as file:
            outer = _Digesting(file)
            with _packer(outer, self.compression) as packer:
                inner = _Digesting(packer)
                entries = pack(inner)  # type: ignore[arg-type]  # it writes, and no more is asked of it
        if not entries:
            draft.unlink()
            return
        draft.rename(self._blobs / outer.digest.removeprefix("sha256:"))
        descriptor = {"mediaType": f"{_LAYER}+{self.compression}", "digest": outer.digest, "size": outer.position}
        self.layers.append(PackedLayer(descriptor=descriptor, diff_id=inner.digest, made_by=made_by))

    def finish(self, configuration: Mapping[str, object]) -> str:
        """Add what the layers say to the configuration, write the rest, and return the manifest's digest."""
        whole = {
            **configuration,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": [{"created": configuration["created"], "created_by": layer.made_by} for layer in self.layers],
        }
        manifest = self._put(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._put(whole, _CONFIGURATION),
                "layers": [layer.descriptor for layer in self.layers],
            },
            MANIFEST,
        )
        self._write("index.json", {"schemaVersion": 2, "manifests": [manifest]})
        self._write("oci-layout", {"imageLayoutVersion": "1.0.0"})
        return str(manifest["digest"])

    @property
    def _blobs(self) -> Path:
        place = self.folder / "blobs/sha256"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _put(self, document: Mapping[str, object], kind: str) -> Mapping[str, object]:
        content = json.dumps(document, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def _write(self, name: str, document: Mapping[str, object]) -> None:
        (self.folder / name).write_text(json.dumps(document))


def image_configuration(
    *, architecture: str, created: str, variables: Mapping[str, str], cwd: str, labels: Mapping[str, str]
) -> Mapping[str, object]:
    """Return a configuration (OCI image specification) without what depends on the layers."""
    lines: Sequence[str] = [f"{name}={value}" for name, value in sorted(variables.items())]
    return {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": lines, "Cmd": ["/bin/bash"], "WorkingDir": cwd, "Labels": dict(sorted(labels.items()))},
    }


def _packer(target: "_Digesting", compression: Compression) -> AbstractContextManager[IO[bytes]]:
    """Return a file that compresses what is written to it. Nothing but the content decides about the bytes."""
    if compression == "zstd":
        zstd = zstandard.ZstdCompressor()
        return cast("AbstractContextManager[IO[bytes]]", zstd.stream_writer(cast("IO[bytes]", target), closefd=False))
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=_GZIP_LEVEL, mtime=0)
    return cast("AbstractContextManager[IO[bytes]]", packed)


class _Digesting:
    """A file that is written once, and digested meanwhile."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.position = 0

    def write(self, content: bytes) -> int:
        """Write all of it."""
        self._target.write(content)
        self._hash.update(content)
        self.position += len(content)
        return len(content)

    def flush(self) -> None:
        """Leave that to the file below."""

    def tell(self) -> int:
        """Return how much was written."""
        return self.position

    @property
    def digest(self) -> str:
        """Of all that was written, as `sha256:...`."""
        return f"sha256:{self._hash.hexdigest()}"

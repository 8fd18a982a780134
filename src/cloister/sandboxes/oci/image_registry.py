"""Brings an image from a registry into a folder, with skopeo, and checks every digest from the reference down."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from cloister.errors import SandboxError
from cloister.model.reference import ImageReference
from cloister.sandboxes.oci.image_layer import RefusedLayerError
from cloister.sandboxes.oci.skopeo import MOST_BYTES, architecture, run_skopeo, tls_option

_LISTS = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_T = TypeVar("_T")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_DOCUMENT_BYTES = 4 << 20
_MOST_LAYERS = 512
_MOST_VARIABLE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedLayer:
    """One layer whose digest was checked."""

    archive: Path
    digest: str
    diff_id: str
    """The digest of the archive when it is unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedImage:
    """What lies in the folder."""

    digest: str
    """What the reference stood for: of a list of platforms, when the registry has one."""
    layers: tuple[FetchedLayer, ...]
    """From the lowest up."""
    variables: Mapping[str, str]
    """The environment that the image's configuration gives to its programs."""


async def fetch_image(reference: ImageReference, folder: Path) -> FetchedImage:
    """Fetch the image for this machine's architecture into `folder`/blobs.

    SandboxError with skopeo's own words when the registry refuses, is away or dies meanwhile; RefusedLayerError when
    a digest is wrong; HostError without skopeo; DiskFullError.
    """
    document = await run_skopeo("inspect", "--raw", tls_option("", reference), f"docker://{reference}")
    digest = _digest(document)
    if reference.digest and digest != reference.digest:
        raise RefusedLayerError(f"{reference} is not what the registry sent: that has the digest {digest}")
    pinned = f"docker://{reference.name}@{digest}"  # what a tag stands for may change meanwhile
    _check_size(await _manifest_of(reference, document))
    blobs = folder / "blobs"
    await run_skopeo("copy", tls_option("src-", reference), pinned, f"dir:{blobs}")
    return await to_thread.run_sync(check_fetched, blobs, document, digest)


def check_fetched(blobs: Path, document: bytes, digest: str) -> FetchedImage:
    """Check what lies in `blobs` against the `document` that the reference stands for, down to the layers."""
    content = _small(blobs / "manifest.json")
    if content != document and _digest(content) not in _digests_of_list(document):
        raise RefusedLayerError("the manifest that the registry sent is not in the list that the reference stands for")
    manifest = _object(content)
    layers = _layers(manifest)
    wanted = _field(manifest, "config", dict)
    configuration = blobs / _blob_name(wanted)
    _check_blob(configuration, wanted, "configuration")
    described = _object(_small(configuration))
    identities = _field(_field(described, "rootfs", dict), "diff_ids", list)
    if len(identities) != len(layers):
        raise SandboxError(f"the image has {len(layers)} layers, and its configuration {len(identities)}")
    found = []
    for layer, identity in zip(layers, identities, strict=True):
        archive = blobs / _blob_name(layer)
        _check_blob(archive, layer, f"layer {layer['digest']}")
        found.append(FetchedLayer(archive=archive, digest=str(layer["digest"]), diff_id=str(identity)))
    return FetchedImage(digest=digest, layers=tuple(found), variables=_variables(described))


async def _manifest_of(reference: ImageReference, document: bytes) -> Mapping[str, object]:
    """Return the manifest for this machine, before anything large is fetched."""
    manifest = _object(document)
    if manifest.get("mediaType") not in _LISTS and "manifests" not in manifest:
        return manifest
    machine = architecture()
    for entry in _field(manifest, "manifests", list):
        its = entry.get("platform") if isinstance(entry, dict) else None
        if isinstance(its, dict) and its.get("os") == "linux" and its.get("architecture") == machine:
            found = f"docker://{reference.name}@{_field(entry, 'digest', str)}"
            return _object(await run_skopeo("inspect", "--raw", tls_option("", reference), found))
    raise SandboxError(f"{reference} has no image for linux/{machine}")


def _check_size(manifest: Mapping[str, object]) -> None:
    if manifest.get("mediaType", _MANIFESTS[0]) not in _MANIFESTS:
        raise SandboxError(f"a manifest of the kind {manifest.get('mediaType')!r} is too old to be read")
    layers = _layers(manifest)
    total = sum(_field(layer, "size", int) for layer in layers)
    if len(layers) > _MOST_LAYERS or total > MOST_BYTES:
        raise SandboxError(f"the image is too large: {len(layers)} layers, {total} bytes")


def _layers(manifest: Mapping[str, object]) -> list[dict[str, object]]:
    layers: list[dict[str, object]] = _field(manifest, "layers", list)
    for layer in layers:
        _blob_name(layer)
    return layers


def _blob_name(wanted: Mapping[str, object]) -> str:
    """Return the name of a blob's file; a digest is a safe one."""
    digest = wanted.get("digest") if isinstance(wanted, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise SandboxError(f"the image's manifest holds {digest!a} where a SHA-256 digest belongs")
    return digest.removeprefix("sha256:")


def _check_blob(path: Path, wanted: Mapping[str, object], name: str) -> None:
    try:
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError as error:
        raise RefusedLayerError(f"{name} was not sent by the registry") from error
    if found != wanted["digest"]:
        raise RefusedLayerError(f"{name} is not what the registry sent: that has the digest {found}")


def _variables(described: Mapping[str, object]) -> Mapping[str, str]:
    configured = described.get("config")
    lines = configured.get("Env") if isinstance(configured, dict) else None
    pairs = [line.split("=", 1) for line in lines or () if isinstance(line, str) and "=" in line and "\0" not in line]
    variables = {name: value for name, value in pairs if _VARIABLE.fullmatch(name)}
    if sum(len(name) + len(value) for name, value in variables.items()) > _MOST_VARIABLE_BYTES:
        raise SandboxError("the image's configuration has too many variables")
    return dict(sorted(variables.items()))


def _digests_of_list(document: bytes) -> set[object]:
    listed = _object(document).get("manifests")
    return {entry.get("digest") for entry in listed if isinstance(entry, dict)} if isinstance(listed, list) else set()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _small(path: Path) -> bytes:
    if path.stat().st_size > _MOST_DOCUMENT_BYTES:
        raise SandboxError("a description of the image is too large")
    return path.read_bytes()


def _object(content: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(content) if len(content) <= _MOST_DOCUMENT_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SandboxError("the registry sent a description of the image that is not one")
    return found


def _field(fields: object, name: str, kind: type[_T]) -> _T:
    value = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(value, kind):
        raise SandboxError(f"the description of the image that the registry sent has no {name!r}")
    return value

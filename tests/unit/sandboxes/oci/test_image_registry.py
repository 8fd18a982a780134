"""What lies in the folder after a fetch is checked from the reference down, whoever wrote it there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.sandboxes.oci.image_layer import RefusedLayerError
from cloister.sandboxes.oci.image_registry import check_fetched

LAYER, UNPACKED = b"layer", f"sha256:{'1' * 64}"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def fetched(folder: Path, **described: object) -> bytes:
    """Lay out an image of one layer as a fetch leaves it, and return its manifest."""
    configuration = json.dumps({"rootfs": {"diff_ids": [UNPACKED]}, "config": {"Env": ["A=b"]}, **described}).encode()
    manifest = {
        "config": {"digest": digest_of(configuration), "size": len(configuration)},
        "layers": [{"digest": digest_of(LAYER), "size": len(LAYER)}],
    }
    document = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(document)
    for content in (configuration, LAYER):
        (folder / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    return document


def place_of(folder: Path, content: bytes) -> Path:
    return folder / digest_of(content).removeprefix("sha256:")


def configuration_in(folder: Path) -> Path:
    return folder / json.loads((folder / "manifest.json").read_bytes())["config"]["digest"].removeprefix("sha256:")


def test_what_is_whole_passes(tmp_path: Path) -> None:
    document = fetched(tmp_path)
    image = check_fetched(tmp_path, document, digest_of(document))
    assert [(layer.digest, layer.diff_id) for layer in image.layers] == [(digest_of(LAYER), UNPACKED)]
    assert image.variables == {"A": "b"}
    listed = json.dumps({"manifests": [{"digest": digest_of(document)}]}).encode()
    assert check_fetched(tmp_path, listed, digest_of(listed)).digest == digest_of(listed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: place_of(folder, LAYER).write_bytes(b"other"), "layer sha256:.* is not what the registry sent"),
        (lambda folder: place_of(folder, LAYER).unlink(), "layer sha256:.* was not sent"),
        (lambda folder: configuration_in(folder).write_bytes(b"{}"), "configuration is not what the registry sent"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"{}"), "not in the list"),
    ],
)
def test_what_was_changed_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    document = fetched(tmp_path)
    damage(tmp_path)
    with pytest.raises(RefusedLayerError, match=message):
        check_fetched(tmp_path, document, digest_of(document))


@pytest.mark.parametrize(
    "described",
    [
        {"rootfs": {"diff_ids": []}},
        {"rootfs": {"diff_ids": [UNPACKED, UNPACKED]}},
        {"rootfs": {}},
        {"rootfs": 7},
        {"config": {"Env": [f"A{number}={'x' * 1000}" for number in range(100)]}},
    ],
)
def test_a_configuration_that_describes_another_image_is_refused(tmp_path: Path, described: dict[str, object]) -> None:
    document = fetched(tmp_path, **described)
    with pytest.raises(SandboxError):
        check_fetched(tmp_path, document, digest_of(document))

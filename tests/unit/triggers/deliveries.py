"""Deliveries as GitHub sends them, and its published examples and descriptions of them."""

import hashlib
import hmac
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

SECRET = "a-secret-of-a-webhook-of-tests"
VERSION = "7.6.1"
SHA256 = {
    "examples": "89e6cb1c6345d32e3dd775617fa54effbdc26c859e514898d7728e95e9738280",
    "schemas": "94be9136c02e5246912d6a4b1f178f8d5430ae36839e46ecfcad0020f42f33ca",
}
CACHE = Path("~/.cache/cloister-tests/npm").expanduser()
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches GitHub's examples")


def signature_of(body: bytes, secret: str = SECRET) -> str:
    """As X-Hub-Signature-256 has it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers_of(body: bytes, kind: str, id: str, secret: str = SECRET) -> dict[str, str]:
    """Of a delivery."""
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": kind,
        "X-GitHub-Delivery": id,
        "X-Hub-Signature-256": signature_of(body, secret),
    }


def published(which: str, file: str) -> Any:
    """A file of the package of examples or schemas, fetched once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    package = CACHE / f"octokit-webhooks-{which}-{VERSION}.tgz"
    if not package.exists():
        subprocess.run(["npm", "pack", "--silent", f"@octokit/webhooks-{which}@{VERSION}"], cwd=CACHE, check=True)
    assert hashlib.sha256(package.read_bytes()).hexdigest() == SHA256[which]
    with tarfile.open(package) as archive:
        found = archive.extractfile(f"package/{file}")
        assert found is not None
        return json.load(found)


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Every example, with the kind of its event."""
    listed = published("examples", "api.github.com/index.json")
    return [(it["name"], example) for it in listed for example in it["examples"]]

"""A prepared environment goes to a real registry and comes back: what is in it, what is not, and what goes wrong."""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import DiskFullError, SandboxError, UsageError
from cloister.model.image import BuildProgress
from cloister.model.secret import SecretValue
from cloister.sandboxes.oci.image import OciImageStore

from .installation import Installation, Running
from .registry import Registry, needs_registry, small_layer
from .small_disk import small_disk

pytestmark = needs_registry

SECRET = "canary-5c1d0f"
SETUP = r"""
cd /opt
mkdir -p kept/in emptied replaced && touch emptied/x
echo one > kept/file && ln kept/file kept/hard && ln -s /opt/kept/file kept/link && touch -d @1000000000 kept/file
cp /bin/true kept/su && chown 33:44 kept/su && chmod 4751 kept/su && chmod 1777 kept/in
printf x > "$(printf 'kept/b\303\244d\377')"
rm /usr/bin/env /etc/debian_version && rm -rf /etc/skel && mkdir /etc/skel && touch /etc/skel/new
rm /bin/sleep
echo leftover-7d1e > /cloister/out/message.md
test "$TOKEN" = canary-5c1d0f
echo made > "$OLDPWD/untracked.txt"
"""
ENVIRONMENT = f"""
image = "IMAGE"
[variables]
PRIVATE = "of-the-environment-alone"
[secrets]
TOKEN = {{}}
[setup]
script = '''{SETUP}'''
[network]
setup = "off"
"""
LOOK = r"""
cd /opt && stat -c '%n %f %u:%g %h' kept kept/file kept/hard kept/su kept/in
stat -c %Y kept/file && readlink kept/link
printf '%s\n' kept/* | od -c | grep -c 377
ls -d /usr/bin/env /etc/debian_version /bin/sleep 2>/dev/null
ls -A /etc/skel
cd "$OLDPWD" && cat untracked.txt a.txt
"""


LABELS = ("base.digest", "base.name", "revision", "version")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry").running() as running:
        yield running


def ignore(_: BuildProgress) -> None:
    """Report to nobody."""


async def prepared(running: Running, environment: str) -> str:
    finished = await running.run("true", environment=environment, secrets={"TOKEN": SecretValue(SECRET)})
    assert finished.outcome.verdict == "succeeded", finished.outcome.reason
    return (await running.application.intake.snapshots.list())[0].key


async def test_an_exported_environment_comes_back_as_it_was(
    installation: Installation, images: OciImageStore, registry: Registry
) -> None:
    small, reference = f"{registry.host}/small:1", f"{registry.host}/team/web:ready"
    registry.push("small:1", [small_layer(images.rootfs(await images.ensure("base")))], ("PATH=/opt/own:/usr/bin",))
    original = ENVIRONMENT.replace("IMAGE", small)
    async with installation.opened() as running:
        application = running.application
        await application.images.pull(small)
        key = await prepared(running, original)
        record = await application.intake.snapshots.get(key)
        found = {"path": ("/venv/bin",), "variables": {"VIRTUAL_ENV": "/venv"}}  # as automatic setup leaves it
        await application.tools.catalog.add(replace(record, **found))
        digest = await application.intake.snapshots.export(key[:12], reference, ignore, compression="zstd")
        assert (
            await application.intake.snapshots.export(key, f"{registry.host}/again", ignore, compression="zstd")
            == digest
        )
        pulled = await application.images.pull(reference)
        assert pulled.source == digest
        environment = f'image = "{reference}"\n[setup]\nscript = "true"\n[network]\nsetup = "off"\n'
        before = await running.run(LOOK, environment=original, secrets={"TOKEN": SecretValue(SECRET)})
        after = await running.run(LOOK, environment=environment)
    for name in (small, reference):
        await images.remove(name, in_use=lambda _: False)
    assert "kept/su 89e9 33:44 1" in before.printed("agent").splitlines()
    assert "made\none" in before.printed("agent")
    assert "/bin/sleep" not in before.printed("agent")
    assert after.printed("agent").splitlines() == before.printed("agent").splitlines()
    check_description(registry, "team/web:ready", key)
    kept = b"".join(registry.blobs())
    assert b"untracked.txt" in kept
    for absent in (SECRET, "of-the-environment-alone", "leftover-7d1e", str(installation.project.path), "alternates"):
        assert absent.encode() not in kept, absent
    assert list((installation.state / "exports").iterdir()) == []


def check_description(registry: Registry, name: str, key: str) -> None:
    inspect = ("skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{registry.host}/{name}")
    described = json.loads(subprocess.check_output(inspect))["config"]
    assert described["WorkingDir"] == "/workspace/project"
    assert described["Env"] == ["PATH=/venv/bin:/opt/own:/usr/bin", "VIRTUAL_ENV=/venv"]
    assert described["Labels"]["org.opencontainers.image.version"] == key
    assert set(described["Labels"]) == {f"org.opencontainers.image.{name}" for name in LABELS}


async def test_nothing_is_pushed_without_credentials_and_nothing_stays(
    installation: Installation, images: OciImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "auth.json"
    credentials.write_text("{}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(credentials))
    exports = installation.state / "exports"
    async with installation.opened() as running:
        application = running.application
        with Registry(tmp_path / "registry", password="open sesame").running() as registry:
            small, reference = f"{registry.host}/small:1", f"{registry.host}/a:1"
            registry.push("small:1", [small_layer(images.rootfs(await images.ensure("base")))])
            encoded = base64.b64encode(b"me:open sesame").decode()
            credentials.write_text(json.dumps({"auths": {registry.host: {"auth": encoded}}}))
            await application.images.pull(small)
            credentials.write_text("{}")
            key = await prepared(running, f'image = "{small}"\n[setup]\nscript = "true > /opt/x"\n')
            with pytest.raises(SandboxError, match=f"to docker://{reference} failed: .*authentication required"):
                await application.intake.snapshots.export(key, reference, ignore)
            assert list(exports.iterdir()) == []
            credentials.write_text(json.dumps({"auths": {registry.host: {"auth": encoded}}}))
            assert await application.intake.snapshots.export(key, reference, ignore)
            with small_disk(exports):
                with pytest.raises(DiskFullError):
                    await application.intake.snapshots.export(key, reference, ignore)
                assert list(exports.iterdir()) == []
        with pytest.raises(SandboxError, match="connection refused"):
            await application.intake.snapshots.export(key, reference, ignore)
        with pytest.raises(UsageError, match="only known afterwards"):
            await application.intake.snapshots.export(key, f"{registry.host}/a@sha256:{'0' * 64}", ignore)
        assert list(exports.iterdir()) == []
        await application.intake.snapshots.remove(key)
        (exports / "of-a-killed-one/blobs").mkdir(parents=True)
    async with installation.opened():
        assert list(exports.iterdir()) == []
    await images.remove(small, in_use=lambda _: False)

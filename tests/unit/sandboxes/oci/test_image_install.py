"""Packages of registries under faults, with the real pip and npm, and a program in mmdebstrap's place."""

import base64
import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from cloister.errors import SandboxError, UsageError
from cloister.model.image import BuildProgress
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.image_fetch import PackageFetcher
from cloister.sandboxes.oci.image_sources import choose_packages

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")

# A tree that the host's own programs can be run in, so that toolchains of a test answer.
MAKE_TREE = """
for argument; do case $argument in */rootfs) root=$argument ;; esac; done
mkdir -p "$root"/etc "$root"/var/lib/dpkg "$root"/usr/local/bin "$root"/usr/bin "$root"/opt
mkdir -p "$root"/tmp "$root"/proc "$root"/dev "$root"/mnt
ln -s usr/bin "$root"/bin
ln -s /etc "$root"/way-out
printf 'Package: libc6\\nStatus: install ok installed\\nVersion: 2.36-9\\n' >"$root"/var/lib/dpkg/status
for program in sh env setpriv timeout chroot; do
    path=$(command -v "$program")
    cp "$path" "$root"/usr/bin/
    ldd "$path" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
"""
NODE = "#!/bin/sh\necho v22.1.0\n"
SECRET = "very-secret-word"


def _wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("own/bin/go", "#!/bin/sh\necho go version go1.2.3 linux/amd64\n")
        wheel.writestr("own-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.2.3\n")
        wheel.writestr("own-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("own-1.2.3.dist-info/RECORD", "")
    return buffer.getvalue()


def _npm_package(name: str, script: str) -> bytes:
    content = {
        "package/package.json": json.dumps(
            {
                "name": name,
                "version": "1.0.0",
                "bin": {"ours": "bin/node"},
                "scripts": dict.fromkeys(("preinstall", "install", "postinstall", "prepare"), f"touch {script}"),
            }
        ),
        "package/bin/node": NODE,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as package:
        for path, text in content.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            package.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Registry:
    """Both registries on one port, with a user and a word; `asked` are the paths that came with them."""

    def __init__(self, ran: Path) -> None:
        self.asked: list[str] = []
        wheel, package = _wheel(), _npm_package("ours", str(ran))
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization", "")
                if given != "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode():
                    self.send_response(401)
                    self.end_headers()
                    return
                registry.asked.append(self.path)
                address = f"http://{self.headers['Host']}"
                dist = {
                    "tarball": f"{address}/ours.tgz",
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode(),
                }
                version = {
                    "name": "ours",
                    "version": "1.0.0",
                    "bin": {"ours": "bin/node"},
                    "hasInstallScript": True,
                    "dist": dist,
                }
                packument = {"name": "ours", "versions": {"1.0.0": version}}
                pages = {
                    "/simple/own/": (
                        b'<a href="/own-1.2.3-py3-none-any.whl">own-1.2.3-py3-none-any.whl</a>',
                        "text/html",
                    ),
                    "/own-1.2.3-py3-none-any.whl": (wheel, "application/octet-stream"),
                    "/ours": (json.dumps(packument).encode(), "application/json"),
                    "/ours.tgz": (package, "application/octet-stream"),
                }
                body, kind = pages.get(self.path, (b"", ""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"


class Site:
    """A store, its own recipe, and a program that stands for mmdebstrap."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.recipe = self.state / "recipes/own.toml"
        self.recipe.parent.mkdir(parents=True)
        self.ran = folder / "ran"
        program = folder / "bin/mmdebstrap"
        program.parent.mkdir()
        program.write_text(f"#!/bin/bash\n{MAKE_TREE}\n")
        program.chmod(0o755)
        self.store = OciImageStore(self.state)

    def left(self) -> list[str]:
        found = (path.relative_to(self.state / "images") for path in (self.state / "images").glob("*/*"))
        return sorted(str(path) for path in found if path.parts[0] != "locks")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    return site


@pytest.fixture
def registry(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry that the host's pip and npm are configured with."""
    registry = Registry(site.ran)
    (tmp_path / "npmrc").write_text(
        f"registry=http://{registry.host}/\n"
        f"//{registry.host}/:_auth={base64.b64encode(f'me:{SECRET}'.encode()).decode()}\n"
    )
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "npmrc"))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:{SECRET}@{registry.host}/simple")
    thread = threading.Thread(target=registry.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()
    thread.join()


OWN = """
npm_packages = ["ours@1.0.0"]
toolchains = [
    { language = "go", python_package = "own==1.2.3", folder = "own" },
    { language = "node", npm_package = "ours@^1.0.0", place = "/opt/node", variables = { A = "b" } },
]
files = { "/etc/own/npmrc" = "x = 1" }
"""


async def test_packages_come_from_the_hosts_registries_and_leave_nothing_of_them(
    site: Site, registry: Registry
) -> None:
    site.recipe.write_text(OWN)
    image = await site.store.build("own")
    root = site.store.rootfs(image.digest)
    assert [(found.language, found.version, found.path) for found in image.toolchains] == [
        ("node", "22.1.0", ()),
        ("go", "1.2.3", ()),
    ]
    assert (root / "usr/local/bin/ours").readlink() == Path("../lib/node_modules/ours/bin/node")
    assert (root / "usr/local/bin/node").readlink() == Path("/opt/node/bin/node")
    assert (root / "etc/own/npmrc").read_text() == "x = 1"
    assert json.loads((root / "etc/cloister/image.json").read_text())["toolchains"][0]["variables"] == {"A": "b"}
    assert {"/simple/own/", "/own-1.2.3-py3-none-any.whl", "/ours", "/ours.tgz"} <= set(registry.asked), "the twin"
    assert not site.ran.exists(), "a script of a package ran"
    for word in (SECRET, registry.host):
        found = await anyio.run_process(["grep", "-rF", word, str(site.state)], check=False)
        assert found.stdout == b"", word


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ('toolchains = [{ language = "go", python_package = "absent==1" }]', "ERROR: No matching distribution"),
        ('toolchains = [{ language = "go", python_package = "own==9" }]', "ERROR: No matching distribution"),
        ('toolchains = [{ language = "node", npm_package = "absent@1" }]', "E404"),
        ('npm_packages = ["ours@9.0.0"]', "ETARGET"),
        ('toolchains = [{ language = "go", python_package = "own==1.2.3", folder = "go" }]', "has no folder go"),
        ('toolchains = [{ language = "ruby", python_package = "own==1.2.3", folder = "own" }]', "for its version"),
        ('toolchains = [{ language = "swift" }]', "asking the swift toolchain on PATH for its version"),
    ],
)
@pytest.mark.usefixtures("registry")
async def test_a_package_that_cannot_be_had_fails_in_its_clients_words_and_leaves_nothing(
    site: Site, recipe: str, complaint: str
) -> None:
    site.recipe.write_text(recipe)
    with pytest.raises(SandboxError, match=complaint) as failed:
        await site.store.build("own")
    assert SECRET not in str(failed.value)
    assert site.left() == []


@pytest.mark.parametrize("path", ["/way-out/passwd", "/way-out/new/file"])
@pytest.mark.usefixtures("registry")
async def test_no_link_of_the_tree_leads_a_file_out_of_it(site: Site, path: str) -> None:
    site.recipe.write_text(f'files = {{ "{path}" = "evil" }}')
    with pytest.raises(UsageError, match="goes through a link"):
        await site.store.build("own")
    assert site.left() == []
    assert not Path("/etc/new").exists()


@pytest.mark.usefixtures("registry")
async def test_a_toolchain_takes_no_place_that_is_taken(site: Site) -> None:
    site.recipe.write_text(
        'toolchains = [{ language = "go", python_package = "own==1.2.3", folder = "own", place = "/usr/bin" }]'
    )
    with pytest.raises(UsageError, match="taken"):
        await site.store.build("own")
    assert site.left() == []


@pytest.mark.parametrize("package", ['python_package = "own==1.2.3"', 'npm_package = "ours@1.0.0"'])
async def test_no_network_in_the_middle_fails_and_leaves_nothing(
    site: Site, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    site.recipe.write_text(f'toolchains = [{{ language = "go", {package} }}]')
    with pytest.raises(SandboxError, match=r"fetching the .* package"):
        await site.store.build("own")
    assert site.left() == []


@pytest.mark.usefixtures("registry")
async def test_a_build_that_is_cut_off_among_the_packages_leaves_nothing(site: Site) -> None:
    site.recipe.write_text(OWN)
    with anyio.CancelScope() as scope:

        def cancel(progress: BuildProgress) -> None:
            if progress.stage.startswith("installing ours@^"):
                scope.cancel()

        await site.store.build("own", cancel)
    assert scope.cancelled_caught
    assert site.left() == []


@pytest.mark.usefixtures("registry")
async def test_the_same_packages_make_the_same_image_and_progress_never_goes_back(site: Site) -> None:
    site.recipe.write_text(OWN)
    told: list[BuildProgress] = []
    image = await site.store.build("own", told.append)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert [progress.stage for progress in told if progress.stage.startswith("installing")] == [
        "installing own==1.2.3",
        "installing ours@^1.0.0",
        "installing ours@1.0.0",
    ]
    assert (await site.store.build("own")).digest == image.digest


def test_wheels_are_taken_for_every_c_library_up_to_the_trees(tmp_path: Path) -> None:
    options = " ".join(PackageFetcher({"libc6": "2.36-9+deb12u1"}, tmp_path)._platforms())
    assert "manylinux_2_36_" in options
    assert "manylinux_2_37_" not in options
    for older in ("manylinux_2_17_", "manylinux2014_", "manylinux1_"):
        assert older in options


async def test_of_packages_that_will_do_the_first_that_apt_has_is_taken() -> None:
    names = await choose_packages([("git",), ("no-such-package", "bash", "coreutils"), ("no-such", "not-there")])
    assert names == ("git", "bash", "not-there")

"""A forge of tests with a repository of one commit, and Cloister's way to it."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.forges.github.credentials import APP_KEY, LOGIN_PLACE, TOKEN, LoginSource
from cloister.forges.github.host import GitHubHost
from cloister.model.task import Repository
from cloister.testing.github.account import FULL
from cloister.testing.github.hosted import AppOnForge, Hosted
from cloister.testing.github.server import GitHub, serve_github
from cloister.vault.fake import FakeVault

PERSONAL = "ghp_0123456789abcdefghij"


@dataclass(kw_only=True)
class Forge:
    github: GitHub
    shop: Hosted
    vault: FakeVault
    app: AppOnForge
    open: Callable[..., AbstractAsyncContextManager[GitHubHost]]

    @property
    def repository(self) -> Repository:
        return Repository(address=f"{self.github.url}/team/shop", directory="shop")


def commit(path: Path, branch: str, files: dict[str, str]) -> None:
    """Make one commit on a branch of a bare repository."""
    person = {f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_DIR": str(path), **person}
    found = subprocess.run(
        ["git", "rev-parse", "-q", "--verify", branch], env=environment, capture_output=True, text=True
    )
    lines = [f"commit refs/heads/{branch}", "committer A <a@example.com> 1700000000 +0000", "data 3", "one"]
    lines += [f"from {found.stdout.strip()}"] if found.returncode == 0 else []
    for name, text in files.items():
        lines += [f"M 100644 inline {name}", f"data {len(text.encode())}", text]
    subprocess.run(
        ["git", "fast-import", "--quiet"], env=environment, input="\n".join(lines) + "\n", text=True, check=True
    )


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def forge(tmp_path: Path, key: rsa.RSAPrivateKey) -> Iterator[Forge]:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        commit(shop.path, "main", {"a.txt": "one\n"})
        github.accounts.add_token(PERSONAL, "ann")
        app = AppOnForge(
            id=7, slug="cloister-of-team", public_key=public.decode(), installation=70, owner="team", permissions=FULL
        )
        github.accounts.apps.append(app)
        vault = FakeVault()
        anyio.run(vault.set, LOGIN_PLACE, TOKEN, PERSONAL)
        anyio.run(vault.set, LOGIN_PLACE, APP_KEY, private.decode())

        @asynccontextmanager
        async def open_host(source: LoginSource, **more: Any) -> AsyncIterator[GitHubHost]:
            async with GitHubHost.open(github.url, vault, source, **more) as host:
                yield host

        yield Forge(github=github, shop=shop, vault=vault, app=app, open=open_host)
        github.check()

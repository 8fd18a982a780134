"""What is pushed, and where to: whoever asks, one branch of Cloister's own and nothing else."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.errors import DeniedError, HostError
from cloister.forges.branches import MirrorBranches
from cloister.forges.github.credentials import LoginSource
from cloister.forges.local import LocalForge
from cloister.forges.signing import CommitSigner
from cloister.model.forge import Person
from cloister.model.publication import BranchDraft, Composed
from cloister.model.sandbox import Commit
from cloister.model.task import AttemptId

from .conftest import Forge, commit

pytestmark = pytest.mark.anyio

DIFF = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
async def branches(forge: Forge, tmp_path: Path) -> AsyncIterator[MirrorBranches]:
    async with forge.open(LoginSource(app=7)) as host:
        yield MirrorBranches(forge=LocalForge(tmp_path / "state", host=host), host=host)


def draft(forge: Forge, diff: bytes = DIFF) -> BranchDraft:
    return BranchDraft(
        base=Commit(forge.shop.git("rev-parse", "main")),
        diff=diff,
        onto="main",
        former=None,
        message="Two\n",
        author=Person(name="A", email="a@example.com"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        attempt=AttemptId("1-1-1"),
    )


async def compose(branches: MirrorBranches, forge: Forge, diff: bytes = DIFF) -> Composed:
    return await branches.compose(forge.repository, draft(forge, diff))


@pytest.mark.parametrize(
    "branch",
    [
        "main",
        "feature",
        "refs/heads/main",
        "cloister",
        "cloister/",
        "cloister/../main",
        "cloister/x:main",
        "cloister/x y",
    ],
)
async def test_no_branch_but_our_own_is_pushed(branches: MirrorBranches, forge: Forge, branch: str) -> None:
    forge.shop.protected.clear()  # so that nothing but us refuses it
    made = await compose(branches, forge)
    before = forge.shop.git("for-each-ref")
    with pytest.raises(DeniedError, match="no branch that Cloister pushes"):
        await branches.push(forge.repository, branch, made.pushed.head, expected=None, default_branch="main")
    with pytest.raises(DeniedError):
        await branches.push(
            forge.repository, "cloister/x", made.pushed.head, expected=None, default_branch="cloister/x"
        )
    assert forge.shop.git("for-each-ref") == before
    await branches.push(forge.repository, "cloister/x", made.pushed.head, expected=None, default_branch="main")
    assert forge.shop.find_commit("cloister/x") == made.pushed.head, "the twin"


async def test_an_app_pushes_workflows_only_with_a_token_for_that(branches: MirrorBranches, forge: Forge) -> None:
    path = ".github/workflows/ci.yml"
    diff = (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+on: push\n"
    )
    made = await compose(branches, forge, diff.encode())
    with pytest.raises(DeniedError, match="refusing to allow a GitHub App to create or update workflow"):
        await branches.push(forge.repository, "cloister/x", made.pushed.head, expected=None, default_branch="main")
    assert set(forge.shop.branches()) == {"main"}


async def test_the_same_draft_makes_the_same_commit(branches: MirrorBranches, forge: Forge) -> None:
    commit(forge.shop.path, "main", {".gitattributes": "* filter=evil merge=evil diff=evil\n"})
    first, second = await compose(branches, forge), await compose(branches, forge)
    assert first == second
    mirror = await branches.forge.mirror(forge.repository, first.pushed.head)
    assert "evil" not in (mirror / "config").read_text()


@pytest.mark.parametrize("path", ["../escape", ".git/config", "a/../../b", "/etc/passwd"])
async def test_a_diff_that_leads_elsewhere_is_refused(branches: MirrorBranches, forge: Forge, path: str) -> None:
    diff = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(Exception, match="git"):
        await compose(branches, forge, diff.encode())


async def test_commits_are_signed_where_there_is_a_key(branches: MirrorBranches, forge: Forge, tmp_path: Path) -> None:
    key, signers = tmp_path / "signing_key", tmp_path / "signers"
    assert run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)).returncode == 0
    signers.write_text(f"a@example.com {key.with_suffix('.pub').read_text()}")
    signing = replace(branches, signer=CommitSigner(ssh_key=key))
    made = await compose(signing, forge)
    assert await compose(signing, forge) == made, "twice is the same"
    mirror = await branches.forge.mirror(forge.repository, made.pushed.head)
    verify = ["-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", made.pushed.head]
    done = run("git", f"--git-dir={mirror}", *verify)
    assert 'Good "git" signature for a@example.com' in done.stderr
    unsigned = (await compose(branches, forge)).pushed.head
    verify[-1] = unsigned
    assert run("git", f"--git-dir={mirror}", *verify).returncode != 0, "the twin"
    with pytest.raises(HostError, match="commits cannot be signed"):
        await compose(replace(branches, signer=CommitSigner(ssh_key=tmp_path / "none")), forge)


def _gpg(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home)}
    return subprocess.run(["gpg", "--batch", "--quiet", *arguments], env=env, capture_output=True, text=True)


def _verify(mirror: Path, head: str, home: Path) -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home)}
    return subprocess.run(["git", f"--git-dir={mirror}", "verify-commit", head], env=env, capture_output=True)


def _end_agent(home: Path) -> None:
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home)}
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=True)


def _agents() -> set[str]:
    """The keyrings of ours that an agent still serves."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found |= {word for word in path.read_text().split("\0") if "cloister-gpg-" in word}
    return found


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
async def test_commits_are_signed_with_a_gpg_key_of_which_nothing_stays(
    branches: MirrorBranches, forge: Forge, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="keys-") as name:  # a socket's address is shorter than a test's path
        home, key = Path(name), tmp_path / "key.asc"
        made_key = _gpg(home, "--passphrase", "", "--quick-gen-key", "A <a@example.com>", "ed25519", "sign", "never")
        assert made_key.returncode == 0, made_key.stderr
        key.write_text(_gpg(home, "--export-secret-keys", "--armor").stdout)
        key.chmod(0o644)
        signing = replace(branches, signer=CommitSigner(gpg_key=key))
        with pytest.raises(HostError, match="others on this machine may use"):
            await compose(signing, forge)
        key.chmod(0o600)
        made = await compose(signing, forge)
        mirror = await branches.forge.mirror(forge.repository, made.pushed.head)
        for head, is_good in ((made.pushed.head, True), ((await compose(branches, forge)).pushed.head, False)):
            done = _verify(mirror, head, home)
            assert (done.returncode == 0) is is_good, done.stderr
        _end_agent(home)
    assert _agents() == set()
    assert list(Path(tempfile.gettempdir()).glob("cloister-gpg-*")) == []
    key.write_text("no key\n")
    with pytest.raises(HostError, match="has no private GPG key"):
        await compose(signing, forge)

"""A forge with a pull request, and an installation whose agent finds what a test says."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloister.agents.fake import FakeAgent
from cloister.model.sandbox import DiffStats
from cloister.sandboxes.fake import Program
from cloister.testing.github.hosted import Hosted, Pull, ReviewOnForge
from cloister.testing.github.server import GitHub, serve_github

from . import conftest
from .conftest import Installation

TOKEN = "ghp_0123456789abcdefghij"
SHOP = "def total(rows):\n    result = 0\n    for row in rows:\n        result += row.price\n    return result\n"
CHANGED = SHOP.replace("row.price", "row.price * row.count").replace("return result\n", "return result or None\n")
RULES = "# Agents\n\n## Code Review Rules\n\nMoney is never a float.\n\n## Style\n\nTabs.\n"
NESTED = "# Here\n\n### Review guidelines\n\nEvery sum has a test.\n"


def finding(**more: object) -> dict[str, Any]:
    return {"path": "src/shop.py", "line": 5, "priority": "P1", "title": "An empty shop costs None", **more}


@dataclass(kw_only=True)
class Story:
    installation: Installation
    github: GitHub
    shop: Hosted

    def commit(self, branch: str, files: dict[str, str], repository: Hosted | None = None, base: str = "main") -> str:
        """A person's commit on a branch of the forge."""
        at = repository or self.shop
        found = at.find_commit(branch) or at.find_commit(base)
        lines = [f"commit refs/heads/{branch}", "committer P <p@example.com> 1700000000 +0000", "data 3", "one"]
        lines += [f"from {found}"] if found else []
        for name, text in files.items():
            lines += [f"M 100644 inline {name}", f"data {len(text)}", text]
        environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(at.path)}
        done = "\n".join(lines) + "\n"
        subprocess.run(["git", "fast-import", "--quiet"], env=environment, input=done, text=True, check=True)
        self.shop.follow_branches()
        return at.git("rev-parse", branch)

    def propose(self, files: dict[str, str], *, fork: Hosted | None = None, author: str = "bob") -> Pull:
        """A person's pull request."""
        head = self.commit("topic", files, fork)
        pull = Pull(
            number=12, title="Count", body="", head="topic", base="main", author=author, last_head=head, fork=fork
        )
        self.shop.pulls[12] = pull
        self.shop.follow_branches()
        return pull

    def finds(self, *findings: dict[str, Any], **more: object) -> None:
        self.leaves(json.dumps({"findings": findings, **more}).encode())

    def leaves(self, raw: bytes) -> None:
        leaves = {"/cloister/out/message.md": b"Done.", "/cloister/out/review.json": raw}
        self.installation.node.programs["agent"] = Program(leaves=leaves)

    def review(self, *options: str, status: int = 0) -> str:
        address = f"{self.github.url}/team/shop"
        done = self.installation.run("review", "12", "--repo", address, "--agent", "reviewer", *options)
        assert done.exit_code == status, done.output
        return re.sub(r"[ \n]+", " ", done.output)

    def events(self) -> list[dict[str, Any]]:
        """Of the newest task."""
        task = json.loads(self.installation.run("task", "list", "--json").stdout)[0]["task"]
        return [json.loads(line) for line in self.installation.run("task", "logs", task, "--json").stdout.splitlines()]

    def told(self) -> str:
        """What the agent read."""
        return str(next(it for it in self.events() if it["event"] == "agent_prompted")["text"])

    @property
    def pull(self) -> Pull:
        return self.shop.pulls[12]

    @property
    def posted(self) -> ReviewOnForge:
        (review,) = self.pull.reviews
        return review


@pytest.fixture
def story(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    installation.node.diff, installation.node.stats = b"", DiffStats(files=0, added=0, removed=0)
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        github.accounts.add_token(TOKEN, "ann")
        monkeypatch.setenv("CLOISTER_GITHUB_URL", github.url)
        monkeypatch.setenv("CLOISTER_PUBLIC_URL", "https://cloister.example")
        made = Story(installation=installation, github=github, shop=shop)
        made.commit(
            "main", {"src/shop.py": SHOP, "AGENTS.md": RULES, "src/AGENTS.md": NESTED, "other/AGENTS.md": RULES}
        )
        assert installation.run("github", "set-token", stdin=TOKEN).exit_code == 0
        monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, FakeAgent(name="reviewer")))
        yield made
        github.check()

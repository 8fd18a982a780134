"""Which paths of a work tree tell agents what to do."""

import pytest

from cloister.model.instructions import is_instruction


@pytest.mark.parametrize(
    "path",
    [
        "AGENTS.md",
        "a/b/AGENTS.override.md",
        "CLAUDE.local.md",
        "GEMINI.md",
        "AGENT.md",
        "CRUSH.md",
        ".crush/x",
        ".cursorrules",
        ".mcp.json",
        "web/.mcp.json",
        "opencode.json",
        ".claude/commands/x.md",
        "web/.codex/config.toml",
        ".cursor",
        ".aider.conf.yml",
        ".github/copilot-instructions.md",
        ".github/instructions/a.instructions.md",
        ".vscode/mcp.json",
    ],
)
def test_it_does(path: str) -> None:
    assert is_instruction(path)


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "agents.md",
        "AGENTS.md/x",
        "docs/MYAGENTS.md",
        "node_modules/dep/AGENTS.md",
        "web/node_modules/@a/b/.claude/x",
        ".venv/lib/python3.11/site-packages/p/CLAUDE.md",
        "vendor/x/AGENTS.md",
        ".claudette",
        ".github/workflows/ci.yml",
        ".vscode/settings.json",
        "",
    ],
)
def test_it_does_not(path: str) -> None:
    assert not is_instruction(path)

"""Files that tell agents what to do, or what to run: only the commit and the image may say what is in them."""

import re
from dataclasses import dataclass

_FILES = (
    r"(AGENTS?(\.override)?|CLAUDE(\.local)?|CRUSH|GEMINI|JULES|QWEN|WARP)\.md|\.rules|\.cursorrules|\.windsurfrules"
    r"|\.mcp\.json|\.goosehints"
)
_FOLDERS = (
    "agents|aider|amazonq|amp|augment|claude|clinerules|codex|continue|crush|cursor|gemini|junie|kiro|opencode"
    "|openhands|qwen|roo|trae|windsurf"
)
_IN_WORK_TREE = re.compile(
    rf"(.*/)?({_FILES}|opencode\.jsonc?|\.({_FOLDERS})(/.*|\..*)?)"
    r"|\.github/(copilot-instructions\.md|(instructions|prompts|chatmodes|agents)/.*)|\.vscode/mcp\.json",
    re.DOTALL,
)
_SOMEBODY_ELSES = re.compile(r"(^|/)(node_modules|site-packages|vendor|\.venv|venv|\.yarn|target)/")
"""Folders of packages, which bring such files for those who work on them; no agent starts in there."""

PLACES = (
    *("AGENTS.md", "CLAUDE.md", "GEMINI.md", "workspace/AGENTS.md", "workspace/CLAUDE.md", "workspace/GEMINI.md"),
    *("workspace/.claude", "workspace/.codex", "workspace/.mcp.json", "workspace/.cursor", "workspace/.gemini"),
    *("etc/codex", "etc/claude-code", "etc/opencode", "etc/gemini-cli"),
    *("root/AGENTS.md", "root/CLAUDE.md", "root/GEMINI.md", "root/.mcp.json", "root/.claude.json", "root/.goosehints"),
    *(f"root/.{folder}" for folder in _FOLDERS.split("|")),
    *("root/.aider.conf.yml", "root/.aider.model.settings.yml", "root/.copilot"),
    *(f"root/.config/{name}" for name in ("claude", "codex", "github-copilot", "goose", "opencode")),
)
"""Outside of the work tree: what agents read in HOME, in the folders above the work tree, and for the whole machine."""


STARTUP_FILES = (
    *(f"root/.{name}" for name in ("bashrc", "bash_profile", "bash_login", "profile", "zshenv", "zprofile", "zshrc")),
    *("etc/profile", "etc/bash.bashrc", "etc/environment", "etc/zsh/zshenv"),
    *("etc/profile.d", "root/.config/environment.d", "root/.config/fish", "etc/fish"),
)
"""Files, and folders of files, that shells read first. A setup may well add to them."""
_LEADS = re.compile(
    r"\b(CODEX_(?:HOME|SQLITE_HOME)|CLAUDE_CONFIG_DIR|GEMINI_(?:CLI_HOME|CONFIG_DIR)|OPENCODE_CONFIG(?:_DIR|_CONTENT)?"
    r"|COPILOT_HOME|GOOSE_CONFIG_DIR|AIDER_CONFIG|XDG_CONFIG_HOME|(?:OPENAI|ANTHROPIC)_(?:BASE_URL|API_BASE))\b"
)


def leads_in(text: str) -> tuple[str, ...]:
    """Return the variables, named in a start-up file, that lead agents to other instructions or another model."""
    return tuple(sorted(set(_LEADS.findall(text))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """One such file or folder that a script of setup had changed, and that is as it was."""

    path: str
    """As the sandbox sees it."""
    diff: str = ""
    """What was undone, as a unified diff from what is there to what was; empty where it is no text."""
    leads: tuple[str, ...] = ()
    """Of a shell's start-up file, which is not undone: the variables in it that lead agents elsewhere."""


def is_instruction(path: str) -> bool:
    """Whether a path of the work tree, relative to it, names one."""
    return _IN_WORK_TREE.fullmatch(path) is not None and _SOMEBODY_ELSES.search(path) is None

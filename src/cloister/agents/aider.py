"""aider: a Python program, with a Python of its own. It edits files, and runs the environment's checks alone."""

import json

from cloister.agents.aider_output import AiderOutput
from cloister.agents.needed import access_of, model_of
from cloister.model.agent import INPUT, AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe, PythonPart
from cloister.protocols import Agent, AgentParser

_VERSION = "0.86.2"
_PACK = PackRecipe(
    name="aider",
    version=_VERSION,
    python=PythonPart(requirement=f"aider-chat=={_VERSION}", module="aider"),
    program="bin/aider",
    needs="a shell and git",
)
_MODELS, _START, _PROMPT, _TESTS = "aider.json", "aider.sh", "prompt.md", "aider-checks.sh"
_OPTIONS = (
    *("--yes-always", "--no-pretty", "--no-stream", "--no-fancy-input", "--no-suggest-shell-commands"),
    *("--no-auto-commits", "--no-dirty-commits", "--no-gitignore", "--no-detect-urls"),
    *("--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--analytics-disable"),
    *("--input-history-file", "/dev/null", "--chat-history-file", "/dev/null"),
)
# It keeps an index of the project in the work tree, which is no part of the change unless it was there.
_SCRIPT = f"""
forget() {{ [ -n "$kept" ] || rm -rf .aider.tags.cache.v*; }}
kept=$(ls -d .aider.tags.cache.v* 2>/dev/null)
trap forget EXIT
if [ -f AGENTS.md ]; then set -- --read AGENTS.md "$@"; fi
{_PACK.path} "$@"
""".lstrip()


class AiderAgent:
    """Runs `aider` on one message. AGENTS.md of the root is given to it."""

    name = "aider"
    api: ModelApi | None = ModelApi.CHAT
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `aider`, which runs the environment's checks after an edit and mends what they find."""
        access = access_of(turn, self.name)
        model = f"openai/{model_of(access, self.name)}"
        checks = " && ".join(f"( {check.command}\n)" for check in turn.task.environment.checks)
        return AgentCommand(
            argv=(
                *("/bin/sh", f"{INPUT}/{_START}", *_OPTIONS, "--model", model),
                *("--model-metadata-file", f"{INPUT}/{_MODELS}", "--message-file", f"{INPUT}/{_PROMPT}"),
                *(("--auto-test", "--test-cmd", f"bash {INPUT}/{_TESTS}") if checks else ()),
                *(option for file in turn.files for option in ("--read", file)),
                *turn.images,
            ),
            prompt=turn.text,
            variables={
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "OPENAI_API_BASE": access.base_url,
                "OPENAI_API_KEY": access.placeholder,
            },
            files={
                # What it would otherwise fetch a list of all models for.
                _MODELS: json.dumps({model: {"litellm_provider": "openai", "mode": "chat"}}).encode(),
                _START: _SCRIPT.encode(),
                _TESTS: f"{checks}\n".encode(),
            },
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return AiderOutput()


def _conforms(agent: AiderAgent) -> Agent:
    return agent

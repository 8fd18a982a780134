"""Anthropic's Claude Code: the native program of the npm package of this machine's kind."""

from cloister.agents.claude_output import ClaudeOutput
from cloister.agents.needed import READ_AGENTS_MD, access_of
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackPart, PackRecipe
from cloister.protocols import Agent, AgentParser

_VERSION = "2.1.332"
_PACK = PackRecipe(
    name="claude",
    version=_VERSION,
    parts=(PackPart(npm=f"@anthropic-ai/claude-code-linux-{{arch}}@{_VERSION}", place="bin"),),
    program="bin/claude",
    needs="a shell, glibc",
)
# It does not run as root unless it is told that this is a sandbox. Everything but calls of its model is switched off.
_VARIABLES = {
    "IS_SANDBOX": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_INSTALLATION_CHECKS": "1",
    "DISABLE_TELEMETRY": "1",
}


class ClaudeAgent:
    """Runs `claude -p`, which reads CLAUDE.md by itself."""

    name = "claude"
    api: ModelApi | None = ModelApi.MESSAGES
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `claude -p`, which asks nobody for a permission; one model, where it is named, does everything."""
        access = access_of(turn, self.name)
        one_model = {} if access.model is None else {"ANTHROPIC_DEFAULT_HAIKU_MODEL": access.model}
        return AgentCommand(
            argv=(
                *(_PACK.path, "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"),
                *(("--model", access.model) if access.model is not None else ()),
                *(("--resume", turn.session) if turn.session else ()),
            ),
            prompt=f"{turn.text}\n\n{READ_AGENTS_MD}",
            variables={
                **_VARIABLES,
                **one_model,
                "ANTHROPIC_BASE_URL": access.base_url,
                "ANTHROPIC_API_KEY": access.placeholder,
            },
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return ClaudeOutput()


def _conforms(agent: ClaudeAgent) -> Agent:
    return agent

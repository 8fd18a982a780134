"""OpenAI's Codex: the native program of the npm package, which needs nothing of an image but a shell."""

import json
from collections.abc import Mapping

from cloister.agents.codex_output import CodexOutput
from cloister.agents.needed import access_of
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelAccess, ModelApi
from cloister.model.pack import PackPart, PackRecipe
from cloister.protocols import Agent, AgentParser

_VERSION = "0.169.0"
_KEY = "CLOISTER_MODEL_KEY"
_PACK = PackRecipe(
    name="codex",
    version=_VERSION,
    parts=(
        PackPart(
            npm=f"@openai/codex@{_VERSION}-linux-{{arch}}", folder="vendor/{machine}-unknown-linux-musl", place="."
        ),
    ),
    program="bin/codex",
    needs="a shell",
)

# Its sandbox cannot be made in ours, and nobody is there to approve anything. Its shells are no login shells, because
# /etc/profile would take away what setup put before PATH.
_SETTINGS: Mapping[str, str | bool] = {
    "allow_login_shell": False,
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
    "history.persistence": "none",
    "model_provider": "cloister",
    "web_search": "disabled",
}
_OFF = ("apps", "enable_request_compression", "plugins", "unbounded_connection_retries")
"""What would ask hosts that cannot be reached, hide requests from who counts them, or never give up."""


class CodexAgent:
    """Runs `codex exec --json`, which reads AGENTS.md by itself."""

    name = "codex"
    api: ModelApi | None = ModelApi.RESPONSES
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `codex exec`, or with a former session `codex exec resume`, with settings that win over files."""
        access = access_of(turn, self.name)
        provider: dict[str, str | bool] = {
            "model_providers.cloister.name": access.provider,
            "model_providers.cloister.base_url": access.base_url,
            "model_providers.cloister.wire_api": "responses",
            "model_providers.cloister.env_key": _KEY,
        }
        return AgentCommand(
            argv=(
                *(_PACK.path, "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"),
                *(option for name, value in {**_SETTINGS, **provider}.items() for option in ("-c", _set(name, value))),
                *(option for name in _OFF for option in ("--disable", name)),
                *_model(access),
                *(f"--image={image}" for image in turn.images),
                *(("resume", turn.session) if turn.session else ()),
                "-",
            ),
            prompt=turn.text,
            variables={_KEY: access.placeholder},
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return CodexOutput()


def _set(name: str, value: str | bool) -> str:
    """JSON's strings and booleans are TOML's as well."""
    return f"{name}={json.dumps(value)}"


def _model(access: ModelAccess) -> tuple[str, ...]:
    return ("--model", access.model) if access.model is not None else ()


def _conforms(agent: CodexAgent) -> Agent:
    return agent

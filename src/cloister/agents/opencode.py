"""opencode: the native program of the npm package of this machine's kind."""

import json

from cloister.agents.needed import access_of, model_of
from cloister.agents.opencode_output import OpencodeOutput
from cloister.model.agent import INPUT, AgentCommand, AgentTurn
from cloister.model.model_access import ModelAccess, ModelApi
from cloister.model.pack import PackPart, PackRecipe
from cloister.protocols import Agent, AgentParser

_VERSION = "1.18.33"
_PACK = PackRecipe(
    name="opencode",
    version=_VERSION,
    parts=(PackPart(npm=f"opencode-linux-{{arch}}@{_VERSION}", folder="bin", place="bin"),),
    program="bin/opencode",
    needs="a shell, glibc; AVX2 on x86-64",
)
_CONFIGURATION, _START = "opencode.json", "opencode.sh"
_VARIABLES = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_SHARE": "1",
}
_PLUGIN = {"@opencode-ai/plugin": _VERSION}
# At every start it fetches what plugins are written with into its folder of settings, unless it is there already.
_SCRIPT = f"""
folder="$HOME/.config/opencode"
if mkdir -p "$folder/node_modules" && [ ! -e "$folder/package.json" ] && [ ! -e "$folder/package-lock.json" ]; then
  echo '{json.dumps({"dependencies": _PLUGIN})}' >"$folder/package.json"
  echo '{json.dumps({"lockfileVersion": 3, "packages": {"": {"dependencies": _PLUGIN}}})}' >"$folder/package-lock.json"
fi
exec {_PACK.path} "$@"
""".lstrip()


class OpencodeAgent:
    """Runs `opencode run`, which reads AGENTS.md by itself."""

    name = "opencode"
    api: ModelApi | None = ModelApi.CHAT
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `opencode run`, with one provider and one model for everything."""
        access = access_of(turn, self.name)
        return AgentCommand(
            argv=(
                *("/bin/sh", f"{INPUT}/{_START}", "run", "--format", "json"),
                *(option for file in turn.files for option in ("--file", file)),
                *(("--session", turn.session) if turn.session else ()),
            ),
            prompt=turn.text,
            variables={**_VARIABLES, "OPENCODE_CONFIG": f"{INPUT}/{_CONFIGURATION}"},
            files={_CONFIGURATION: json.dumps(_settings(access, self.name)).encode(), _START: _SCRIPT.encode()},
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return OpencodeOutput()


def _settings(access: ModelAccess, agent: str) -> dict[str, object]:
    model = model_of(access, agent)
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": access.provider,
        "options": {"baseURL": access.base_url, "apiKey": access.placeholder},
        "models": {model: {"name": model}},
    }
    return {
        "model": f"cloister/{model}",
        "small_model": f"cloister/{model}",
        "provider": {"cloister": provider},
        "permission": "allow",
        "autoupdate": False,
        "share": "disabled",
    }


def _conforms(agent: OpencodeAgent) -> Agent:
    return agent

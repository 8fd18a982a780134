"""mini-swe-agent: a Python program, with a Python of its own."""

import json

from cloister.agents.mini_swe_agent_output import MiniSweAgentOutput
from cloister.agents.needed import READ_AGENTS_MD, access_of, model_of
from cloister.model.agent import INPUT, AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe, PythonPart
from cloister.protocols import Agent, AgentParser

_VERSION = "2.4.6"
_PACK = PackRecipe(
    name="mini-swe-agent",
    version=_VERSION,
    python=PythonPart(requirement=f"mini-swe-agent=={_VERSION}", module="minisweagent.run.mini"),
    program="bin/mini",
    needs="a shell",
)
_CONFIGURATION = "mini-swe-agent.yaml"
_TRAJECTORY = "/tmp/mini-swe-agent.json"
_VARIABLES = {
    "COLUMNS": "10000",  # or it breaks what it prints into lines of a terminal
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MSWEA_CONFIGURED": "true",
    "MSWEA_COST_TRACKING": "ignore_errors",
    "MSWEA_SILENT_STARTUP": "1",
}


class MiniSweAgent:
    """Runs `mini`, above its own default configuration. Its budget is Cloister's."""

    name = "mini-swe-agent"
    api: ModelApi | None = ModelApi.CHAT
    pack: PackRecipe | None = _PACK

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return `mini`, which asks nobody before it runs a command. The prompt travels in a file."""
        access = access_of(turn, self.name)
        prompt = f"{turn.text}\n\n{READ_AGENTS_MD}"
        settings = {
            "run": {"task": prompt},
            "agent": {"cost_limit": 0},
            "model": {
                "model_name": f"openai/{model_of(access, self.name)}",
                "model_kwargs": {"api_base": access.base_url, "api_key": access.placeholder},
            },
        }
        return AgentCommand(
            argv=(
                *(_PACK.path, "--yolo", "--exit-immediately", "-c", "mini.yaml", "-c", f"{INPUT}/{_CONFIGURATION}"),
                *("-o", _TRAJECTORY),
            ),
            prompt=prompt,
            variables=_VARIABLES,
            files={_CONFIGURATION: json.dumps(settings).encode()},  # which is YAML too
        )

    def parser(self) -> AgentParser:
        """See `protocols.Agent`."""
        return MiniSweAgentOutput()


def _conforms(agent: MiniSweAgent) -> Agent:
    return agent

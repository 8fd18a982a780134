"""An agent of the settings."""

import pytest

from cloister.agents.codex_output import CodexOutput
from cloister.agents.configured import ConfiguredAgent
from cloister.errors import UsageError
from cloister.model.agent import AgentTurn
from cloister.model.model_access import ModelAccess, ModelApi

ACCESS = ModelAccess(
    provider="hub", api=ModelApi.CHAT, base_url="http://127.0.0.1:3130", model="it's; one", placeholder="nothing"
)
AGENT = ConfiguredAgent(
    name="mine", command_line="mine {model} {key}", api=ModelApi.CHAT, output="codex", variables={"A": "b"}
)


def test_without_a_model_it_does_not_start(new_task) -> None:
    with pytest.raises(UsageError, match="'mine' needs a model"):
        AGENT.command(AgentTurn(task=new_task(), prompt="go"))


def test_words_are_quoted_and_the_usual_variables_set(new_task) -> None:
    asked = AGENT.command(AgentTurn(task=new_task(), prompt="go", briefing="off", access=ACCESS))
    assert asked.argv == ("/bin/bash", "-c", """mine 'it'"'"'s; one' nothing""")
    assert asked.prompt == "go\n\noff"
    assert (asked.variables["OPENAI_BASE_URL"], asked.variables["A"]) == ("http://127.0.0.1:3130", "b")
    assert isinstance(AGENT.parser(), CodexOutput)


def test_plain_output_has_no_parser(new_task) -> None:
    plain = ConfiguredAgent(name="plain", command_line="true")
    assert plain.parser() is None
    assert plain.command(AgentTurn(task=new_task(), prompt="go")).variables == {}

import pytest

from cloister.agents.command import CommandAgent
from cloister.errors import UsageError
from cloister.model.agent import AgentTurn


def test_without_a_command_line_there_is_nothing_to_run(new_task) -> None:
    with pytest.raises(UsageError):
        CommandAgent().command(AgentTurn(task=new_task(command=None), prompt="go"))


def test_the_command_line_is_one_argument(new_task) -> None:
    line = 'echo "$HOME"; exit 3'
    turn = AgentTurn(task=new_task(command=line), prompt="go", briefing="the network is off")
    asked = CommandAgent().command(turn)
    assert (asked.argv, asked.prompt) == (("/bin/bash", "-c", line), "go")

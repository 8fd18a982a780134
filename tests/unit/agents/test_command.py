import pytest

from cloister.agents.command import CommandAgent
from cloister.errors import UsageError


def test_without_a_command_line_there_is_nothing_to_run(new_task) -> None:
    with pytest.raises(UsageError):
        CommandAgent().command_line(new_task(command=None))


def test_the_command_line_is_one_argument(new_task) -> None:
    line = 'echo "$HOME"; exit 3'
    assert CommandAgent().command_line(new_task(command=line)) == ("/bin/bash", "-c", line)

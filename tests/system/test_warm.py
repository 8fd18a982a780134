"""Commands of tests that are forked do what those do that anybody starts."""

import pytest

from .installation import Installation


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["task", "show", "nobody"], 2),
        (["secret", "set", "web", "A"], 2),
        (["task", "list", "--x"], 2),
    ],
)
def test_a_forked_command_is_as_any_other(installation: Installation, arguments: list[str], code: int) -> None:
    forked = installation.cloister(*arguments, stdin="")
    installation.warm = False
    started = installation.cloister(*arguments, stdin="")
    assert forked == started
    assert forked.code == code
    assert forked.stdout + forked.stderr

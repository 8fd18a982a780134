import inspect

import pytest

from cloister import errors
from cloister.api.problem import error_to_problem, problem_to_error
from cloister.errors import CloisterError, NotFoundError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CloisterError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_comes_back_as_itself(kind: type[CloisterError]) -> None:
    back = problem_to_error(error_to_problem(kind("what", hint="do this")).model_dump())
    assert (type(back), back.message, back.hint) == (kind, "what", "do this")


def test_an_error_of_a_newer_server_is_ours_at_least() -> None:
    back = problem_to_error({"type": "urn:cloister:error:of-tomorrow", "title": "Odd", "status": 400})
    assert (type(back), back.message) == (CloisterError, "Odd")


def test_what_is_no_unicode_is_replaced() -> None:
    problem = error_to_problem(NotFoundError("there is no \udcff", hint="\udcff"))
    assert (problem.detail, problem.hint) == ("there is no ?", "?")

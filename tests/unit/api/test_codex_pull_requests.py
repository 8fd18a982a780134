"""The pull request of a task, as the `codex cloud` client reads it."""

from dataclasses import replace

from cloister.codex_api.shapes import status_to_details, status_to_item
from cloister.model.task import TaskPullRequest, as_accepted

from .test_task_shape import TASK


def test_the_client_is_told_of_the_pull_request_with_what_its_model_requires() -> None:
    status = as_accepted(TASK)
    (chosen,) = status.attempts
    assert status_to_details(status, chosen).task.external_pull_requests == []
    made = TaskPullRequest(
        number=7, address="https://github.com/t/s/pull/7", branch="cloister/t1-x", base="main", title="X"
    )
    status = replace(status, pull_request=made)
    details, item = status_to_details(status, chosen).task, status_to_item(status, chosen)
    for found in (details.external_pull_requests, item.pull_requests):
        (told,) = (it.model_dump() for it in found)
        assert told["assistant_turn_id"] == chosen.attempt
        assert {"number", "url", "state", "merged", "mergeable"} <= told["pull_request"].keys()
        assert (told["pull_request"]["number"], told["pull_request"]["url"]) == (7, made.address)
